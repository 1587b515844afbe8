//go:build linux

package fuse

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// TestErrno holds the whole table: what is not in it is EIO.
func TestErrno(t *testing.T) {
	want := map[fault.Kind]syscall.Errno{
		fault.Invalid: syscall.EINVAL, fault.NotExist: syscall.ENOENT, fault.Exist: syscall.EEXIST,
		fault.NotDir: syscall.ENOTDIR, fault.IsDir: syscall.EISDIR, fault.NotEmpty: syscall.ENOTEMPTY,
		fault.NameTooLong: syscall.ENAMETOOLONG, fault.TooBig: syscall.EFBIG, fault.NoSpace: syscall.ENOSPC,
		fault.Permission: syscall.EACCES, fault.ReadOnly: syscall.EROFS, fault.Stale: syscall.ESTALE,
		fault.Busy: syscall.EBUSY, fault.Unsupported: syscall.EOPNOTSUPP, fault.Canceled: syscall.EINTR,
		fault.Quota: syscall.EDQUOT, fault.TooManyLinks: syscall.EMLINK, fault.Cross: syscall.EXDEV,
		fault.Loop: syscall.EINVAL, fault.Refused: syscall.EPERM,
		fault.Locked: syscall.EAGAIN, fault.Deadlock: syscall.EDEADLK, fault.TooManyLocks: syscall.ENOLCK,
	}
	for k := fault.Other; k <= fault.TooManyLocks; k++ {
		no, known := want[k]
		if !known {
			no = syscall.EIO
		}
		if got := status(fault.New("x", k, "")); got != fuse.Status(no) {
			t.Errorf("%v is %v, want %v", k, got, no)
		}
	}
	if status(nil) != fuse.OK || status(errors.New("other")) != fuse.EIO {
		t.Error("no error, or one of nobody's")
	}
}

// keeps is a Coherence that lets the kernel keep everything for a minute, so that only notifies can be what makes it ask.
type keeps struct{ vfs.Alone }

func (k keeps) Read(ctx context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	_, err := k.Alone.Read(ctx, o, fn)
	return time.Minute, err
}

// cached mounts a drive whose kernel keeps what it is told, and returns a second file system on the same
// metadata and blocks, whose changes the kernel does not hear of by itself.
func cached(t *testing.T, o Options) (*Server, *vfs.FS) {
	s, d := mountedWith(t, o, func(d *fstest.Drive) {
		d.FS = vfs.New(d.Meta, d.Blocks, keeps{vfs.Alone{Store: d.Meta}}, vfs.Options{Session: d.Meta.Session()})
	})
	return s, vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
}

// writeFile makes a file behind the kernel's back.
func writeFile(t *testing.T, fs *vfs.FS, name, data string) meta.Ino {
	t.Helper()
	tree := fstest.Paths(fs)
	f, err := tree.Open(name, fstest.Fresh)
	if err == nil {
		_, err = f.WriteAt([]byte(data), 0)
		err = errors.Join(err, f.Close())
	}
	st, serr := tree.Stat(name)
	if err = errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	fs.FlushAll(context.Background())
	return meta.Ino(st.Ino)
}

// TestInvalidateInode: attributes and pages the kernel keeps are gone after a notify, and not before.
func TestInvalidateInode(t *testing.T) {
	s, other := cached(t, Options{})
	ino := writeFile(t, other, "f", "old")
	path := filepath.Join(s.Point(), "f")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	look := func() (int64, string) {
		fi, err := os.Stat(path)
		p := make([]byte, 10)
		n, _ := f.ReadAt(p, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size(), string(p[:n])
	}
	look()
	look() // reading pages has made the kernel doubt the access time
	writeFile(t, other, "f", "newer")
	if size, data := look(); size != 3 || data != "old" {
		t.Fatalf("the kernel kept nothing: %d, %q", size, data)
	}
	if err := s.InvalInode(ino, 0, 0); err != nil {
		t.Fatal(err)
	}
	if size, data := look(); size != 5 || data != "newer" {
		t.Fatalf("after the notify: %d, %q", size, data)
	}
	if err := s.InvalInode(123456, 0, 0); err != nil {
		t.Fatalf("an inode the kernel does not have: %v", err)
	}
}

// TestOpenKeepsPages: another open finds the pages the kernel has, until they are invalidated.
func TestOpenKeepsPages(t *testing.T) {
	s, other := cached(t, Options{})
	ino := writeFile(t, other, "f", "old")
	path := filepath.Join(s.Point(), "f")
	look := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	look()
	look() // reading pages has made the kernel doubt the access time
	writeFile(t, other, "f", "new")
	if got := look(); got != "old" {
		t.Fatalf("the kernel kept nothing: %q", got)
	}
	if err := s.InvalInode(ino, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != "new" {
		t.Fatalf("after the notify: %q", got)
	}
}

// stalls is keeps with answers about one object that are stalled after the state was read.
type stalls struct {
	keeps
	obj  chan coherence.Object // the one; taken once
	read chan struct{}         // closed when it has been
	pass chan struct{}         // close it to let the answer go
}

func (s *stalls) Read(ctx context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	valid, err := s.keeps.Read(ctx, o, fn)
	select {
	case x := <-s.obj:
		if x != o {
			s.obj <- x
			break
		}
		close(s.read)
		<-s.pass
	default:
	}
	return valid, err
}

// TestInvalidateReplyInFlight: a notify does not return before a reply that was read earlier has been installed, and undoes it.
func TestInvalidateReplyInFlight(t *testing.T) {
	st := &stalls{obj: make(chan coherence.Object, 1), read: make(chan struct{}), pass: make(chan struct{})}
	s, d := mountedWith(t, Options{}, func(d *fstest.Drive) {
		st.keeps = keeps{vfs.Alone{Store: d.Meta}}
		d.FS = vfs.New(d.Meta, d.Blocks, st, vfs.Options{Session: d.Meta.Session()})
	})
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	ino := writeFile(t, other, "f", "old")
	path := filepath.Join(s.Point(), "f")
	st.obj <- coherence.Attr(ino)
	looked, told := make(chan error, 1), make(chan error, 1)
	go func() { _, err := os.Stat(path); looked <- err }()
	<-st.read
	writeFile(t, other, "f", "newer")
	go func() { told <- s.InvalInode(ino, -1, 0) }()
	select {
	case <-told:
		t.Error("the notify returned before the reply was out")
	case <-time.After(20 * time.Millisecond):
	}
	close(st.pass)
	if err := errors.Join(<-looked, <-told); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() != 5 {
		t.Fatalf("the kernel keeps what was read before the notify: %v, %v", fi, err)
	}
}

// TestInvalidateNames: kept names, and kept absences, are gone after a notify or an expired epoch.
func TestInvalidateNames(t *testing.T) {
	s, other := cached(t, Options{})
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(s.Point(), name))
		return err == nil
	}
	if exists("f") {
		t.Fatal("there is nothing yet")
	}
	writeFile(t, other, "f", "x")
	if exists("f") {
		t.Fatal("the kernel did not keep the absence")
	}
	if err := s.InvalEntry(meta.Root, "f"); err != nil {
		t.Fatal(err)
	}
	if !exists("f") {
		t.Fatal("after the notify it is still absent")
	}
	if err := s.InvalEntry(meta.Root, "never seen"); err != nil {
		t.Fatalf("a name the kernel does not have: %v", err)
	}
	if !s.Epoch() {
		t.Skip("the rest needs Linux 6.16")
	}
	if err := other.Unlink(context.Background(), meta.Root, "f"); err != nil {
		t.Fatal(err)
	}
	if !exists("f") {
		t.Fatal("the kernel did not keep the name")
	}
	if err := s.ExpireEpoch(); err != nil {
		t.Fatal(err)
	}
	if exists("f") {
		t.Fatal("after the epoch it is still there")
	}
}

// TestOldKernel: without the epoch notify the mount says so.
func TestOldKernel(t *testing.T) {
	s, _ := mounted(t, Options{NoEpoch: true})
	if err := s.ExpireEpoch(); s.Epoch() || !errors.Is(err, fault.Unsupported) {
		t.Fatalf("%v, %v", s.Epoch(), err)
	}
}

// TestReferencesForgotten: the inode table shrinks with what the kernel forgets.
func TestReferencesForgotten(t *testing.T) {
	s, _ := mounted(t, Options{})
	before := s.Inodes()
	for i := range 50 {
		path := filepath.Join(s.Point(), "f"+string(rune('A'+i)))
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Inodes(); n < before+50 {
		t.Fatalf("%d inodes after making 50", n)
	}
	names, err := os.ReadDir(s.Point())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if err := os.Remove(filepath.Join(s.Point(), e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	// FORGETs come after the unlinks return; a statfs behind them in the queue is answered after they are read.
	for range 1000 {
		var st unix.Statfs_t
		if err := unix.Statfs(s.Point(), &st); err != nil {
			t.Fatal(err)
		}
		if s.Inodes() <= before {
			return
		}
	}
	t.Fatalf("%d inodes are left of %d", s.Inodes(), before)
}

// TestRefusedPoints: what is mounted already is not mounted over.
func TestRefusedPoints(t *testing.T) {
	s, d := mounted(t, Options{})
	if _, err := Mount(context.Background(), s.Point(), d.FS, Options{}); !errors.Is(err, fault.Busy) {
		t.Fatalf("mounted twice: %v", err)
	}
}

// TestStaleMount: what a dead daemon left is cleared, what a living one serves is not.
func TestStaleMount(t *testing.T) {
	s, _ := mounted(t, Options{})
	if cleaned, err := mount.CleanStale(s.Point(), Subtype); cleaned || err != nil {
		t.Fatalf("a living mount: %v, %v", cleaned, err)
	}
	point := t.TempDir()
	fd, err := mount.Attach(point, mount.Options{Source: "dead", Subtype: Subtype, MaxRead: requestBytes})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd) // the daemon dies
	cleaned, err := mount.CleanStale(point, Subtype)
	if at, _ := mount.At(point); !cleaned || err != nil || at != nil {
		t.Fatalf("%v, %v, %+v", cleaned, err, at)
	}
}

// TestNothingIsKeptBehindTheEnd: a kernel answers from its cache whatever has become of the connection, so names end with it.
func TestNothingIsKeptBehindTheEnd(t *testing.T) {
	s, other := cached(t, Options{})
	if !s.Epoch() {
		t.Skip("needs Linux 6.16")
	}
	writeFile(t, other, "f", "x")
	inside, err := unix.Open(s.Point(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inside)
	look := func() error {
		var st unix.Stat_t
		return unix.Fstatat(inside, "f", &st, 0)
	}
	if err := errors.Join(look(), s.Unmount()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second) // half of what the kernel was told to keep it for
	for look() == nil {
		if time.Now().After(deadline) {
			t.Fatal("the name outlives the connection")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBusyUnmount: somebody who stays inside does not keep the daemon from ending.
func TestBusyUnmount(t *testing.T) {
	s, _ := mounted(t, Options{})
	f, err := os.Create(filepath.Join(s.Point(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Fatal("wrote into a mount that is gone")
	}
}
