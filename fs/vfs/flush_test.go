package vfs_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

var (
	bg     = context.Background()
	update = vfs.Mode{Read: true, Write: true}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes and opens a file in the root.
func create(t *testing.T, fs *vfs.FS, name string) (meta.Ino, vfs.Handle) {
	t.Helper()
	e, o, err := fs.Create(bg, vfs.Caller{}, meta.Root, name, 0o644, update, nil)
	must(t, err)
	return e.Inode.Ino, o.Handle
}

func put(t *testing.T, fs *vfs.FS, h vfs.Handle, off int64, s string) {
	t.Helper()
	_, err := fs.Write(bg, h, off, []byte(s), false)
	must(t, err)
}

func content(t *testing.T, fs *vfs.FS, ino meta.Ino) string {
	t.Helper()
	o, err := fs.Open(bg, ino, vfs.Mode{Read: true})
	must(t, err)
	defer fs.Release(o.Handle)
	p := make([]byte, 1<<20)
	n, err := fs.Read(bg, o.Handle, 0, p)
	must(t, err)
	return string(p[:n])
}

// A failed flush is reported once per open, and the bytes stay until a later flush succeeds.
func TestErrorsStick(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	o, err := d.FS.Open(bg, ino, update)
	must(t, err)
	d.Blocks.OnWrite = func([]byte) error { return fault.NoSpace }
	put(t, d.FS, h, 0, "pinned")
	if err := d.FS.Flush(bg, h); !errors.Is(err, fault.NoSpace) {
		t.Fatalf("close: %v", err)
	}
	if got := content(t, d.FS, ino); got != "pinned" {
		t.Fatalf("after the failure %q", got)
	}
	d.Blocks.OnWrite = nil
	must(t, d.FS.Flush(bg, h)) // told already
	if err := d.FS.Fsync(bg, o.Handle); !errors.Is(err, fault.NoSpace) {
		t.Fatalf("the other handle: %v", err)
	}
	must(t, d.FS.Fsync(bg, o.Handle))
	if got := content(t, d.FS, ino); got != "pinned" {
		t.Fatalf("in the end %q", got)
	}
	if n := d.FS.Dirty(); n != 0 {
		t.Fatalf("%d bytes are still charged", n)
	}
}

// A commit whose base has changed is redone from the new base: two writers of one block lose nothing.
func TestConflict(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "aaaaaaaa")
	must(t, d.FS.Flush(bg, h))
	oo, err := other.Open(bg, ino, update)
	must(t, err)
	put(t, d.FS, h, 0, "1")
	put(t, other, oo.Handle, 7, "2")
	first := true
	d.Blocks.OnWrite = func([]byte) error {
		if first { // the other one commits between this one's look and its commit
			first = false
			return other.Flush(bg, oo.Handle)
		}
		return nil
	}
	must(t, d.FS.Flush(bg, h))
	if got := content(t, other, ino); got != "1aaaaaa2" {
		t.Fatalf("got %q", got)
	}
}

// Appends of two mounts end up whole, one behind the other.
func TestAppendsOfTwoMounts(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	ino, h := create(t, d.FS, "log")
	must(t, d.FS.Flush(bg, h))
	d.FS.FlushAll(bg)
	mode := vfs.Mode{Write: true, Append: true}
	a, err := d.FS.Open(bg, ino, mode)
	must(t, err)
	b, err := other.Open(bg, ino, mode)
	must(t, err)
	put(t, d.FS, a.Handle, 0, "one ")
	put(t, other, b.Handle, 0, "two ")
	first := true
	d.Blocks.OnWrite = func([]byte) error {
		if first {
			first = false
			return other.Flush(bg, b.Handle)
		}
		return nil
	}
	must(t, d.FS.Flush(bg, a.Handle))
	if got := content(t, other, ino); got != "two one " {
		t.Fatalf("got %q", got)
	}
}

// A file belongs to its creator until it is closed; another mount's look makes the creator flush.
func TestGrantRecalled(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	recalls := 0
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{
		Session: 99,
		Recall: func(ctx context.Context, session uint64, ino meta.Ino) error {
			recalls++
			return d.FS.Recall(ctx, ino)
		},
	})
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "bytes")
	_, err := d.FS.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetMode, Mode: 0o600, Time: 1})
	must(t, err)
	a, err := other.Getattr(bg, ino)
	must(t, err)
	if a.Inode.Size != 5 || a.Inode.Mode != 0o600 || a.Inode.Grant != 0 || recalls != 1 {
		t.Fatalf("%+v after %d recalls", a.Inode, recalls)
	}
	put(t, d.FS, h, 5, " more")
	must(t, d.FS.Flush(bg, h))
	if got := content(t, other, ino); got != "bytes more" || recalls != 1 {
		t.Fatalf("%q after %d recalls", got, recalls)
	}
}

// The grants of files that were closed empty are given up in a batch.
func TestGrantsGivenUp(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	var inos []meta.Ino
	for _, name := range []string{"a", "b", "c"} {
		ino, h := create(t, d.FS, name)
		must(t, d.FS.Flush(bg, h))
		d.FS.Release(h)
		inos = append(inos, ino)
	}
	before, err := d.Meta.At(0)
	must(t, err)
	d.FS.FlushAll(bg)
	after, err := d.Meta.At(0)
	must(t, err)
	for _, ino := range inos {
		if st, err := after.Stat(ino); err != nil || st.Grant != 0 {
			t.Fatalf("inode %d: %+v, %v", ino, st, err)
		}
	}
	if ops := after.Index() - before.Index(); ops != 1 {
		t.Fatalf("%d ops for three grants", ops)
	}
}

// Rename over an existing file syncs the new one's bytes before it becomes visible.
func TestRenameSyncs(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	syncs := 0
	d.Blocks.OnSync = func([]placement.Layout) { syncs++ }
	for _, name := range []string{"old", "new"} {
		_, h := create(t, d.FS, name)
		put(t, d.FS, h, 0, name)
		must(t, d.FS.Flush(bg, h))
		d.FS.Release(h)
	}
	if syncs != 0 {
		t.Fatal("close synced")
	}
	must(t, d.FS.Rename(bg, meta.Root, "new", meta.Root, "old", 0))
	if syncs == 0 {
		t.Fatal("the rename did not sync")
	}
}

// Extents that are gone were replaced: the reader looks again.
func TestReadLooksAgain(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "first")
	must(t, d.FS.Flush(bg, h))
	first := true
	d.Blocks.OnRead = func(s blockstore.Span) error {
		if first {
			first = false
			put(t, d.FS, h, 0, "again")
			must(t, d.FS.Flush(bg, h))
			return fault.NotExist
		}
		return nil
	}
	o, err := d.FS.Open(bg, ino, vfs.Mode{Read: true})
	must(t, err)
	p := make([]byte, 5)
	if _, err := d.FS.Read(bg, o.Handle, 0, p); err != nil || !bytes.Equal(p, []byte("again")) {
		t.Fatalf("%q, %v", p, err)
	}
	d.Blocks.OnRead = func(blockstore.Span) error { return fault.Damaged }
	if _, err := d.FS.Read(bg, o.Handle, 0, p); !errors.Is(err, fault.Damaged) {
		t.Fatalf("damaged: %v", err)
	}
}

// What is left alone is flushed by itself, and full windows do not wait for that.
func TestBackground(t *testing.T) {
	var writes atomic.Int64
	wrote := make(chan struct{}, 100)
	d := fstest.NewDrive(t, vfs.Options{Idle: 20 * time.Millisecond})
	d.Blocks.OnWrite = func(p []byte) error {
		writes.Add(int64(len(p)))
		wrote <- struct{}{}
		return nil
	}
	running(t, d.FS)
	_, h := create(t, d.FS, "f")
	_, err := d.FS.Write(bg, h, 0, make([]byte, 4<<20+100), false)
	must(t, err)
	<-wrote
	<-wrote
	if n := writes.Load(); n != 4<<20+512 {
		t.Fatalf("%d bytes were flushed", n)
	}
}

// Files without a name that are open are held.
func TestHeld(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	must(t, d.FS.Unlink(bg, meta.Root, "f"))
	if held := d.FS.Held(); len(held) != 1 || held[0] != ino {
		t.Fatalf("held: %v", held)
	}
	d.FS.Release(h)
	d.FS.FlushAll(bg)
	if held := d.FS.Held(); len(held) != 0 {
		t.Fatalf("held after release: %v", held)
	}
}

// A holder that does not answer is asked again until it has given the file up: what is committed meanwhile is no answer. Nor is the
// inode counted while it is asked, for the holder waits until this mount has taken its commit in.
func TestAHolderThatDoesNotAnswer(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	refs := counted{}
	tries := 0
	o := vfs.Options{Session: 99, Recall: func(ctx context.Context, _ uint64, ino meta.Ino) error {
		if refs[ino] != 0 {
			t.Errorf("%d references during the recall", refs[ino])
		}
		if tries++; tries < 3 {
			return fault.Unreachable
		}
		return d.FS.Recall(ctx, ino)
	}}
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, o)
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "bytes")
	e, err := other.Lookup(bg, meta.Root, "f", refs)
	if err != nil || e.Inode.Size != 5 || tries < 3 || refs[ino] != 1 {
		t.Fatalf("%+v, %v after %d tries, %v", e.Inode, err, tries, refs)
	}
	ino, _ = create(t, d.FS, "g")
	tries = -1 << 30
	o.RecallWait = time.Nanosecond
	other = vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, o)
	if a, err := other.Getattr(bg, ino); !errors.Is(err, fault.CutOff) {
		t.Fatalf("%+v, %v", a, err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	o.RecallWait = time.Hour
	other = vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, o)
	if a, err := other.Getattr(ctx, ino); !errors.Is(err, fault.Timeout) {
		t.Fatalf("%+v, %v", a, err)
	}
}
