package vfs_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// here is a store that carries everything out by itself, as a mount that is alone does: its results have no index.
type here struct{ *meta.Local }

func (h here) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	r, err := h.Local.Apply(ctx, op)
	r.Index = 0
	return r, err
}

func (h here) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	return h.Apply(ctx, op)
}

func (h here) Released(context.Context, uint64) error { return nil }

// dawdler is a Coherence whose readers look at a view for a while: meanwhile runs once, when one has looked at obj.
type dawdler struct {
	vfs.Alone
	obj       coherence.Object
	meanwhile func()
}

func (s *dawdler) Read(ctx context.Context, obj coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	_, err := s.Alone.Read(ctx, obj, func(v meta.View) error {
		err := fn(v)
		if do := s.meanwhile; do != nil && obj == s.obj {
			s.meanwhile = nil
			do()
		}
		return err
	})
	return time.Minute, err
}

// A commit that is carried out here while somebody looks has no index by which a view could be told to be without it: what was written is
// seen all the same, neither in the view nor over it as it may be.
func TestACommitHereWhileSomebodyLooks(t *testing.T) {
	for _, obj := range []func(meta.Ino) coherence.Object{coherence.Attr, coherence.Bytes} {
		d := fstest.NewDrive(t, vfs.Options{})
		c := &dawdler{Alone: vfs.Alone{Store: d.Meta}}
		fs := vfs.New(here{d.Meta}, d.Blocks, c, vfs.Options{Session: d.Meta.Session()})
		e, o, err := fs.Create(bg, vfs.Caller{}, meta.Root, "f", 0o644, vfs.Mode{Read: true, Write: true}, nil)
		must(t, err)
		ino, want := e.Inode.Ino, bytes.Repeat([]byte("written "), 100)
		_, err = fs.Write(bg, o.Handle, 0, want, false)
		must(t, err)
		c.obj, c.meanwhile = obj(ino), func() { must(t, fs.Flush(bg, o.Handle)) }
		if a, err := fs.Getattr(bg, ino); err != nil || a.Inode.Size != int64(len(want)) {
			t.Errorf("%v: the file has %d bytes, %v", c.obj, a.Inode.Size, err)
		}
		got := make([]byte, 2*len(want)) // more than is in the buffer, which would answer by itself
		if n, err := fs.Read(bg, o.Handle, 0, got); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("%v: %d bytes are read, %v", c.obj, n, err)
		}
		if c.meanwhile != nil {
			t.Errorf("%v was not looked at", c.obj)
		}
		fs.Release(o.Handle)
	}
}
