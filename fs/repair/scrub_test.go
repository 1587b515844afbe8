package repair_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// scrubbed is a rig's first peer with a Scrubber.
type scrubbed struct {
	*repair.Scrubber
	mu    sync.Mutex
	found []blockstore.ID
	kept  repair.ScrubState
	index error
}

func newScrubbed(r *rig, kept repair.ScrubState) *scrubbed {
	x := &scrubbed{kept: kept}
	x.Scrubber = &repair.Scrubber{
		Self: r.ids[0], Store: r.stores[0], Stored: func() int64 { return r.stores[0].Usage().Live },
		Latest:  func(context.Context) (*meta.Image, error) { return r.newest() },
		Suspect: func(id blockstore.ID, _ meta.Ino) { x.mu.Lock(); defer x.mu.Unlock(); x.found = append(x.found, id) },
		Index:   func(context.Context) error { return x.index },
		Load:    func() (repair.ScrubState, error) { return x.kept, nil },
		Save:    func(s repair.ScrubState) error { x.mu.Lock(); defer x.mu.Unlock(); x.kept = s; return nil },
	}
	return x
}

func (x *scrubbed) saved() repair.ScrubState { x.mu.Lock(); defer x.mu.Unlock(); return x.kept }

func (x *scrubbed) list() []blockstore.ID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.found)
}

// run runs fn beside the scrubber.
func (x *scrubbed) run(fn func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { x.Run(ctx) })
	fn()
	cancel()
	wg.Wait()
}

// A pass that was asked for finds every replica that is rotten or gone, and nothing else.
func TestScrubFindsAllThatIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		ino := r.file("f", placement.Wish{Copies: 2, UnitBlocks: 4})
		r.mustWrite(ino, 0, blocks(400, 1))
		other := r.file("g", placement.Wish{Copies: 1})
		r.mustWrite(other, 0, blocks(16, 2))
		var want []blockstore.ID
		for i, e := range r.extents(ino) {
			switch {
			case i%7 == 0:
				r.stores[0].Rot(e.Span.Extent, e.Span.First+uint32(i)%4)
				want = append(want, e.Span.Extent)
			case i%7 == 3:
				r.stores[0].Lose(e.Span.Extent)
				want = append(want, e.Span.Extent)
			case i%7 == 5:
				r.stores[1].Rot(e.Span.Extent, e.Span.First) // not ours
			}
		}
		x := newScrubbed(r, repair.ScrubState{Began: time.Now()})
		x.run(func() {
			time.Sleep(time.Hour)
			if st := x.State(); st.Running || st.Passes != 0 {
				t.Errorf("it is not time yet: %+v", st)
			}
			x.Start()
			time.Sleep(time.Minute)
		})
		got := x.list()
		slices.SortFunc(got, func(a, b blockstore.ID) int { return slices.Compare(a[:], b[:]) })
		slices.SortFunc(want, func(a, b blockstore.ID) int { return slices.Compare(a[:], b[:]) })
		if !slices.Equal(got, want) {
			t.Fatalf("found %d, want %d", len(got), len(want))
		}
		if st := x.saved(); st.Passes != 1 || st.Found != uint64(len(want)) || st.Looked < 400*512 || st.Running || st.Ended.IsZero() {
			t.Fatalf("%+v", st)
		}
	})
}

// By itself a pass begins every two weeks and takes as long as 1 MiB a second does; it can be paused, and goes on after
// a restart where it was.
func TestScrubByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		ino := r.file("f", placement.Wish{Copies: 1, UnitBlocks: 64})
		const blocksInAll = 20 << 11 // 20 MiB
		r.mustWrite(ino, 0, blocks(blocksInAll, 1))
		x := newScrubbed(r, repair.ScrubState{})
		var half repair.ScrubState
		x.run(func() {
			time.Sleep(10 * time.Second)
			half = x.State()
			x.Pause()
			time.Sleep(time.Hour)
			if st := x.State(); st.Looked > half.Looked+64*512 || !st.Paused || !st.Running {
				t.Errorf("paused: %+v", st)
			}
		})
		if half.Looked < 8<<20 || half.Looked > 12<<20 {
			t.Errorf("%d bytes in 10 s", half.Looked)
		}
		x = newScrubbed(r, x.saved())
		x.run(func() {
			time.Sleep(time.Hour)
			if st := x.State(); !st.Paused || st.Passes != 0 {
				t.Errorf("paused over a restart: %+v", st)
			}
			x.Start()
			time.Sleep(time.Minute)
			if st := x.State(); st.Passes != 1 || st.Looked != blocksInAll*512 {
				t.Errorf("it goes on: %+v", st)
			}
			time.Sleep(15 * 24 * time.Hour)
			if st := x.State(); st.Passes != 2 {
				t.Errorf("two weeks later: %+v", st)
			}
		})
	})
}

// A pass that finds the peer's own maps rotten does not believe them.
func TestScrubStopsAtRottenMaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.mustWrite(r.file("f", placement.Wish{Copies: 1}), 0, blocks(4, 1))
		x := newScrubbed(r, repair.ScrubState{})
		x.index = fault.New("verify", fault.Corrupt, "")
		x.run(func() { time.Sleep(time.Hour) })
		if st := x.saved(); st.Extents != 0 || st.Passes != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

// counted counts the looks at extents.
type counted struct {
	blockstore.Mender
	looks map[blockstore.ID]int
}

func (c counted) Examine(ctx context.Context, id blockstore.ID) (blockstore.Condition, error) {
	c.looks[id]++
	return c.Mender.Examine(ctx, id)
}

// A map in pieces, which comes back to an extent again and again, has each extent read once.
func TestScrubReadsAFragmentedExtentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		ino := r.file("f", placement.Wish{Copies: 1})
		r.mustWrite(ino, 0, blocks(128, 1))
		for i := range 20 {
			r.mustWrite(ino, int64(6*i+1)*blockstore.Size, blocks(1, 2))
		}
		x := newScrubbed(r, repair.ScrubState{})
		c := counted{r.stores[0], map[blockstore.ID]int{}}
		x.Store = c
		x.run(func() {
			x.Start()
			synctest.Wait()
			time.Sleep(time.Minute)
		})
		if st := x.State(); st.Passes != 1 || st.Extents != 41 {
			t.Fatalf("%+v", st)
		}
		for id, n := range c.looks {
			if n != 1 {
				t.Errorf("extent %v was read %d times", id, n)
			}
		}
		if len(c.looks) != 21 {
			t.Errorf("%d extents were read", len(c.looks))
		}
	})
}
