package vfs_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// A mount that has lost its lease may have lost what was granted to it: it hands in what it kept back, and keeps nothing more.
func TestForfeit(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ctx, cancel := context.WithCancel(bg)
	var run sync.WaitGroup
	run.Go(func() { _ = d.FS.Run(ctx) })
	defer run.Wait()
	defer cancel()
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: 99})
	ino, _ := create(t, d.FS, "f")
	chmod := func(mode uint32) {
		t.Helper()
		_, err := d.FS.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetMode, Mode: mode})
		must(t, err)
	}
	mode := func() uint32 {
		t.Helper()
		a, err := other.Getattr(bg, ino)
		must(t, err)
		return a.Inode.Mode & 0o777
	}
	chmod(0o600)
	if _, err := d.Meta.Apply(bg, meta.EndGrant{Session: d.Meta.Session()}); err != nil {
		t.Fatal(err)
	}
	if got := mode(); got != 0o644 {
		t.Fatalf("mode %o: it was not kept back, so this shows nothing", got)
	}
	d.FS.Forfeit()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(10 * time.Second); mode() != 0o600; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("what was kept back is not handed in")
		}
	}
	chmod(0o640)
	if got := mode(); got != 0o640 {
		t.Fatalf("mode %o: still kept back", got)
	}
}

// turning is a store whose session ends when an op first comes to it.
type turning struct {
	meta.Store
	fs    *vfs.FS
	ended uint64
	next  uint64
	asked []uint64
}

func (s *turning) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	return s.Apply(ctx, op)
}

func (s *turning) Released(context.Context, uint64) error { return nil }

func (s *turning) ApplyUnder(ctx context.Context, session uint64, op meta.Op) (meta.Result, error) {
	s.asked = append(s.asked, session)
	if session == s.ended {
		s.fs.Renew(s.next)
		return meta.Result{}, fault.New("change", fault.Conflict, "ended")
	}
	return s.Apply(ctx, op)
}

// signed remembers whose extents are whose.
type signed struct {
	vfs.Blocks
	by map[blockstore.ID]uint64
}

func (b *signed) Write(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish, hard bool) ([]extent.Extent, error) {
	es, err := b.Blocks.Write(ctx, data, note, w, hard)
	for _, e := range es {
		b.by[e.Span.Extent] = note.Session
	}
	return es, err
}

// What was placed in a session that has ended is nobody's, and swept: it is placed anew before it is committed.
func TestWhatAnEndedSessionPlacedIsNotCommitted(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	s := &turning{Store: d.Meta, ended: d.Meta.Session(), next: 4711}
	b := &signed{Blocks: d.Blocks, by: map[blockstore.ID]uint64{}}
	s.fs = vfs.New(s, b, vfs.Alone{Store: d.Meta}, vfs.Options{Session: s.ended})
	ino, h := create(t, s.fs, "f")
	put(t, s.fs, h, 0, "bytes")
	must(t, s.fs.Fsync(bg, h))
	if len(s.asked) != 2 || s.asked[1] != s.next {
		t.Fatalf("committed in sessions %v", s.asked)
	}
	v, err := d.Meta.At(0)
	must(t, err)
	defer v.Close()
	m, err := v.Extents(ino, 0, 5)
	must(t, err)
	if len(m) != 1 || b.by[m[0].Span.Extent] != s.next {
		t.Fatalf("%v of session %d is committed", m, b.by[m[0].Span.Extent])
	}
	if got := content(t, s.fs, ino); got != "bytes" {
		t.Fatalf("%q", got)
	}
}
