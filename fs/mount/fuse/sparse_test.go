//go:build linux

package fuse

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"dfs/fs/fstest"
)

// TestHoles runs the contract of holes through the kernel.
func TestHoles(t *testing.T) {
	fstest.RunSparse(t, 512, false, func(t *testing.T) fstest.Tree {
		s, _ := mounted(t, Options{})
		return fstest.Dir(s.Point())
	})
}

// TestCopies runs the contract of copies through the kernel.
func TestCopies(t *testing.T) {
	fstest.RunCopies(t, func(t *testing.T) fstest.Tree {
		s, _ := mounted(t, Options{})
		return fstest.Dir(s.Point())
	})
}

// cp copies a file of 256 MiB without moving a byte of it.
func TestCpMovesNothing(t *testing.T) {
	cp, err := exec.LookPath("cp")
	if err != nil {
		t.Skip("needs cp, of coreutils 9 or newer")
	}
	s, d := mounted(t, Options{})
	const size = 256 << 20
	f, err := os.Create(filepath.Join(s.Point(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	piece := fstest.Bytes(1, 4<<20)
	for off := int64(0); off < size; off += int64(len(piece)) {
		if _, err := f.WriteAt(piece, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	writes, reads := d.Blocks.Counts()
	out, err := exec.Command(cp, "--reflink=auto", filepath.Join(s.Point(), "a"), filepath.Join(s.Point(), "b")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if w, r := d.Blocks.Counts(); w != writes || r != reads {
		t.Errorf("cp made %d writes and %d reads of blocks", w-writes, r-reads)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.Point(), "b"), &st); err != nil || st.Size != size || st.Blocks != size/512 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	got := make([]byte, len(piece))
	b, err := os.Open(filepath.Join(s.Point(), "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.ReadAt(got, 128<<20); err != nil || !bytes.Equal(got, piece) {
		t.Errorf("other bytes, %v", err)
	}
}

// refusal is a call and the error that it must give.
type refusal struct {
	name string
	call func(dir string) error
	want unix.Errno
	ext4 unix.Errno // 0: the same; others know more calls, or fewer limits
}

// okay is the error number of a call that works.
const okay = unix.Errno(1 << 16)

// onFile opens a file of 10,000 bytes in dir and calls fn with its descriptor.
func onFile(dir, name string, flags int, fn func(fd int) error) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, make([]byte, 10000), 0o644); err != nil {
		return err
	}
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return fn(fd)
}

func fallocate(flags int, mode uint32, off, n int64) func(string) error {
	return func(dir string) error {
		return onFile(dir, "f", flags, func(fd int) error { return unix.Fallocate(fd, mode, off, n) })
	}
}

func copyRange(flags int, off, at int64, n, how int) func(string) error {
	return func(dir string) error {
		return onFile(dir, "f", flags, func(fd int) error {
			_, err := unix.CopyFileRange(fd, &off, fd, &at, n, how)
			return err
		})
	}
}

const (
	keepSize = unix.FALLOC_FL_KEEP_SIZE
	punch    = unix.FALLOC_FL_PUNCH_HOLE
	zero     = unix.FALLOC_FL_ZERO_RANGE
)

var refusals = []refusal{
	{"allocate nothing", fallocate(unix.O_RDWR, 0, 0, 0), unix.EINVAL, 0},
	{"allocate less than nothing", fallocate(unix.O_RDWR, 0, 0, -1), unix.EINVAL, 0},
	{"allocate before the start", fallocate(unix.O_RDWR, 0, -1, 10), unix.EINVAL, 0},
	{"allocate beyond all offsets", fallocate(unix.O_RDWR, 0, 1<<62, 1<<62), unix.EFBIG, 0},
	{"allocate beyond the largest file", fallocate(unix.O_RDWR, 0, 1<<60, 4096), unix.EFBIG, 0},
	{"punch beyond the largest file", fallocate(unix.O_RDWR, punch|keepSize, 1<<60, 4096), unix.EFBIG, 0},
	{"allocate read-only", fallocate(unix.O_RDONLY, 0, 0, 10), unix.EBADF, 0},
	{"punch read-only", fallocate(unix.O_RDONLY, punch|keepSize, 0, 10), unix.EBADF, 0},
	{"punch and grow", fallocate(unix.O_RDWR, punch, 0, 10), unix.EOPNOTSUPP, 0},
	{"punch and zero", fallocate(unix.O_RDWR, punch|zero|keepSize, 0, 10), unix.EOPNOTSUPP, 0},
	{"a mode that is none", fallocate(unix.O_RDWR, 0x8000, 0, 10), unix.EOPNOTSUPP, 0},
	{"collapse", fallocate(unix.O_RDWR, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP, okay},
	{"insert", fallocate(unix.O_RDWR, unix.FALLOC_FL_INSERT_RANGE, 4096, 4096), unix.EOPNOTSUPP, okay},
	{"collapse less than a block", fallocate(unix.O_RDWR, unix.FALLOC_FL_COLLAPSE_RANGE, 1, 100), unix.EOPNOTSUPP, unix.EINVAL},
	{"append and punch", fallocate(unix.O_WRONLY|unix.O_APPEND, punch|keepSize, 0, 4096), okay, 0},
	{"append and allocate", fallocate(unix.O_WRONLY|unix.O_APPEND, 0, 0, 20000), okay, 0},
	{"copy with flags", copyRange(unix.O_RDWR, 0, 5000, 100, 1), unix.EINVAL, 0},
	{"copy onto itself", copyRange(unix.O_RDWR, 0, 50, 100, 0), unix.EINVAL, 0},
	{"copy read-only", copyRange(unix.O_RDONLY, 0, 5000, 100, 0), unix.EBADF, 0},
	{"copy write-only", copyRange(unix.O_WRONLY, 0, 5000, 100, 0), unix.EBADF, 0},
	{"copy to what appends", copyRange(unix.O_RDWR|unix.O_APPEND, 0, 5000, 100, 0), unix.EBADF, 0},
	{"copy beyond the largest file", copyRange(unix.O_RDWR, 0, 1<<60, 100, 0), unix.EFBIG, 0},
	{"copy from behind the end", copyRange(unix.O_RDWR, 10000, 20000, 100, 0), okay, 0},
	{"copy within", copyRange(unix.O_RDWR, 0, 5000, 100, 0), okay, 0},
	{"allocate a directory", func(dir string) error {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fallocate(fd, 0, 0, 10)
	}, unix.EBADF, 0},
	{"allocate a pipe", func(dir string) error {
		path := filepath.Join(dir, "pipe")
		if err := unix.Mkfifo(path, 0o644); err != nil {
			return err
		}
		fd, err := unix.Open(path, unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fallocate(fd, 0, 0, 10)
	}, unix.ESPIPE, 0},
}

// TestRefusals holds the error numbers of calls about ranges, and ext4's beside them.
func TestRefusals(t *testing.T) {
	s, _ := mounted(t, Options{})
	refuse(t, s.Point(), func(r refusal) unix.Errno { return r.want })
	judge := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(judge, &st); err != nil || st.Type != unix.EXT4_SUPER_MAGIC {
		t.Logf("%s is not on ext4: nobody to compare with", judge)
		return
	}
	refuse(t, judge, func(r refusal) unix.Errno {
		if r.ext4 != 0 {
			return r.ext4
		}
		return r.want
	})
}

func refuse(t *testing.T, root string, want func(refusal) unix.Errno) {
	for i, r := range refusals {
		dir := filepath.Join(root, string(rune('a'+i)))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := r.call(dir)
		got := okay
		if err != nil && !errors.As(err, &got) {
			t.Errorf("%s: %v", r.name, err)
		}
		if got != want(r) {
			t.Errorf("%s in %s: %v, want %v", r.name, root, err, want(r))
		}
	}
}

// What somebody without privileges punches, zeroes, allocates or copies to loses its setuid bit.
func TestRangesTakePrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs to be root, to be somebody else")
	}
	s, d := mounted(t, Options{})
	const copies = 1 << 31
	for i, mode := range []uint32{0, keepSize, punch | keepSize, zero, copies} {
		name := string(rune('a' + i))
		ino := writeFile(t, d.FS, name, "data")
		path := filepath.Join(s.Point(), name)
		if err := unix.Chmod(path, 0o6777); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() error {
			if mode != copies {
				return unix.Fallocate(fd, mode, 0, 2)
			}
			var off, at int64 = 0, 2
			_, err := unix.CopyFileRange(fd, &off, fd, &at, 2, 0)
			return err
		})
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&0o7777 != 0o777 {
			t.Errorf("mode %#x of inode %d: %#o, %v", mode, ino, st.Mode&0o7777, err)
		}
		unix.Close(fd)
	}
}

// asNobody calls fn in a thread of another user, which ends with it.
func asNobody(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		_, _, no := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534)
		if no != 0 {
			done <- no
			return
		}
		done <- fn()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
