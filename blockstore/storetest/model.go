package storetest

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

var seedFlag = flag.Uint64("store.seed", 0, "seed of the random histories in storetest; 0 takes the clock's")

// Rand returns the random numbers of this run and logs their seed, which -store.seed repeats.
func Rand(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("store.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// Model is the slow, obvious store: which blocks of which extents are there.
type Model struct {
	Extents map[blockstore.ID]blockstore.Batch
	Live    map[blockstore.ID][]bool
	ids     []blockstore.ID // of Extents, in the order they came
}

// NewModel returns an empty one.
func NewModel() *Model {
	return &Model{Extents: map[blockstore.ID]blockstore.Batch{}, Live: map[blockstore.ID][]bool{}}
}

// Put adds an extent; one that is there is left alone.
func (m *Model) Put(b blockstore.Batch) {
	if _, met := m.Extents[b.ID]; !met {
		m.ids = append(m.ids, b.ID)
	}
	if m.Live[b.ID] == nil {
		m.Extents[b.ID] = b
		m.Live[b.ID] = bytesToBools(len(b.Sums))
	}
}

func bytesToBools(n int) []bool {
	live := make([]bool, n)
	for i := range live {
		live[i] = true
	}
	return live
}

// Delete takes blocks out.
func (m *Model) Delete(s blockstore.Span) {
	live, any := m.Live[s.Extent], false
	for i := range live {
		if uint32(i) >= s.First && uint64(i) < uint64(s.First)+uint64(s.Count) {
			live[i] = false
		}
		any = any || live[i]
	}
	if !any {
		delete(m.Live, s.Extent)
	}
}

// Check reads every block of every extent the model ever knew and compares.
func (m *Model) Check(t testing.TB, s blockstore.Store) {
	t.Helper()
	p := make([]byte, blockstore.Size)
	for id, b := range m.Extents {
		live := m.Live[id]
		for i := range b.Sums {
			err := s.Get(ctx, span(b, i, 1), p)
			switch there := i < len(live) && live[i]; {
			case there && err != nil:
				t.Fatalf("block %d of %v: %v", i, id, err)
			case there && !bytes.Equal(p, b.Data[i*blockstore.Size:(i+1)*blockstore.Size]):
				t.Fatalf("block %d of %v has other bytes", i, id)
			case !there && fault.KindOf(err) != fault.NotExist:
				t.Fatalf("block %d of %v: %v, want not exist", i, id, err)
			}
		}
	}
}

// Step does one random thing to the store and the model: a put of a few extents, a delete of a few spans, or a sync.
func (m *Model) Step(t testing.TB, rng *rand.Rand, s blockstore.Store, maxBlocks int) {
	t.Helper()
	pick := func() (blockstore.Batch, bool) {
		if len(m.ids) == 0 {
			return blockstore.Batch{}, false
		}
		return m.Extents[m.ids[rng.IntN(len(m.ids))]], true
	}
	switch d := rng.IntN(10); {
	case d < 5:
		var all []blockstore.Batch
		for range 1 + rng.IntN(4) {
			all = append(all, Extent(rng.Uint64(), 1+rng.IntN(maxBlocks)))
		}
		if b, some := pick(); some && rng.IntN(4) == 0 {
			all = append(all, b)
		}
		if err := s.Put(ctx, all...); err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			m.Put(b)
		}
	case d < 9:
		var spans []blockstore.Span
		for range 1 + rng.IntN(4) {
			if b, some := pick(); some {
				first := rng.IntN(len(b.Sums))
				spans = append(spans, span(b, first, 1+rng.IntN(len(b.Sums))))
			}
		}
		if err := s.Delete(ctx, spans...); err != nil {
			t.Fatal(err)
		}
		for _, x := range spans {
			m.Delete(x)
		}
	default:
		if err := s.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func testModel(t *testing.T, s blockstore.Store) {
	rng := Rand(t)
	m := NewModel()
	for range 150 {
		m.Step(t, rng, s, 30)
	}
	m.Check(t, s)
}
