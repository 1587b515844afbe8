package repair_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"dfs/blockstore/faulty"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

func (r *rig) volatile() bool {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	_, any, err := v.VolatileCommits()
	if err != nil {
		r.t.Fatal(err)
	}
	return any
}

// freed returns how many spans a peer has yet to drop.
func (r *rig) freed(id cluster.PeerID) (n int) {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	list, err := v.FreedFor(id, 0, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range list {
		n += len(f.Spans)
	}
	return n
}

func TestOnlyWhatEveryPeerHasSyncedIsSettled(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	r.mustWrite(ino, 0, blocks(1, 1))
	r.settle()
	r.mustWrite(ino, 0, blocks(1, 2))
	at := r.now()
	word := func(i int, synced uint64) repair.Word { return repair.Word{Peer: r.ids[i], Synced: synced} }
	for _, c := range []struct {
		name    string
		words   []repair.Word
		absent  []cluster.PeerID
		settled bool
	}{
		{"nobody spoke", nil, nil, false},
		{"nobody synced", []repair.Word{word(0, at-1), word(1, at-1)}, nil, false},
		{"one synced, the other lags", []repair.Word{word(0, at), word(1, at-1)}, nil, false},
		{"one synced, the other is silent", []repair.Word{word(0, at)}, nil, false},
		{"all are absent", nil, r.ids, false},
		{"one synced, the other is absent", []repair.Word{word(0, at)}, r.ids[1:], true},
	} {
		before := r.now()
		if err := r.Settle(ctx, c.words, c.absent); err != nil {
			t.Fatal(err)
		}
		if r.volatile() == c.settled {
			t.Errorf("%s: volatile is %v", c.name, r.volatile())
		}
		if !c.settled && r.now() != before {
			t.Errorf("%s: an op that settles nothing was proposed", c.name)
		}
		if !c.settled && r.freed(r.ids[0]) != 0 {
			t.Errorf("%s: what was replaced is freed", c.name)
		}
	}
	if r.freed(r.ids[0]) != 1 || r.freed(r.ids[1]) != 1 {
		t.Error("what was replaced is not freed on both, the absent one included")
	}
}

// Both versions of a file lie in the stores until the new one is stable.
func TestTheOldVersionIsKeptUntilTheNewOneIsStable(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	r.mustWrite(ino, 0, blocks(2, 1))
	r.settle()
	old := r.extents(ino)[0]
	r.mustWrite(ino, 0, blocks(2, 2))
	for i := range r.drops {
		if _, err := r.drops[i].Pass(ctx, r.now()); err != nil {
			t.Fatal(err)
		}
		if err := r.stores[i].Get(ctx, old.Span, make([]byte, old.Span.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
	r.quiet()
	r.exact(ino)
}

func TestWhatIsDroppedIsConfirmedAndForgotten(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	for i := range 5 {
		r.mustWrite(ino, 0, blocks(3, byte(i)))
		r.settle()
	}
	r.quiet()
	if r.freed(r.ids[0])+r.freed(r.ids[1]) != 0 {
		t.Fatal("freed spans are still recorded")
	}
	r.exact(ino)
}

// A peer that was away drops what was freed meanwhile when it is back.
func TestAPeerThatWasAwayDropsWhenItIsBack(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	r.mustWrite(ino, 0, blocks(3, 1))
	r.settle()
	r.setAway(true, r.ids[1])
	r.mustWrite(ino, 0, blocks(3, 2))
	r.quiet()
	if r.freed(r.ids[1]) != 1 || r.freed(r.ids[0]) != 0 {
		t.Fatalf("%d, %d", r.freed(r.ids[0]), r.freed(r.ids[1]))
	}
	r.setAway(false, r.ids[1])
	r.quiet()
	r.exact(ino)
	r.same(ino, blocks(3, 2))
}

func TestNothingIsDroppedBeforeItIsReleased(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{Copies: 1})
	var frees []uint64
	for i := range 4 {
		r.mustWrite(ino, 0, blocks(1, byte(i)))
		if err := r.Settle(ctx, []repair.Word{{Peer: r.ids[0], Synced: r.now()}}, nil); err != nil {
			t.Fatal(err)
		}
		frees = append(frees, r.now())
	}
	d := r.fresh(0)
	for k := 1; k < len(frees); k++ { // the first write replaced nothing
		before := len(r.held(0))
		if done, err := d.Pass(ctx, frees[k]-1); err != nil || done != frees[k]-1 || len(r.held(0)) != before {
			t.Fatalf("done %d, %d extents, %v", done, len(r.held(0)), err)
		}
		if done, err := d.Pass(ctx, frees[k]); err != nil || done != frees[k] || len(r.held(0)) != before-1 {
			t.Fatalf("done %d, %d extents of %d, %v", done, len(r.held(0)), before, err)
		}
	}
}

// fresh returns the Dropper of a peer that has restarted.
func (r *rig) fresh(i int) *repair.Dropper {
	return &repair.Dropper{Self: r.ids[i], View: r.newest, Store: r.faults[i]}
}

// What could not be deleted, or is not known to survive a power cut, is not said to be dropped; a restarted peer
// begins again.
func TestADropThatFailsIsRepeated(t *testing.T) {
	for _, m := range []faulty.Method{faulty.Delete, faulty.Sync} {
		r := newRig(t, 1)
		ino := r.file("f", placement.Wish{Copies: 1})
		r.mustWrite(ino, 0, blocks(2, 1))
		if err := r.stores[0].Sync(ctx); err != nil {
			t.Fatal(err)
		}
		r.do(meta.Unlink{Dir: meta.Root, Name: "f"})
		r.do(meta.Reap{Inos: []meta.Ino{ino}})
		at := r.now()
		d := r.fresh(0)
		r.faults[0].Set(faulty.Rule{Method: m, Count: 1, Err: fault.New("no", fault.Other, "no")})
		if done, err := d.Pass(ctx, at); !errors.Is(err, fault.Other) || done >= at {
			t.Fatalf("%v failed, done %d: %v", m, done, err)
		}
		if m == faulty.Sync {
			r.stores[0].Crash()
			if len(r.held(0)) != 1 {
				t.Fatal("the crash brought nothing back")
			}
			d = r.fresh(0)
		}
		if done, err := d.Pass(ctx, at); err != nil || done != at || len(r.held(0)) != 0 {
			t.Fatalf("%v: done %d: %v", m, done, err)
		}
		r.stores[0].Crash()
		if len(r.held(0)) != 0 {
			t.Fatal("what was said to be dropped came back")
		}
	}
}

func TestAnOrphanIsReapedOnceNobodyHoldsIt(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	r.mustWrite(ino, 0, blocks(2, 1))
	r.settle()
	r.do(meta.Unlink{Dir: meta.Root, Name: "f"})
	there := func() bool {
		v := r.image()
		defer v.Close()
		_, err := v.Stat(ino)
		return err == nil
	}
	sessions := []uint64{1, 2}
	bury := func(words ...repair.Word) {
		t.Helper()
		if err := r.Bury(ctx, words, sessions); err != nil {
			t.Fatal(err)
		}
	}
	seen := r.now()
	bury() // sees it
	one := repair.Word{Session: 1, Taken: seen + 9}
	for _, c := range []struct {
		name string
		two  []repair.Word
	}{
		{"a session is silent", nil},
		{"a session's word is from before", []repair.Word{{Session: 2, Taken: seen - 1}}},
	} {
		bury(append(c.two, one)...)
		if !there() {
			t.Fatal("reaped although " + c.name)
		}
	}
	bury(one, repair.Word{Session: 2, Taken: seen, Held: []meta.Ino{ino}})
	if !there() {
		t.Fatal("reaped although it is held open")
	}
	for range 2 { // seen anew, then reaped
		bury(one, repair.Word{Session: 2, Taken: r.now()})
	}
	if there() {
		t.Fatal("not reaped")
	}
	r.quiet()
	r.exact()
}

// Orphans that are held open for ever do not stand in front of those that are not.
func TestHeldOrphansDoNotStarveOthers(t *testing.T) {
	const n = 1200
	r := newRig(t, 1)
	var held []meta.Ino
	for i := range n {
		name := fmt.Sprint(i)
		ino := r.file(name, two)
		r.do(meta.Unlink{Dir: meta.Root, Name: name})
		if i < n-10 {
			held = append(held, ino)
		}
	}
	for range 10 {
		if err := r.Bury(ctx, []repair.Word{{Session: 1, Taken: r.now(), Held: held}}, []uint64{1}); err != nil {
			t.Fatal(err)
		}
	}
	v := r.image()
	defer v.Close()
	list, err := v.Orphans(0, n+1)
	if err != nil || len(list) != len(held) {
		t.Fatalf("%d orphans, %d are held, %v", len(list), len(held), err)
	}
}

func TestTruncationsAreTrimmed(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{Copies: 1, UnitBlocks: 1})
	for i := range 3 {
		r.mustWrite(ino, int64(i)*1000*512, blocks(1000, byte(i)))
	}
	r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: 700})
	r.quiet()
	if n := r.stat(ino); n.Blocks != 2 {
		t.Fatalf("%d blocks are held", n.Blocks)
	}
	r.same(ino, blocks(2, 0)[:700])
	r.exact(ino)
}

func TestGrantsOfLostMountsEnd(t *testing.T) {
	r := newRig(t, 1)
	for i := range 3 {
		r.do(meta.Create{Dir: meta.Root, Name: fmt.Sprint(i), Type: meta.File, Grant: true})
	}
	if list, err := r.image().Grantees(); err != nil || !slices.Equal(list, []uint64{1}) {
		t.Fatalf("sessions with grants: %v, %v", list, err)
	}
	if err := r.EndGrants(ctx, []uint64{7}); err != nil || r.proposed() != 0 {
		t.Fatalf("%d ops for a session without grants, %v", r.proposed(), err)
	}
	if err := r.EndGrants(ctx, []uint64{7, 1}); err != nil {
		t.Fatal(err)
	}
	v := r.image()
	defer v.Close()
	if list, err := v.GrantsOf(1, 0, 9); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
}
