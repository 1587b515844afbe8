package repair_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/faulty"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// full is a store that takes no patch.
type full struct {
	repair.Mended
	mu   sync.Mutex
	kind fault.Kind // Other: it does
}

func (f *full) Mend(ctx context.Context, p blockstore.Patch) error {
	f.mu.Lock()
	kind := f.kind
	f.mu.Unlock()
	if kind != fault.Other {
		return fault.New("mend", kind, "full")
	}
	return f.Mended.Mend(ctx, p)
}

// ward is one peer of a rig with its Healer, and what that told.
type ward struct {
	*repair.Healer
	rig   *rig
	store *full

	mu   sync.Mutex
	told []repair.Finding
	time time.Time
	turn chan chan time.Time // the healer waits
}

func newWard(r *rig, peer int) *ward {
	w := &ward{rig: r, store: &full{Mended: r.stores[peer], kind: fault.Other}, time: time.Unix(1, 0), turn: make(chan chan time.Time)}
	w.Healer = &repair.Healer{
		Self: r.ids[peer], Store: w.store, Propose: r.propose, Read: r.pool.Read,
		Latest: func(context.Context) (*meta.Image, error) { return r.newest() },
		Now:    func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.time },
		After:  func(time.Duration) <-chan time.Time { c := make(chan time.Time, 1); w.turn <- c; return c },
		Told:   func(f repair.Finding) { w.mu.Lock(); defer w.mu.Unlock(); w.told = append(w.told, f) },
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-done:
				return
			case <-w.turn:
			}
		}
	})
	return w
}

// rest returns when the healer has nothing to do at the moment, d later.
func (w *ward) rest(d time.Duration) {
	w.mu.Lock()
	w.time = w.time.Add(d)
	w.mu.Unlock()
	for range 2 { // a turn that it took before the clock was set does not count
		c := <-w.turn
		c <- time.Time{}
	}
	c := <-w.turn
	c <- time.Time{}
}

func (w *ward) states() (all []repair.FindingState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.told {
		all = append(all, f.State)
	}
	return all
}

func (w *ward) want(states ...repair.FindingState) {
	w.rig.t.Helper()
	if got := w.states(); !slices.Equal(got, states) {
		w.rig.t.Fatalf("told %v, want %v", got, states)
	}
}

// good fails unless the peer's store can read all that the maps place there.
func (w *ward) good(ino meta.Ino) {
	w.rig.t.Helper()
	for _, e := range w.rig.extents(ino) {
		if !slices.Contains(e.Layout.Peers, w.Self) {
			continue
		}
		if err := w.store.Get(ctx, e.Span, make([]byte, e.Span.Bytes())); err != nil {
			w.rig.t.Fatalf("%v: %v", e.Span, err)
		}
	}
}

// What rots or gets lost in one store is made whole there from another, told of once, without an op in the log.
func TestRottenAndMissingReplicasAreHealed(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", placement.Wish{Copies: 2, UnitBlocks: 8})
	data := blocks(32, 1)
	r.mustWrite(ino, 0, data)
	r.mustWrite(ino, 3*512, data[3*512:6*512]) // pieces
	w := newWard(r, 0)
	ops := r.proposed()
	m := r.extents(ino)
	for i, e := range m {
		if i%2 == 0 {
			r.stores[0].Rot(e.Span.Extent, e.Span.First)
		} else {
			r.stores[0].Lose(e.Span.Extent) // with its note: a walk finds whose it was
		}
		w.Suspect(e.Span.Extent, 0)
	}
	w.rest(0)
	w.rest(time.Minute)
	r.same(ino, data)
	w.good(ino)
	if h := w.Health(); h.Healed != h.Rotten+h.Missing || h.Healed == 0 || h.Waiting != 0 || h.Damaged != 0 {
		t.Fatalf("%+v", h)
	}
	if w.Pending() != 0 || r.proposed() != ops {
		t.Fatal(w.Pending(), r.proposed()-ops)
	}
	w.Suspect(m[0].Span.Extent, 0) // nothing is wrong with it
	w.rest(0)
	if n := len(w.states()); n != int(2*w.Health().Healed) {
		t.Fatal(w.states())
	}
}

// Two replicas that rotted in different places heal each other, block by block.
func TestReplicasHealEachOther(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", placement.Wish{Copies: 2})
	data := blocks(64, 1)
	r.mustWrite(ino, 0, data)
	id := r.extents(ino)[0].Span.Extent
	for b := range uint32(64) {
		if b%5 == 0 {
			r.stores[b%2].Rot(id, b)
		}
	}
	for peer := range 2 {
		w := newWard(r, peer)
		w.Suspect(id, ino)
		w.rest(0)
		w.want(repair.Rotten, repair.Healed)
		w.good(ino)
	}
	r.same(ino, data)
}

// What no replica has is damaged, and said to be, once; what can be saved of it is. It is looked at again, and is
// forgotten once it was overwritten, or healed once another replica is back.
func TestTheLastGoodCopyIsNeverLost(t *testing.T) {
	r := newRig(t, 3)
	ino := r.file("f", placement.Wish{Copies: 2})
	data := blocks(16, 1)
	r.mustWrite(ino, 0, data)
	r.settle()
	e := r.extents(ino)[0]
	mine, other := slices.Index(r.ids, e.Layout.Peers[0]), slices.Index(r.ids, e.Layout.Peers[1])
	id := e.Span.Extent
	w := newWard(r, mine)
	r.stores[mine].Rot(id, 3)
	r.stores[mine].Rot(id, 9)
	r.stores[other].Rot(id, 9)
	w.Suspect(id, 0)
	w.rest(0)
	w.want(repair.Rotten, repair.Damaged)
	if c, err := r.stores[mine].Examine(ctx, id); err != nil || !slices.Equal(c.Bad, runs.Of(9, 1)) {
		t.Fatalf("%+v, %v", c, err)
	}
	w.rest(time.Hour)
	w.want(repair.Rotten, repair.Damaged)
	if h := w.Health(); h.Damaged != 1 || h.Waiting != 1 || w.Pending() != 0 {
		t.Fatalf("%+v", h)
	}
	r.mustWrite(ino, 9*512, data[9*512:10*512]) // overwriting heals
	w.rest(time.Hour)
	if h := w.Health(); h.Damaged != 0 || h.Waiting != 0 {
		t.Fatalf("%+v", h)
	}
	r.same(ino, data)
}

// A peer that is away is waited for, not despaired of.
func TestHealingWaitsForPeers(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", placement.Wish{Copies: 2})
	r.mustWrite(ino, 0, blocks(4, 1))
	id := r.extents(ino)[0].Span.Extent
	w := newWard(r, 0)
	r.stores[0].Rot(id, 0)
	r.setAway(true, r.ids[1])
	w.Suspect(id, ino)
	w.rest(0)
	w.want(repair.Rotten)
	r.setAway(false, r.ids[1])
	w.rest(time.Hour)
	w.want(repair.Rotten, repair.Healed)
}

// A store that takes no bytes gives its replica up, but only if another was read whole.
func TestAFullStoreRetiresItsReplica(t *testing.T) {
	r := newRig(t, 3)
	ino := r.file("f", placement.Wish{Copies: 2})
	data := blocks(4, 1)
	r.mustWrite(ino, 0, data)
	r.settle()
	e := r.extents(ino)[0]
	mine, other := slices.Index(r.ids, e.Layout.Peers[0]), slices.Index(r.ids, e.Layout.Peers[1])
	w := newWard(r, mine)
	w.store.kind = fault.NoSpace
	r.stores[mine].Rot(e.Span.Extent, 0)
	r.faults[other].Set(faulty.Rule{Method: faulty.Get, From: 2, Err: fault.New("get", fault.Unreachable, "")})
	w.Suspect(e.Span.Extent, ino)
	w.rest(0)
	if !slices.Equal(r.extents(ino)[0].Layout.Peers, e.Layout.Peers) {
		t.Fatal("it was given up on the word of one block")
	}
	r.faults[other].Set()
	w.rest(time.Hour)
	w.want(repair.Rotten, repair.Retired)
	if r.below() != 1 {
		t.Fatal("the leader does not see it")
	}
	r.quiet()
	r.same(ino, data)
	if r.below() != 0 {
		t.Fatal("it was not copied elsewhere")
	}
	r.exact(ino)
}

// Over many histories of writes, deletes and rot the stores hold in the end exactly what the maps say, and the files
// are what they were.
func TestHealingOverManyHistories(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, 3)
		want := map[meta.Ino][]byte{}
		var inos []meta.Ino
		for i := range 4 {
			ino := r.file(string(rune('a'+i)), placement.Wish{Copies: 2, UnitBlocks: 8})
			want[ino], inos = blocks(24, byte(i)), append(inos, ino)
			r.mustWrite(ino, 0, want[ino])
		}
		wards := []*ward{newWard(r, 0), newWard(r, 1), newWard(r, 2)}
		for range 60 {
			ino := inos[rng.IntN(len(inos))]
			m := r.extents(ino)
			e := m[rng.IntN(len(m))]
			peer := slices.Index(r.ids, e.Layout.Peers[rng.IntN(len(e.Layout.Peers))])
			switch rng.IntN(4) {
			case 0:
				first, n := rng.IntN(20), 1+rng.IntN(4)
				b := blocks(n, byte(rng.IntN(256)))
				copy(want[ino][first*512:], b)
				r.mustWrite(ino, int64(first)*512, b)
				r.settle()
			case 1:
				r.stores[peer].Lose(e.Span.Extent)
				wards[peer].Suspect(e.Span.Extent, 0)
			default:
				if c, _ := r.stores[peer].Examine(ctx, e.Span.Extent); len(c.Live) > 0 && len(c.Bad) == 0 {
					r.stores[peer].Rot(e.Span.Extent, e.Span.First+rng.Uint32N(e.Span.Count))
				}
				wards[peer].Suspect(e.Span.Extent, 0)
			}
			wards[peer].rest(time.Minute) // before the other replica has its turn
		}
		for _, ino := range inos {
			r.same(ino, want[ino])
		}
		r.quiet()
		for _, w := range wards {
			w.rest(time.Hour)
			if h := w.Health(); h.Waiting != 0 || h.Damaged != 0 {
				t.Fatalf("seed %d: %+v", seed, h)
			}
		}
		r.exact(inos...)
	}
}
