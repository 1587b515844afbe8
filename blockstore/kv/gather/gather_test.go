package gather

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/kvtest"
	"dfs/blockstore/kv/mem"
)

// reopening gives kvtest a store that can be closed and opened.
type reopening struct {
	*Store
	dir string
	o   Options
}

func (r reopening) Reopen(t *testing.T) kv.Store {
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, r.dir, r.o)
}

func open(t *testing.T, dir string, o Options) reopening {
	t.Helper()
	below, err := badger.Open(dir, badger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(below, o)
	t.Cleanup(func() { s.Close() })
	return reopening{s, dir, o}
}

func TestContract(t *testing.T) {
	for _, o := range []Options{{}, {FlushVersions: 2, FlushBytes: 200, HeldVersions: 5, HeldBytes: 1000, LargeBytes: 300}} {
		t.Run(fmt.Sprint("badger, ", o.FlushVersions), func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) kv.Store { return open(t, t.TempDir(), o) })
		})
		t.Run(fmt.Sprint("mem, ", o.FlushVersions), func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) kv.Store { return New(mem.New(), o) })
		})
	}
}

// model is every version's content.
type model map[uint64]map[string]string

func contents(t *testing.T, r kv.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := r.Scan(nil, nil, func(k, v []byte) bool {
		out[string(k)] = string(v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is below at any moment, as a crash would leave it, is one of the versions, whole; readers see what they should
// however the floor moves.
func TestACrashLeavesOneOfTheVersions(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		below := mem.New()
		s := New(below, Options{FlushVersions: 1 + rng.IntN(9), FlushBytes: 1 + rng.IntN(2000), HeldVersions: 10 + rng.IntN(20), HeldBytes: 4000, LargeBytes: 500})
		states := model{0: {}}
		now := map[string]string{}
		type look struct {
			r       kv.Reader
			version uint64
		}
		var looks []look
		floor := uint64(0)
		for v := uint64(1); v < 200; v++ {
			x := s.Begin(v)
			next := map[string]string{}
			for k, val := range now {
				next[k] = val
			}
			for range rng.IntN(6) {
				key := fmt.Sprint(rng.IntN(12))
				if rng.IntN(3) == 0 {
					x.Delete([]byte(key))
					delete(next, key)
					continue
				}
				value := fmt.Sprint(v, string(make([]byte, rng.IntN(150))))
				x.Set([]byte(key), []byte(value))
				next[key] = value
			}
			if got := contents(t, x); fmt.Sprint(got) != fmt.Sprint(next) {
				t.Fatalf("seed %d: the transaction of %d reads %q, want %q", seed, v, got, next)
			}
			if rng.IntN(8) == 0 {
				x.Close()
				states[v] = now
				continue // an entry that changed nothing
			}
			if err := x.Commit(); err != nil {
				t.Fatal(err)
			}
			now = next
			states[v] = now
			at := below.Newest()
			r := below.At(at)
			if got := contents(t, r); fmt.Sprint(got) != fmt.Sprint(states[at]) {
				t.Fatalf("seed %d: a crash at %d leaves %q as %d, want %q", seed, v, got, at, states[at])
			}
			r.Close()
			if rng.IntN(3) == 0 {
				at := floor + uint64(rng.IntN(int(v-floor)+1))
				looks = append(looks, look{s.At(at), at})
			}
			if rng.IntN(4) == 0 {
				floor += uint64(rng.IntN(int(v-floor) + 1))
				s.SetFloor(floor)
			}
			if len(looks) > 3 || rng.IntN(9) == 0 {
				for _, l := range looks {
					if got := contents(t, l.r); fmt.Sprint(got) != fmt.Sprint(states[l.version]) {
						t.Fatalf("seed %d: version %d reads %q at %d, want %q", seed, l.version, got, v, states[l.version])
					}
					l.r.Close()
				}
				looks = nil
			}
		}
	}
}

// Ops that write the same keys become few transactions below once the floor has passed them.
func TestTransactionsAreGathered(t *testing.T) {
	s := New(mem.New(), Options{})
	for v := uint64(1); v <= 1000; v++ {
		x := s.Begin(v)
		x.Set([]byte("applied"), fmt.Append(nil, v))
		x.Set(fmt.Append(nil, "name ", v), make([]byte, 50))
		if err := x.Commit(); err != nil {
			t.Fatal(err)
		}
		if v%100 == 0 {
			s.SetFloor(v)
		}
	}
	if s.flushed > 10 {
		t.Errorf("%d transactions below for 1000 here", s.flushed)
	}
	if err := s.Close(); err != nil || s.below.Newest() != 1000 {
		t.Fatal(err, s.below.Newest())
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, gathered := range []bool{false, true} {
		b.Run(fmt.Sprint("gathered ", gathered), func(b *testing.B) {
			below, err := badger.Open(b.TempDir(), badger.Options{})
			if err != nil {
				b.Fatal(err)
			}
			var s kv.Store = below
			if gathered {
				s = New(below, Options{})
			}
			defer s.Close()
			b.ReportAllocs()
			v := uint64(0)
			for b.Loop() {
				v++
				x := s.Begin(v)
				for k := range 6 {
					x.Set(fmt.Append(nil, "same ", k), make([]byte, 60))
				}
				x.Set(fmt.Append(nil, "new ", v), make([]byte, 60))
				x.Set(fmt.Append(nil, "newer ", v), make([]byte, 60))
				if err := x.Commit(); err != nil {
					b.Fatal(err)
				}
				if v%250 == 0 {
					s.SetFloor(v)
				}
			}
		})
	}
}
