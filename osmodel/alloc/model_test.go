package alloc

import (
	"errors"
	"flag"
	"math/bits"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

// bytemap is the model: one entry a unit.
type bytemap []int // 0 free, -1 outside of all regions, else the number of the block

type run struct{ start, size int64 }

// runs returns the free stretches.
func (m bytemap) runs() (rs []run) {
	for i := int64(0); i < int64(len(m)); i++ {
		if m[i] != 0 {
			continue
		}
		if i == 0 || m[i-1] != 0 {
			rs = append(rs, run{i, 0})
		}
		rs[len(rs)-1].size++
	}
	return rs
}

func (m bytemap) fill(start, size int64, with int) bool {
	for i := start; i < start+size; i++ {
		if with != 0 && m[i] != 0 {
			return false
		}
		m[i] = with
	}
	return true
}

// expect returns where a fit must allocate, -1: nowhere.
func (m bytemap) expect(n Name, size, rover int64) run {
	best := run{-1, 0}
	rs := m.runs()
	if n == Next {
		var late, early []run
		for _, r := range rs {
			if r.start+r.size > rover {
				late = append(late, r)
			} else {
				early = append(early, r)
			}
		}
		rs = append(late, early...)
	}
	for _, r := range rs {
		switch {
		case r.size < size:
		case best.start < 0, n == Best && r.size < best.size, n == Worst && r.size > best.size:
			best = r
		}
	}
	return best
}

// TestAgainstAByteMap runs random histories on every allocator and on the map beside it.
func TestAgainstAByteMap(t *testing.T) {
	for s := *seed; s < *seed+400; s++ {
		r := rand.New(rand.NewPCG(s, 1))
		n := Names[r.IntN(len(Names))]
		size := 1 + r.Int64N(300)
		regions := []int64{size}
		var a Allocator
		var err error
		if n == Buddy || n == TLSF {
			a, err = New(n, size)
		} else {
			for range r.IntN(3) {
				regions = append(regions, 1+r.Int64N(60))
			}
			a, err = NewFit(n, regions, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
		var model bytemap
		var limit int64
		for i, g := range regions {
			if i > 0 {
				model = append(model, -1)
			}
			model = append(model, make(bytemap, g)...)
			limit = max(limit, g)
		}
		if n == Buddy {
			limit = 1 << (bits.Len64(uint64(size)) - 1)
		}
		blocks := map[int64]Grant{}
		var order []int64
		var rover int64
		for k := 1; k < 200; k++ {
			if r.IntN(5) < 3 || len(order) == 0 {
				want := r.Int64N(40) - 1
				g, err := a.Allocate(want)
				place := model.expect(n, want, rover)
				switch {
				case want <= 0:
					if !errors.Is(err, ErrZeroSize) {
						t.Fatalf("seed %d: size %d: %v", s, want, err)
					}
					continue
				case want > limit:
					if !errors.Is(err, ErrTooBig) {
						t.Fatalf("seed %d: size %d of %d: %v", s, want, limit, err)
					}
					continue
				case err != nil:
					if !errors.Is(err, ErrNoSpace) || place.start >= 0 && n != Buddy && n != TLSF {
						t.Fatalf("seed %d: %s %d: %v, the model has %v", s, n, want, err, place)
					}
					continue
				}
				if !model.fill(g.Address, g.Block, k) || g.Block < want || g.Hole < g.Block {
					t.Fatalf("seed %d: %s %d: %+v overlaps", s, n, want, g)
				}
				switch n {
				case Buddy:
					if g.Address%g.Block != 0 || g.Block&(g.Block-1) != 0 || g.Block >= 2*want && want > 1 {
						t.Fatalf("seed %d: %d got %+v", s, want, g)
					}
				case TLSF:
				default:
					if g.Address != place.start || g.Hole != place.size || g.Block != want {
						t.Fatalf("seed %d: %s %d: %+v, the model wants %v", s, n, want, g, place)
					}
				}
				rover = g.Address + g.Block
				blocks[g.Address] = g
				order = append(order, g.Address)
			} else {
				i := r.IntN(len(order))
				at := order[i]
				order = append(order[:i], order[i+1:]...)
				size, err := a.Free(at)
				if err != nil || size != blocks[at].Block {
					t.Fatalf("seed %d: free %d: %d, %v", s, at, size, err)
				}
				model.fill(at, size, 0)
				delete(blocks, at)
				if _, err := a.Free(at); !errors.Is(err, ErrDoubleFree) {
					t.Fatalf("seed %d: twice: %v", s, err)
				}
			}
			compare(t, s, n, a, model)
		}
		for _, at := range order {
			if _, err := a.Free(at); err != nil {
				t.Fatal(err)
			}
		}
		if got := Measure(a.Blocks()); n != Buddy && got.Holes != len(regions) || n == Buddy && got.Holes != bits.OnesCount64(uint64(size)) {
			t.Fatalf("seed %d: %s: all is free, in %d holes", s, n, got.Holes)
		}
	}
}

func compare(t *testing.T, seed uint64, n Name, a Allocator, model bytemap) {
	t.Helper()
	var at, free int64
	for _, b := range a.Blocks() {
		for ; at < int64(len(model)) && model[at] == -1; at++ { // between regions
		}
		if b.Start != at || b.Size < 1 {
			t.Fatalf("seed %d: %s: block %+v, want one at %d", seed, n, b, at)
		}
		for ; at < b.End(); at++ {
			if (model[at] != 0) != b.Used {
				t.Fatalf("seed %d: %s: unit %d", seed, n, at)
			}
		}
		if !b.Used {
			free += b.Size
		}
	}
	s := Measure(a.Blocks())
	if at != int64(len(model)) || s.Free != free {
		t.Fatalf("seed %d: %s: the blocks end at %d of %d", seed, n, at, len(model))
	}
	if n != Buddy && s.Holes != len(model.runs()) {
		t.Fatalf("seed %d: %s: %d holes, want %d: something was not merged", seed, n, s.Holes, len(model.runs()))
	}
}

// A TLSF request fails only where no list above its class holds anything: every free block is smaller than the
// request rounded up.
func TestTLSFFindsWhatFits(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 2))
	a := newTLSF(100_000)
	var held []int64
	for range 20_000 {
		if r.IntN(2) == 0 || len(held) == 0 {
			size := 1 + r.Int64N(1<<r.IntN(14))
			g, err := a.Allocate(size)
			if err == nil {
				held = append(held, g.Address)
			} else if Measure(a.Blocks()).LargestHole >= roundUp(size) {
				t.Fatalf("%d: %v with a hole of %d", size, err, Measure(a.Blocks()).LargestHole)
			}
			continue
		}
		i := r.IntN(len(held))
		if _, err := a.Free(held[i]); err != nil {
			t.Fatal(err)
		}
		held = append(held[:i], held[i+1:]...)
	}
}

func TestAlignmentAndHeaders(t *testing.T) {
	for s := *seed; s < *seed+200; s++ {
		r := rand.New(rand.NewPCG(s, 3))
		o := Options{Align: 1 << r.IntN(5), Header: r.Int64N(9)}
		f, err := NewFit(Names[r.IntN(4)], []int64{100 + r.Int64N(200), 77}, o)
		if err != nil {
			t.Fatal(err)
		}
		held := map[int64]int64{}
		for range 60 {
			if size := 1 + r.Int64N(20); r.IntN(3) > 0 {
				if g, err := f.Allocate(size); err == nil {
					held[g.Address] = size
					if g.Address%o.Align != 0 || g.Block < size+o.Header {
						t.Fatalf("seed %d: %+v for %d with %+v", s, g, size, o)
					}
				}
			} else {
				for at := range held {
					if _, err := f.Free(at); err != nil {
						t.Fatal(err)
					}
					delete(held, at)
					break
				}
			}
			if r.IntN(10) == 0 {
				for _, m := range f.Compact() {
					if m.To >= m.From || m.To%o.Align != 0 {
						t.Fatalf("seed %d: move %+v", s, m)
					}
					held[m.To] = held[m.From]
					delete(held, m.From)
				}
			}
			var end int64
			for i, b := range f.Blocks() {
				if i > 0 && b.Start != end && b.Start != end+1 {
					t.Fatalf("seed %d: block %+v after %d", s, b, end)
				}
				if end = b.End(); b.Used && held[b.Start+o.Header] != b.Requested {
					t.Fatalf("seed %d: block %+v, held %v", s, b, held)
				}
			}
		}
	}
}
