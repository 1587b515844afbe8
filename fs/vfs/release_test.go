package vfs_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// slow is a store that releases nothing while it is shut.
type slow struct {
	*meta.Local
	applied func(meta.Op) // called when an op is applied, before anybody knows; may be nil
	waits   chan struct{} // told of everybody who waits for a release

	mu   sync.Mutex
	gate chan struct{} // closed: open
}

func newSlow(l *meta.Local) *slow {
	s := &slow{Local: l, waits: make(chan struct{}, 100), gate: make(chan struct{})}
	close(s.gate)
	return s
}

func (s *slow) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *slow) open() { close(s.gate) }

func (s *slow) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	res, err := s.Local.Apply(ctx, op)
	if s.applied != nil {
		s.applied(op)
	}
	return res, err
}

func (s *slow) Released(ctx context.Context, _ uint64) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	select {
	case <-gate:
		return nil
	default:
	}
	if ctx.Err() == nil {
		s.waits <- struct{}{}
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return fault.Because("wait for a release", fault.Timeout, ctx.Err())
	}
}

func (s *slow) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	res, err := s.ApplyEarly(ctx, op)
	if err == nil {
		err = s.Released(ctx, res.Index)
	}
	return res, err
}

// pinned is a Coherence that answers bytes and attributes from an old view while at is not 0.
type pinned struct {
	vfs.Alone
	at    uint64
	reads chan struct{} // told when bytes are about to be read; may be nil
}

func (p *pinned) Read(_ context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	v, err := p.Store.At(p.at)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	err = fn(v)
	if p.reads != nil {
		p.reads <- struct{}{}
	}
	return 0, err
}

// two returns a file system on a slow store, and another mount's on the same drive.
func two(t *testing.T, o vfs.Options) (fs, other *vfs.FS, s *slow, c *pinned) {
	d := fstest.NewDrive(t, o)
	s = newSlow(d.Meta)
	c = &pinned{Alone: vfs.Alone{Store: d.Meta}}
	o.Session = d.Meta.Session()
	other = vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: o.Session})
	o.CloneMin = 64 << 10
	return vfs.New(s, d.Blocks, c, o), other, s, c
}

// begin runs fn beside the test and returns where its end is told.
func begin(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}

func read(t *testing.T, fs *vfs.FS, h vfs.Handle) string {
	t.Helper()
	p := make([]byte, 100)
	n, err := fs.Read(bg, h, 0, p)
	must(t, err)
	return string(p[:n])
}

// A WRITE holds its pages while another kernel may have to give up the same ones: neither it nor the flushes it makes wait for a
// release, not even behind a close that does.
func TestOnlyCloseWaitsForTheRelease(t *testing.T) {
	fs, _, s, _ := two(t, vfs.Options{DirtyBytes: 16 << 10, FileBytes: 8 << 10, Idle: time.Millisecond})
	_, h := create(t, fs, "f")
	s.shut()
	big := make([]byte, 64<<10)
	put(t, fs, h, 0, string(big)) // flushes several times
	put(t, fs, h, 0, "kept")
	closed := begin(func() error { return fs.Flush(bg, h) })
	<-s.waits
	put(t, fs, h, 4, string(big))
	running(t, fs) // flushes what is left by itself
	for fs.Dirty() > 0 {
		runtime.Gosched()
	}
	select {
	case err := <-closed:
		t.Fatalf("closed before the release: %v", err)
	default:
	}
	s.open()
	must(t, <-closed)
}

// Appends bypass the kernel's cache, which knows no end of the file that others move; they wait for releases as little as
// other writes, and their reader finds them where they ended up.
func TestAppendsWaitForNoRelease(t *testing.T) {
	fs, other, s, _ := two(t, vfs.Options{})
	ino, h := create(t, fs, "log")
	put(t, fs, h, 0, "0 ")
	must(t, fs.Flush(bg, h)) // and the grant is given up
	log, err := fs.Open(bg, ino, vfs.Mode{Read: true, Write: true, Append: true})
	must(t, err)
	if o, err := fs.Open(bg, ino, update); !log.Direct || o.Direct || err != nil {
		t.Fatalf("append %+v, plain %+v, %v", log, o, err)
	}
	o, err := other.Open(bg, ino, vfs.Mode{Write: true, Append: true})
	must(t, err)
	s.shut()
	put(t, fs, log.Handle, 0, "1 ")
	if got := read(t, fs, log.Handle); got != "0 1 " {
		t.Errorf("read %q", got)
	}
	put(t, other, o.Handle, 0, "2 ")
	must(t, other.Flush(bg, o.Handle))
	put(t, fs, log.Handle, 0, string(make([]byte, 1<<20))) // more than waits in one tail
	put(t, fs, log.Handle, 0, "3 ")
	if a, err := fs.Getattr(bg, ino); err != nil || a.Inode.Size != 8+1<<20 {
		t.Errorf("%+v, %v", a.Inode, err)
	}
	closed := begin(func() error { return fs.Flush(bg, log.Handle) })
	<-s.waits
	if got := read(t, fs, log.Handle); len(got) != 100 || got[:6] != "0 1 2 " {
		t.Errorf("read %q", got)
	}
	select {
	case err := <-closed:
		t.Errorf("closed before the release: %v", err)
	default:
	}
	s.open()
	must(t, <-closed)
}

// Once applied, a commit lies over nothing that came after it, though nobody has been told of it yet.
func TestACommitDoesNotHideLaterOnes(t *testing.T) {
	fs, other, s, _ := two(t, vfs.Options{})
	ino, h := create(t, fs, "f")
	put(t, fs, h, 0, "aaaa")
	s.shut()
	closed := begin(func() error { return fs.Flush(bg, h) })
	<-s.waits
	o, err := other.Open(bg, ino, update)
	must(t, err)
	put(t, other, o.Handle, 0, "b")
	must(t, other.Flush(bg, o.Handle))
	if got := read(t, fs, h); got != "baaa" {
		t.Errorf("read %q", got)
	}
	_, err = other.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetSize | meta.SetMode, Size: 2, Mode: 0o600, Time: 1})
	must(t, err)
	if a, err := fs.Getattr(bg, ino); err != nil || a.Inode.Size != 2 || a.Inode.Mode != 0o600 {
		t.Errorf("%+v, %v", a.Inode, err)
	}
	s.open()
	must(t, <-closed)
}

// Between an op's application and its answer nobody knows which of two commits was first: the reader waits for the answer.
func TestAReaderWaitsToKnowWhatIsCommitted(t *testing.T) {
	fs, other, s, c := two(t, vfs.Options{})
	ino, h := create(t, fs, "f")
	o, err := other.Open(bg, ino, update)
	must(t, err)
	put(t, fs, h, 0, "aaaa")
	c.reads = make(chan struct{}, 10)
	var got string
	var reader <-chan error
	s.applied = func(op meta.Op) {
		if _, ok := op.(meta.Commit); !ok || reader != nil {
			return
		}
		put(t, other, o.Handle, 0, "b")
		must(t, other.Flush(bg, o.Handle))
		reader = begin(func() error { got = read(t, fs, h); return nil })
		<-c.reads
	}
	must(t, fs.Flush(bg, h))
	must(t, <-reader)
	if got != "baaa" {
		t.Fatalf("read %q", got)
	}
}

// A view from before a commit of ours, while another mount's is being taken in, shows ours all the same.
func TestACommitLiesOverOlderViews(t *testing.T) {
	fs, other, s, c := two(t, vfs.Options{})
	ino, h := create(t, fs, "f")
	put(t, fs, h, 0, "aaaa")
	must(t, fs.Flush(bg, h))
	v, err := c.Store.At(0)
	must(t, err)
	c.at = v.Index()
	v.Close()
	o, err := other.Open(bg, ino, update)
	must(t, err)
	put(t, other, o.Handle, 0, "bb")
	must(t, other.Flush(bg, o.Handle))
	put(t, fs, h, 3, "cc")
	s.shut()
	closed := begin(func() error { return fs.Flush(bg, h) })
	<-s.waits
	if got := read(t, fs, h); got != "aaacc" {
		t.Errorf("the old view with our own bytes: %q", got)
	}
	if a, err := fs.Getattr(bg, ino); err != nil || a.Inode.Size != 5 {
		t.Errorf("%+v, %v", a.Inode, err)
	}
	s.open()
	must(t, <-closed)
	c.at = 0
	if got := read(t, fs, h); got != "bbacc" {
		t.Errorf("at last %q", got)
	}
}
