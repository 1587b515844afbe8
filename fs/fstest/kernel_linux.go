package fstest

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is the calls of a directory of this machine: plain system calls, relative to the working directory. It must be used by
// one locked thread only, whose credentials and working directory it changes.
type kernel struct{ p *player }

var _ calls = kernel{}

// at takes a path apart: what is after @NAME/ begins at an open directory.
func (k kernel) at(path string) (dir int, rel string) {
	if !strings.HasPrefix(path, "@") {
		return unix.AT_FDCWD, path
	}
	name, rel, _ := strings.Cut(path[1:], "/")
	return k.fd(name), rel
}

// fd returns the descriptor that a script calls name; -1 for one that is not open, which the kernel will say.
func (k kernel) fd(name string) int {
	if f, ok := k.p.files[name].(*descriptor); ok {
		return f.fd
	}
	return -1
}

// empty is AT_EMPTY_PATH where an open file itself is meant.
func empty(dir int, rel string) int {
	if dir != unix.AT_FDCWD && rel == "" {
		return unix.AT_EMPTY_PATH
	}
	return 0
}

// openFlags are the names of open(2)'s flags.
var openFlags = map[string]int{
	"rdonly": unix.O_RDONLY, "wronly": unix.O_WRONLY, "rdwr": unix.O_RDWR, "creat": unix.O_CREAT, "excl": unix.O_EXCL, "trunc": unix.O_TRUNC,
	"append": unix.O_APPEND, "directory": unix.O_DIRECTORY, "nofollow": unix.O_NOFOLLOW, "path": unix.O_PATH, "tmpfile": unix.O_TMPFILE,
	"direct": unix.O_DIRECT, "sync": unix.O_SYNC, "dsync": unix.O_DSYNC, "nonblock": unix.O_NONBLOCK, "noatime": unix.O_NOATIME,
	"accmode": unix.O_ACCMODE, "async": unix.O_ASYNC, "noctty": unix.O_NOCTTY,
}

// bits adds up named flags.
func bits(of map[string]int, names []string) (sum int) {
	for _, n := range names {
		b, ok := of[n]
		if !ok {
			panic(errUsage("no flag %s", n))
		}
		sum |= b
	}
	return sum
}

func (k kernel) open(path string, flags []string, mode uint32) (file, error) {
	dir, rel := k.at(path)
	return opened(again(func() (int, error) { return unix.Openat(dir, rel, bits(openFlags, flags)|unix.O_CLOEXEC, mode) }))
}

// again repeats a call that a signal has interrupted: Go's scheduler sends them.
func again[T any](call func() (T, error)) (v T, err error) {
	for {
		if v, err = call(); err != unix.EINTR {
			return v, err
		}
	}
}

func opened(fd int, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &descriptor{fd: fd}, nil
}

func (k kernel) mkdir(path string, mode uint32) error {
	dir, rel := k.at(path)
	return unix.Mkdirat(dir, rel, mode)
}

// formats are st_mode's types.
var formats = map[string]uint32{
	"file": unix.S_IFREG, "dir": unix.S_IFDIR, "link": unix.S_IFLNK, "fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK, "char": unix.S_IFCHR, "block": unix.S_IFBLK,
	"none": 0, "wrong": unix.S_IFMT,
}

func (k kernel) mknod(path, kind string, mode, dev uint32) error {
	dir, rel := k.at(path)
	return unix.Mknodat(dir, rel, formats[kind]|mode, int(dev))
}

func (k kernel) link(old, path string) error {
	from, oldRel := k.at(old)
	to, rel := k.at(path)
	return unix.Linkat(from, oldRel, to, rel, empty(from, oldRel))
}

func (k kernel) symlink(target, path string) error {
	dir, rel := k.at(path)
	return unix.Symlinkat(target, dir, rel)
}

func (k kernel) readlink(path string) (string, error) {
	dir, rel := k.at(path)
	b := make([]byte, 8192)
	n, err := unix.Readlinkat(dir, rel, b)
	return string(b[:max(n, 0)]), err
}

func (k kernel) unlink(path string) error {
	dir, rel := k.at(path)
	return unix.Unlinkat(dir, rel, 0)
}

func (k kernel) rmdir(path string) error {
	dir, rel := k.at(path)
	return unix.Unlinkat(dir, rel, unix.AT_REMOVEDIR)
}

var renameFlags = map[string]int{
	"noreplace": unix.RENAME_NOREPLACE, "exchange": unix.RENAME_EXCHANGE, "whiteout": unix.RENAME_WHITEOUT, "unknown": 1 << 7,
}

func (k kernel) rename(old, path string, flags []string) error {
	from, oldRel := k.at(old)
	to, rel := k.at(path)
	return unix.Renameat2(from, oldRel, to, rel, uint(bits(renameFlags, flags)))
}

func (k kernel) truncate(path string, size int64) error {
	_, err := again(func() (int, error) { return 0, unix.Truncate(path, size) })
	return err
}

func (k kernel) chmod(path string, mode uint32) error {
	dir, rel := k.at(path)
	return unix.Fchmodat(dir, rel, mode, 0)
}

func (k kernel) chown(path string, uid, gid int64) error { return k.chownat(path, uid, gid, 0) }

func (k kernel) chownat(path string, uid, gid int64, flags int) error {
	dir, rel := k.at(path)
	return unix.Fchownat(dir, rel, int(uid), int(gid), flags|empty(dir, rel))
}

func timespec(s stamp) unix.Timespec {
	switch {
	case s.now:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case s.omit:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: s.at.Unix(), Nsec: int64(s.at.Nanosecond())}
}

func (k kernel) utimens(path string, atime, mtime stamp) error {
	return k.utimensat(path, atime, mtime, 0)
}

func (k kernel) utimensat(path string, atime, mtime stamp, flags int) error {
	dir, rel := k.at(path)
	return unix.UtimesNanoAt(dir, rel, []unix.Timespec{timespec(atime), timespec(mtime)}, flags)
}

func (k kernel) stat(path string, follow bool) (attrs, error) {
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	dir, rel := k.at(path)
	return statx(dir, rel, flags)
}

func statx(dir int, rel string, flags int) (attrs, error) {
	var st unix.Statx_t
	_, err := again(func() (int, error) {
		return 0, unix.Statx(dir, rel, flags|empty(dir, rel), unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	})
	if err != nil {
		return attrs{}, err
	}
	at := func(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }
	a := attrs{
		mode: uint32(st.Mode) & 07777, nlink: uint64(st.Nlink), uid: st.Uid, gid: st.Gid, rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		size: int64(st.Size), blocks: st.Blocks, ino: st.Ino, atime: at(st.Atime), mtime: at(st.Mtime), ctime: at(st.Ctime), bt: at(st.Btime),
	}
	for name, f := range formats {
		if f != 0 && f == uint32(st.Mode)&unix.S_IFMT && name != "wrong" {
			a.kind = name
		}
	}
	return a, nil
}

func (k kernel) list(path string) ([]string, error) {
	f, err := k.open(path, []string{"rdonly", "directory"}, 0)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var names []string
	for {
		list, err := entries(f.(*descriptor).fd, 32<<10)
		for _, e := range list {
			if e.name != "." && e.name != ".." {
				names = append(names, e.name)
			}
		}
		if err != nil || len(list) == 0 {
			return names, err
		}
	}
}

// entry is one of getdents64(2).
type entry struct {
	name string
	ino  uint64
	next int64 // where to go on behind it
	kind byte
}

// entries makes one getdents64(2) with room for size bytes.
func entries(fd, size int) (list []entry, err error) {
	buf := make([]byte, size)
	n, err := again(func() (int, error) { return unix.Getdents(fd, buf) })
	for buf = buf[:max(n, 0)]; len(buf) > 0; {
		// Field by field: a unix.Dirent may be longer than what is there.
		word := binary.NativeEndian.Uint64
		size := binary.NativeEndian.Uint16(buf[unsafe.Offsetof(unix.Dirent{}.Reclen):])
		name := buf[unsafe.Offsetof(unix.Dirent{}.Name):size]
		list = append(list, entry{
			name: unix.ByteSliceToString(name), ino: word(buf), next: int64(word(buf[8:])), kind: buf[unsafe.Offsetof(unix.Dirent{}.Type)],
		})
		buf = buf[size:]
	}
	return list, err
}

// tick waits until the kernel's clock of timestamps, which moves every few milliseconds, is behind after.
func (k kernel) tick(after time.Time) {
	var now unix.Timespec
	for {
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil || time.Unix(now.Unix()).After(after) {
			return
		}
	}
}

// descriptor is an open file.
type descriptor struct{ fd int }

var _ file = (*descriptor)(nil)

// aligned returns n bytes where O_DIRECT wants them.
func aligned(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & (page - 1))
	return b[off : off+n : off+n]
}

func (d *descriptor) pread(n int, off int64) ([]byte, error) {
	p := aligned(n)
	for got := 0; ; { // a read(2) of much may be short; it ends with one of nothing
		k, err := again(func() (int, error) { return unix.Pread(d.fd, p[got:], off+int64(got)) })
		if err != nil || k == 0 || got+k == n {
			if got > 0 && err != nil {
				err = nil
			}
			return p[:got+max(k, 0)], err
		}
		got += k
	}
}

func (d *descriptor) pwrite(p []byte, off int64) (int, error) {
	b := aligned(len(p))
	copy(b, p)
	return again(func() (int, error) { return unix.Pwrite(d.fd, b, off) })
}

func (d *descriptor) write(p []byte) (int, error) {
	b := aligned(len(p))
	copy(b, p)
	return again(func() (int, error) { return unix.Write(d.fd, b) })
}

func (d *descriptor) truncate(size int64) error {
	_, err := again(func() (int, error) { return 0, unix.Ftruncate(d.fd, size) })
	return err
}

func (d *descriptor) stat() (attrs, error) { return statx(d.fd, "", 0) }

func (d *descriptor) sync() error {
	_, err := again(func() (int, error) { return 0, unix.Fsync(d.fd) })
	return err
}

var whences = map[string]int{"set": 0, "cur": 1, "end": 2, "data": unix.SEEK_DATA, "hole": unix.SEEK_HOLE}

func (d *descriptor) seek(off int64, whence string) (int64, error) {
	return unix.Seek(d.fd, off, whences[whence])
}

func (d *descriptor) close() error {
	// Not repeated: on Linux the descriptor is closed also when a signal interrupts it.
	if err := unix.Close(d.fd); !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// credentials makes the calling thread act as ids say until back is called.
func credentials(ids []uint32) (back func(), err error) {
	if os.Getuid() != 0 {
		return nil, unix.EPERM
	}
	groups := slices.Clone(ids[2:])
	set := func(groups []uint32, uid, gid uint32) error {
		// The raw calls, because the C library's and Go's change every thread.
		ptr := unsafe.Pointer(nil)
		if len(groups) > 0 {
			ptr = unsafe.Pointer(&groups[0])
		}
		keep := ^uintptr(0)
		for _, c := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(ptr), 0},
			{unix.SYS_SETRESGID, keep, uintptr(gid), keep},
			{unix.SYS_SETRESUID, keep, uintptr(uid), keep},
		} {
			if _, _, no := syscall.RawSyscall(c[0], c[1], c[2], c[3]); no != 0 {
				return no
			}
		}
		return nil
	}
	back = func() {
		_, _, no := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0))
		if no == 0 {
			err = set(nil, 0, 0)
		}
		if no != 0 || err != nil {
			panic("cannot become root again")
		}
	}
	return back, set(groups, ids[0], ids[1])
}
