package segment

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

var rounds = flag.Int("segment.rounds", 60, "random histories in TestPowerCut")

// allVersions is an index whose old versions can all be gone back to, as a power cut might.
type allVersions struct{ *mem.Store }

func (allVersions) SetFloor(uint64) {}

// block is what may be true of one block of an extent.
type block struct{ present, absent bool }

// oracle knows what must, may and must not be found after a crash.
type oracle struct {
	extents map[blockstore.ID]blockstore.Batch
	ids     []blockstore.ID
	now     map[blockstore.ID][]bool  // as of the calls so far
	may     map[blockstore.ID][]block // any state since the last sync
}

func newOracle() *oracle {
	return &oracle{extents: map[blockstore.ID]blockstore.Batch{}, now: map[blockstore.ID][]bool{}, may: map[blockstore.ID][]block{}}
}

// put and delete are called before the store is: what fails may have happened.
func (o *oracle) put(b blockstore.Batch, done bool) {
	if o.extents[b.ID].Data == nil {
		o.extents[b.ID] = b
		o.ids = append(o.ids, b.ID)
		o.now[b.ID] = make([]bool, len(b.Sums))
		o.may[b.ID] = make([]block, len(b.Sums))
		for i := range b.Sums {
			o.may[b.ID][i].absent = true
		}
	}
	for _, live := range o.now[b.ID] {
		if live {
			return // known: nothing happens
		}
	}
	for i := range b.Sums {
		o.may[b.ID][i].present = true
		o.now[b.ID][i] = done
	}
}

func (o *oracle) delete(s blockstore.Span, done bool) {
	for i := range o.now[s.Extent] {
		if uint32(i) >= s.First && uint32(i) < s.First+s.Count {
			o.may[s.Extent][i].absent = true
			if done {
				o.now[s.Extent][i] = false
			}
		}
	}
}

// synced: what is now is certain.
func (o *oracle) synced() {
	for id, live := range o.now {
		for i := range live {
			o.may[id][i] = block{live[i], !live[i]}
		}
	}
}

// inspect reads everything from a store opened after a crash, fails what must not be, and takes what is for certain.
func (o *oracle) inspect(t *testing.T, s *Store, what string) {
	t.Helper()
	p := make([]byte, blockstore.Size)
	for _, id := range o.ids {
		b := o.extents[id]
		for i, may := range o.may[id] {
			err := s.Get(ctx, blockstore.Span{Extent: id, First: uint32(i), Count: 1}, p)
			switch {
			case err == nil && !bytes.Equal(p, b.Data[i*512:(i+1)*512]):
				t.Fatalf("%s: block %d of %v has other bytes", what, i, id)
			case err == nil && !may.present:
				t.Fatalf("%s: block %d of %v is back from the dead", what, i, id)
			case err != nil && fault.KindOf(err) != fault.NotExist:
				t.Fatalf("%s: block %d of %v: %v", what, i, id, err)
			case err != nil && !may.absent:
				t.Fatalf("%s: block %d of %v is lost: %v", what, i, id, err)
			}
			o.now[id][i] = err == nil
		}
	}
	o.synced()
}

// step does one random thing and returns the store's error.
func (o *oracle) step(rng *rand.Rand, s *Store, n int) error {
	any := func() blockstore.Batch { return o.extents[o.ids[rng.IntN(len(o.ids))]] }
	switch d := rng.IntN(20); {
	case d < 9 || len(o.ids) == 0:
		var all []blockstore.Batch
		for range 1 + rng.IntN(3) {
			all = append(all, storetest.Extent(uint64(n)<<32+rng.Uint64N(1<<30), 1+rng.IntN(12)))
		}
		if len(o.ids) > 0 && rng.IntN(3) == 0 {
			all = append(all, any())
		}
		for _, b := range all {
			o.put(b, false)
		}
		put, hard := s.Put, rng.IntN(3) == 0
		if hard {
			put = s.PutHard
		}
		err := put(ctx, all...)
		if err == nil {
			for _, b := range all {
				o.put(b, true)
			}
			if hard {
				o.synced()
			}
		}
		return err
	case d < 16:
		var spans []blockstore.Span
		for range 1 + rng.IntN(4) {
			b := any()
			first := 0
			if rng.IntN(2) == 0 {
				first = rng.IntN(len(b.Sums))
			}
			spans = append(spans, blockstore.Span{Extent: b.ID, First: uint32(first), Count: uint32(1 + rng.IntN(len(b.Sums)))})
		}
		for _, x := range spans {
			o.delete(x, false)
		}
		err := s.Delete(ctx, spans...)
		if err == nil {
			for _, x := range spans {
				o.delete(x, true)
			}
		}
		return err
	case d < 18:
		sync := s.Sync
		if rng.IntN(2) == 0 {
			sync = s.checkpoint
		}
		err := sync(ctx)
		if err == nil {
			o.synced()
		}
		return err
	default:
		_, err := s.Compact(ctx)
		return err
	}
}

// TestPowerCut cuts the power between any two disk calls of random histories, several times in each, with the index
// back at any version it ever had. What was synced is there, what was deleted and synced is not, everything else is
// there as it was or absent.
func TestPowerCut(t *testing.T) {
	rng := storetest.Rand(t)
	for round := range *rounds {
		d := newFaults(rng.Uint64())
		index := mem.New()
		o := newOracle()
		options := func() Options {
			return Options{Disk: d, KV: allVersions{index}, SegmentBytes: 24 << 10}
		}
		s, err := Open("", options())
		ok(t, err)
		for cut := range 4 {
			d.offAt = d.calls + 1 + rng.IntN(250)
			for n := 0; ; n++ {
				if err := o.step(rng, s, round*1000+cut*100+n); err != nil {
					break
				}
			}
			for attempt := 0; ; attempt++ { // the power may fail during an opening, too
				if rng.IntN(4) == 0 {
					d.kill()
				} else {
					d.cut()
					index = index.CloneAt(rng.Uint64N(index.Newest() + 1))
				}
				if attempt < 3 && rng.IntN(2) == 0 {
					d.offAt = 1 + rng.IntN(40)
				}
				s, err = Open("", options())
				if err == nil {
					break
				}
				if !d.off {
					t.Fatalf("round %d: open: %v", round, err)
				}
			}
			d.offAt = 0
			if d.off {
				t.Fatal("an opening without power")
			}
			o.inspect(t, s, fmt.Sprintf("round %d, cut %d", round, cut))
			counted := s.Usage().Live
			var listed int64
			ok(t, s.List(ctx, blockstore.ID{}, func(_ blockstore.ID, n uint32) bool {
				listed += int64(n) * blockstore.Size
				return true
			}))
			if counted != listed {
				t.Fatalf("round %d: %d bytes counted, %d listed", round, counted, listed)
			}
		}
	}
}

// TestFaults fails each disk call of a history in turn, with an I/O error and with a full disk. What the store said is
// done is there, now and after a reopening; after a failed sync it takes nothing more.
func TestFaults(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
		for failAt := 1; failAt < 300; failAt++ {
			rng := rand.New(rand.NewPCG(11, 12))
			d := newFaults(uint64(failAt))
			index := mem.New()
			d.failAt, d.fail = failAt, errno
			what := fmt.Sprintf("%v at call %d", errno, failAt)
			s, err := Open("", Options{Disk: d, KV: allVersions{index}, SegmentBytes: 24 << 10})
			if err != nil {
				if s, err = Open("", Options{Disk: d, KV: allVersions{index}, SegmentBytes: 24 << 10}); err != nil {
					t.Fatalf("%s: second open: %v", what, err)
				}
			}
			o := newOracle()
			for n := range 70 {
				err := o.step(rng, s, n)
				if err == nil {
					continue
				}
				switch k := fault.KindOf(err); {
				case k == fault.ReadOnly:
					if err := s.Put(ctx, storetest.Extent(9, 1)); !errors.Is(err, fault.ReadOnly) {
						t.Fatalf("%s: after a failed sync a put: %v", what, err)
					}
				case errno == syscall.ENOSPC && k != fault.NoSpace && k != fault.Corrupt:
					t.Fatalf("%s: %v", what, err)
				}
			}
			d.failAt = 0
			o.inspectNow(t, s, what)
			for n, end := range []func(){d.kill, d.cut} { // what is there after a restart is safe
				end()
				again, err := Open("", Options{Disk: d, KV: index, SegmentBytes: 24 << 10})
				if err != nil {
					t.Fatalf("%s: reopen: %v", what, err)
				}
				o.inspect(t, again, fmt.Sprintf("%s, opened again %d", what, n+1))
			}
		}
	}
}

// inspectNow checks a store that has not crashed: what it said is done is done, what failed may be.
func (o *oracle) inspectNow(t *testing.T, s *Store, what string) {
	t.Helper()
	p := make([]byte, blockstore.Size)
	for _, id := range o.ids {
		for i, live := range o.now[id] {
			err := s.Get(ctx, blockstore.Span{Extent: id, First: uint32(i), Count: 1}, p)
			if live && err != nil && !o.may[id][i].absent {
				t.Fatalf("%s: block %d of %v: %v", what, i, id, err)
			}
			if err == nil && (!bytes.Equal(p, o.extents[id].Data[i*512:(i+1)*512]) || !o.may[id][i].present) {
				t.Fatalf("%s: block %d of %v should not be there", what, i, id)
			}
		}
	}
}
