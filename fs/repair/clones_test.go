package repair_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// Files that share blocks are raised together: the second names the replicas that the first was given, and no byte moves for it.
func TestRaisingSharedExtents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		a, b := r.file("a", placement.Wish{}), r.file("b", placement.Wish{})
		data := blocks(16, 3)
		r.mustWrite(a, 0, data)
		r.do(meta.Clone{Src: a, Dst: b, N: int64(len(data))})
		r.join()
		if raised, left := r.raise(); raised != 2 || left != 0 {
			t.Fatalf("%d raised, %d left", raised, left)
		}
		x, y := r.extents(a), r.extents(b)
		if len(x) != 1 || len(y) != 1 || x[0].Span != y[0].Span || len(x[0].Layout.Peers) != 2 || len(y[0].Layout.Peers) != 2 {
			t.Fatalf("%+v and %+v", x, y)
		}
		r.do(meta.Unlink{Dir: meta.Root, Name: "a"})
		r.do(meta.Reap{Inos: []meta.Ino{a}})
		r.same(b, data)
		r.exact(b)
	})
}

// A part of a shared extent is not what a copy of it would pass for: it is written anew.
func TestRaisingPartOfASharedExtent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		a, b := r.file("a", placement.Wish{}), r.file("b", placement.Wish{})
		data := blocks(16, 3)
		r.mustWrite(a, 0, data)
		r.do(meta.Clone{Src: a, Dst: b, N: 8 * blockstore.Size})
		r.join()
		for r.below() > 0 {
			if raised, _ := r.raise(); raised == 0 {
				t.Fatal("nothing was raised")
			}
		}
		r.same(a, data)
		r.same(b, data[:8*blockstore.Size])
		stop := r.run()
		r.settle()
		time.Sleep(time.Minute)
		stop()
		r.exact(a, b)
	})
}

// Who looks for orphans finds that another file has what was written for one that is gone.
func TestSharedExtentsAreNoOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		a, b := r.file("a", placement.Wish{}), r.file("b", placement.Wish{})
		data := blocks(16, 5)
		r.mustWrite(a, 0, data)
		r.settle()
		r.do(meta.Clone{Src: a, Dst: b, SrcOff: 4 * blockstore.Size, N: 4 * blockstore.Size})
		r.do(meta.Unlink{Dir: meta.Root, Name: "a"})
		r.do(meta.Reap{Inos: []meta.Ino{a}})
		r.settle()
		r.endSession()
		r.sweepAll()
		r.same(b, data[4*blockstore.Size:8*blockstore.Size])
		v := r.image()
		defer v.Close()
		id := r.extents(b)[0].Span.Extent
		if list, err := v.Shared(id); err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(h meta.Holding) bool { return h.Blocks.Len() == 4 }) {
			t.Fatal(list, err)
		}
	})
}

// What another file has of an extent is healed, though the file that it was written for is gone, and only on the peers that are to have it;
// a store that takes no bytes is taken out of the layouts of all files.
func TestSharedReplicasAreHealed(t *testing.T) {
	r := newRig(t, 2)
	a, b, c := r.file("a", placement.Wish{Copies: 2}), r.file("b", placement.Wish{Copies: 2}), r.file("c", placement.Wish{Copies: 2})
	data := blocks(32, 1)
	r.mustWrite(a, 0, data)
	id := r.extents(a)[0].Span.Extent
	r.do(meta.Clone{Src: a, Dst: b, SrcOff: 8 * blockstore.Size, N: 16 * blockstore.Size})
	r.do(meta.Clone{Src: b, Dst: c, N: 4 * blockstore.Size})
	r.do(meta.Unlink{Dir: meta.Root, Name: "a"})
	r.do(meta.Reap{Inos: []meta.Ino{a}})
	r.stores[0].Rot(id, 9)
	r.stores[0].Rot(id, 20)
	w := newWard(r, 0)
	w.Suspect(id, 0)
	w.rest(0)
	w.want(repair.Rotten, repair.Healed)
	w.good(b)
	w.good(c)

	r.stores[0].Rot(id, 10)
	w.store.kind = fault.NoSpace
	w.Suspect(id, 0)
	w.rest(0)
	w.want(repair.Rotten, repair.Healed, repair.Rotten, repair.Retired)
	for _, ino := range []meta.Ino{b, c} {
		if at := r.extents(ino)[0].Layout.Peers; !slices.Equal(at, r.ids[1:]) {
			t.Fatalf("inode %d is at %v", ino, at)
		}
	}
	r.same(b, data[8*blockstore.Size:24*blockstore.Size])
}
