package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/fs/mount"
)

func tooOpen(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

func checkFUSE() finding {
	if err := mount.Ready(); err != nil {
		return bad("fuse", fault.NextStep(err), "%v", fault.Plain(err))
	}
	return good("fuse", "/dev/fuse opens; kernel %s", kernelRelease())
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// checkPoint looks at the mount point, or at where it would be made.
func checkPoint(point string) finding {
	at := cli.Existing(point)
	if at != point {
		info, err := os.Stat(at)
		if err == nil && info.IsDir() && unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil {
			return good("mount", "%s will be made", point)
		}
		return bad("mount", "choose another --mount", "%s cannot be made in %s", point, at)
	}
	if err := mount.Check(point); err != nil {
		return bad("mount", fault.NextStep(err), "%v", fault.Plain(err))
	}
	return good("mount", "%s is free", point)
}

// checkMounts looks for mounts whose peer has ended.
func checkMounts() finding {
	mounts, err := cli.Mounts()
	if err != nil {
		return bad("mounts", "mount proc on /proc", "%v", err)
	}
	for _, m := range mounts {
		if cli.Holder(filepath.Join(m.Data, serveLock)) == 0 {
			return bad("mounts", "fusermount3 -uz "+m.Point, "%s is left of a peer that has ended", m.Point)
		}
	}
	return good("mounts", "%d of dfs on this machine", len(mounts))
}

func checkDisk(data string) finding {
	var s unix.Statfs_t
	dir := cli.Existing(data)
	if err := unix.Statfs(dir, &s); err != nil {
		return bad("disk", "choose another --data", "%s: %v", dir, err)
	}
	free := int64(s.Bavail) * s.Bsize
	if free < diskMin {
		return bad("disk", "free some space, or choose another --data", "%s free at %s", admin.Bytes(free), dir)
	}
	return good("disk", "%s free at %s", admin.Bytes(free), dir)
}

func checkMemory() finding {
	free, ok := memoryAvailable()
	if !ok {
		return good("memory", "unknown")
	}
	if free < memoryMin {
		return bad("memory", "end other programs: a peer needs about "+admin.Bytes(memoryMin), "%s available", admin.Bytes(free))
	}
	return good("memory", "%s available", admin.Bytes(free))
}

func memoryAvailable() (int64, bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(text) {
		if rest, ok := strings.CutPrefix(string(line), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func checkFiles() finding {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Max >= filesMin {
		return good("files", "at most %d open", r.Max)
	}
	return bad("files", "ulimit -n 65536", "only %d may be open", r.Max)
}

// checkClock: leases count on the boot-time clock, the times of files on the wall clock. A wall clock that nobody
// keeps right is worth a note, no more: times of files are its only use.
func checkClock() finding {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return bad("clock", "a kernel with CLOCK_BOOTTIME", "leases need it: %v", err)
	}
	var x unix.Timex
	if state, err := unix.Adjtimex(&x); err == nil && state == unix.TIME_ERROR {
		return good("clock", "runs; nobody keeps it right (install chrony if times of files matter)")
	}
	return good("clock", "synchronized")
}
