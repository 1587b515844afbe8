package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shutdownIoctl stops a file system at once; shutdownNoFlush says that its journal is not written out first. Together
// they are what a power cut leaves.
const (
	shutdownIoctl   = 0x8004587d
	shutdownNoFlush = 2
)

// LoopDisk is a file system of its own on a loop device, that can lose its power or become full.
type LoopDisk struct {
	Dir   string // where it is mounted
	image string
}

// NewLoopDisk makes and mounts one: fs is ext4 or xfs. The image is sparse. The test is skipped where that cannot be done.
func NewLoopDisk(t testing.TB, fs string, size int64) *LoopDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a disk image needs root")
	}
	mkfs := "mkfs." + fs
	for _, tool := range []string{mkfs, "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing", tool)
		}
	}
	base := t.TempDir()
	d := &LoopDisk{image: filepath.Join(base, "disk.img"), Dir: filepath.Join(base, "disk")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(d.Dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	force := "-F"
	if fs == "xfs" {
		force = "-f"
	}
	run(t, mkfs, "-q", force, d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Dir).CombinedOutput(); err != nil {
		t.Skipf("no loop devices here: %s", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.Dir).Run() })
	return d
}

// Cut stops the disk: what was not synced is lost, and every call from now on fails.
func (d *LoopDisk) Cut(t testing.TB) {
	t.Helper()
	f, err := os.Open(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdownIoctl, shutdownNoFlush); err != nil {
		t.Fatal(err)
	}
}

// Replug brings the disk back as it is after the cut. Whoever used it must have been killed.
func (d *LoopDisk) Replug(t testing.TB) {
	t.Helper()
	d.Unplug(t)
	run(t, "mount", "-o", "loop", d.image, d.Dir)
}

// Become moves what is in a directory to the disk, and the disk to that place.
func (d *LoopDisk) Become(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(d.Dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	d.Unplug(t)
	d.Dir = dir
	run(t, "mount", "-o", "loop", d.image, d.Dir)
}

// Unplug unmounts the disk.
func (d *LoopDisk) Unplug(t testing.TB) {
	t.Helper()
	err := errors.New("not tried")
	for end := time.Now().Add(20 * time.Second); err != nil; { // the kernel closes the files of the dead by and by
		if err = unix.Unmount(d.Dir, 0); err != nil && time.Now().After(end) {
			t.Fatalf("umount: %v\n%s", err, users(d.Dir))
		}
	}
}

// Free returns the bytes that are free.
func (d *LoopDisk) Free(t testing.TB) int64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.Dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// users names the processes that hold something below dir open.
func users(dir string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	var found []string
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir) {
			found = append(found, l+" -> "+to)
		}
	}
	return strings.Join(found, "\n")
}
