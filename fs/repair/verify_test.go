package repair_test

import (
	"testing"

	"dfs/blockstore"
	"dfs/cluster/placement"
	"dfs/fs/repair"
)

func (r *rig) verify(i int) (lost, damaged int) {
	r.t.Helper()
	v := repair.Verifier{Self: r.ids[i], View: r.newest, Store: r.stores[i], Propose: r.propose}
	lost, damaged, err := v.Run(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return lost, damaged
}

// A peer whose power was cut before it had synced takes itself out of what it has lost, and repair makes that again.
func TestVerifyOwnsUpToWhatAPowerCutTook(t *testing.T) {
	r := newRig(t, 2)
	synced, lost := r.file("synced", placement.Wish{}), r.file("lost", placement.Wish{})
	first, second := make([]byte, 9*blockstore.Size), make([]byte, 5*blockstore.Size)
	first[0], second[0] = 1, 2
	r.mustWrite(synced, 0, first)
	for _, s := range r.stores {
		if err := s.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.mustWrite(lost, 0, second)
	r.stores[1].Crash()
	if n, damaged := r.verify(1); n != 1 || damaged != 0 {
		t.Fatalf("%d lost, %d damaged", n, damaged)
	}
	if n, damaged := r.verify(0); n != 0 || damaged != 0 {
		t.Fatalf("the peer that kept its power: %d lost, %d damaged", n, damaged)
	}
	if got := r.extents(lost)[0].Layout.Peers; len(got) != 1 || got[0] != r.ids[0] {
		t.Fatalf("the lost file's layout is %v", got)
	}
	if got := r.extents(synced)[0].Layout.Peers; len(got) != 2 {
		t.Fatalf("the synced file's layout is %v", got)
	}
	if raised, left := r.raise(); raised != 1 || left != 0 {
		t.Fatalf("raised %d, left %d", raised, left)
	}
	r.setAway(true, r.ids[0])
	r.same(lost, second)
	r.same(synced, first)
}

// What no peer has kept is said, and stays in the map: a read of it fails, and overwriting heals it.
func TestVerifyTellsOfDamage(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{})
	r.mustWrite(ino, 0, make([]byte, 3*blockstore.Size))
	r.stores[0].Crash()
	if lost, damaged := r.verify(0); lost != 0 || damaged != 1 {
		t.Fatalf("%d lost, %d damaged", lost, damaged)
	}
	r.mustWrite(ino, 0, make([]byte, 3*blockstore.Size))
	r.same(ino, make([]byte, 3*blockstore.Size))
}
