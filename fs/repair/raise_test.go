package repair_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/faulty"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

var two = placement.Wish{Copies: 2}

// lonely returns a rig whose second peer was away while a file of n blocks was written.
func lonely(t *testing.T, n int) (*rig, meta.Ino, []byte) {
	t.Helper()
	r := newRig(t, 2)
	ino := r.file("f", two)
	r.setAway(true, r.ids[1])
	data := blocks(n, 1)
	r.mustWrite(ino, 0, data)
	return r, ino, data
}

func TestRaiseLiftsOneCopyToTwo(t *testing.T) {
	r, ino, data := lonely(t, 9)
	mtime := r.stat(ino).Mtime
	if r.below() != 1 {
		t.Fatalf("%d below", r.below())
	}
	r.setAway(false, r.ids[1])
	if raised, left := r.raise(); raised != 1 || left != 0 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	if r.below() != 0 || len(r.extents(ino)[0].Layout.Peers) != 2 || r.stat(ino).Mtime != mtime {
		t.Fatalf("%+v", r.extents(ino))
	}
	r.setAway(true, r.ids[0])
	r.same(ino, data)
	r.setAway(false, r.ids[0])
	r.quiet()
	r.exact(ino)
	note, blocks, err := r.stores[1].NoteOf(ctx, r.extents(ino)[0].Span.Extent)
	if err != nil || note.Ino != uint64(ino) || blocks != 9 {
		t.Fatalf("the copy is noted as %+v, %d blocks, %v", note, blocks, err)
	}
}

// A raised copy is on its peer's disk before the map names it.
func TestRaiseSyncsBeforeItCommits(t *testing.T) {
	r, ino, data := lonely(t, 4)
	r.setAway(false, r.ids[1])
	r.raise()
	r.stores[1].Crash()
	r.setAway(true, r.ids[0])
	r.same(ino, data)
}

func TestACopyThatCannotBeSyncedDoesNotCount(t *testing.T) {
	r, ino, data := lonely(t, 4)
	r.setAway(false, r.ids[1])
	r.faults[1].Set(faulty.Rule{Method: faulty.Sync, Err: fault.New("sync", fault.ReadOnly, "no")})
	if raised, left := r.raise(); raised != 0 || left != 1 || r.below() != 1 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	r.faults[1].Set()
	if raised, _ := r.raise(); raised != 1 {
		t.Fatal("not raised although the peer is well again")
	}
	r.same(ino, data)
	r.quiet()
	r.exact(ino)
}

func TestNothingIsRaisedWhereNoPeerIsAvailable(t *testing.T) {
	r, ino, data := lonely(t, 4)
	if raised, left := r.raise(); raised != 0 || left != 1 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	if r.proposed() != 0 {
		t.Fatal("an op was proposed")
	}
	r.same(ino, data)
}

func TestAMemberDeclaredLostIsReplaced(t *testing.T) {
	r := newRig(t, 3)
	ino := r.file("f", two)
	data := blocks(30, 2)
	r.mustWrite(ino, 0, data)
	gone := r.extents(ino)[0].Layout.Peers[0]
	r.setAway(true, gone)
	r.lose(gone)
	if raised, left := r.raise(); raised != 1 || left != 0 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	r.same(ino, data)
	on := r.extents(ino)[0].Layout.Peers
	if len(slices.DeleteFunc(slices.Clone(on), func(id cluster.PeerID) bool { return id == gone })) != 2 {
		t.Fatalf("%v", on)
	}
}

// Pieces that overwriting left are rewritten as extents of their own: a copy of one would pass for the whole.
func TestPiecesAreRewritten(t *testing.T) {
	r, ino, data := lonely(t, 16)
	copy(data[5*512:], blocks(4, 9))
	r.mustWrite(ino, 5*512, blocks(4, 9))
	before := r.extents(ino)
	if len(before) != 3 {
		t.Fatalf("%d pieces", len(before))
	}
	r.setAway(false, r.ids[1])
	if raised, left := r.raise(); raised != 3 || left != 0 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	r.same(ino, data)
	for _, e := range r.extents(ino) {
		if len(e.Layout.Peers) != 2 || e.Span.First != 0 || e.Span.Extent == before[0].Span.Extent {
			t.Fatalf("%+v", e)
		}
		copied := e.Span.Extent == before[1].Span.Extent // of what was written whole
		if n, _, err := r.stores[1].NoteOf(ctx, e.Span.Extent); err != nil || n.Session != 1 && !copied || n.Off != e.Off {
			t.Fatalf("noted as %+v, %v: a sweep must know whose it is", n, err)
		}
	}
	r.quiet()
	r.exact(ino)
}

// What a truncation inside a block left reads as zeros behind it, also after the piece was rewritten and the file
// has grown again.
func TestATailIsKept(t *testing.T) {
	for _, overwritten := range []bool{false, true} {
		r, ino, data := lonely(t, 8)
		if overwritten {
			copy(data[:512], blocks(1, 5))
			r.mustWrite(ino, 0, blocks(1, 5))
		}
		r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: 5*512 + 77})
		r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: 8 * 512})
		clear(data[5*512+77:])
		r.setAway(false, r.ids[1])
		if _, left := r.raise(); left != 0 || r.below() != 0 {
			t.Fatalf("left %d", left)
		}
		m := r.extents(ino)
		if m[len(m)-1].Tail != 77 {
			t.Fatalf("tail %d", m[len(m)-1].Tail)
		}
		r.same(ino, data)
		r.quiet()
		r.exact(ino)
	}
}

// A write that comes between copying and committing wins; what was copied for nothing is not left behind.
func TestAConflictWhileRaisingLeavesNothingWrong(t *testing.T) {
	for _, pieces := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, ino, data := lonely(t, 8)
			if pieces {
				r.mustWrite(ino, 512, data[512:1024])
			}
			stop := r.run()
			defer stop()
			r.setAway(false, r.ids[1])
			var once sync.Once
			r.before = func(meta.Op) {
				once.Do(func() {
					for i := range 8 {
						r.mustWrite(ino, int64(i)*512, blocks(1, byte(40+i)))
						copy(data[i*512:], blocks(1, byte(40+i)))
					}
				})
			}
			if raised, left := r.raise(); raised != 0 || left == 0 {
				t.Fatalf("raised %d, left %d", raised, left)
			}
			r.same(ino, data)
			r.quiet()
			r.same(ino, data)
			time.Sleep(time.Minute)
			r.sweepAll() // session 1 lives: nothing of it is swept
			r.endSession()
			r.sweepAll()
			r.exact(ino)
		})
	}
}

// A rewrite that finds no further peer leaves nothing at the peer it found.
func TestARewriteThatGainsNothingIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ino, data := lonely(t, 8)
		stop := r.run()
		defer stop()
		copy(data[3*512:], blocks(1, 5))
		r.mustWrite(ino, 3*512, blocks(1, 5))
		if raised, left := r.raise(); raised != 0 || left != 3 {
			t.Fatalf("raised %d, left %d", raised, left)
		}
		time.Sleep(time.Minute)
		r.settle()
		r.settle()
		r.exact(ino)
		r.same(ino, data)
	})
}

// A longer copy from a try that came to nothing does not stand in the way of a shorter one.
func TestMoreOfTheExtentIsThereAlready(t *testing.T) {
	r, ino, data := lonely(t, 8)
	r.setAway(false, r.ids[1])
	e := r.extents(ino)[0]
	if err := r.pool.Copy(ctx, e.Span, blockstore.Note{Ino: uint64(ino)}, e.Layout, r.ids[1]); err != nil {
		t.Fatal(err)
	}
	r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: 3 * 512})
	if raised, left := r.raise(); raised != 1 || left != 0 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	r.same(ino, data[:3*512])
	r.quiet()
	r.sweepAll()
	r.exact(ino)
}
