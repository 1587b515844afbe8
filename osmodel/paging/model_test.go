package paging

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

func random(r *rand.Rand, longest int) []Ref {
	rs := make([]Ref, 1+r.IntN(longest))
	pages := 1 + r.Int64N(8)
	for i := range rs {
		rs[i] = Ref{r.Int64N(pages), r.IntN(4) == 0}
	}
	return rs
}

// slow searches the past or the future at each fault: the definitions of the policies, word by word.
func slow(rs []Ref, frames int, n Name) (count int, evicted []int64) {
	var mem []int64 // by frame
	var came []int
	var uses []int
	for i, r := range rs {
		f := slices.Index(mem, r.Page)
		if f >= 0 {
			uses[f]++
			continue
		}
		count++
		if len(mem) < frames {
			mem, came, uses = append(mem, r.Page), append(came, i), append(uses, 1)
			continue
		}
		lastUse := func(page int64) int {
			for k := i - 1; k >= 0; k-- {
				if rs[k].Page == page {
					return k
				}
			}
			return -1
		}
		nextUse := func(page int64) int {
			for k := i; k < len(rs); k++ {
				if rs[k].Page == page {
					return k
				}
			}
			return math.MaxInt
		}
		for k := range mem {
			better := false
			switch n {
			case FIFO:
				better = came[k] < came[max(f, 0)]
			case LRU:
				better = lastUse(mem[k]) < lastUse(mem[max(f, 0)])
			case OPT:
				better = nextUse(mem[k]) > nextUse(mem[max(f, 0)])
			case LFU:
				a, b := uses[k], uses[max(f, 0)]
				better = a < b || a == b && lastUse(mem[k]) < lastUse(mem[max(f, 0)])
			}
			if f < 0 || better {
				f = k
			}
		}
		evicted = append(evicted, mem[f])
		mem[f], came[f], uses[f] = r.Page, i, 1
	}
	return count, evicted
}

func TestAgainstTheDefinitions(t *testing.T) {
	for s := *seed; s < *seed+2000; s++ {
		r := rand.New(rand.NewPCG(s, 1))
		rs, frames := random(r, 60), 1+r.IntN(6)
		for _, n := range []Name{FIFO, LRU, OPT, LFU} {
			want, evicted := slow(rs, frames, n)
			got, err := Simulate(rs, frames, n)
			if err != nil {
				t.Fatal(err)
			}
			var gone []int64
			for _, st := range got.Steps {
				if st.Replaced {
					gone = append(gone, st.Evicted)
				}
			}
			if got.Faults != want || !slices.Equal(gone, evicted) {
				t.Fatalf("seed %d: %s with %d frames: %d faults, want %d\n%v\n%v", s, n, frames, got.Faults, want, gone, evicted)
			}
		}
		if a, b := faults(t, rs, frames, Clock), faults(t, rs, frames, SecondChance); a != b {
			t.Fatalf("seed %d: clock %d, second chance %d", s, a, b)
		}
	}
}

// exhaustive tries every victim.
func exhaustive(rs []Ref, mem []int64, frames int) int {
	for i, r := range rs {
		if slices.Contains(mem, r.Page) {
			continue
		}
		if len(mem) < frames {
			return 1 + exhaustive(rs[i+1:], append(slices.Clone(mem), r.Page), frames)
		}
		best := math.MaxInt
		for f := range mem {
			next := slices.Clone(mem)
			next[f] = r.Page
			best = min(best, 1+exhaustive(rs[i+1:], next, frames))
		}
		return best
	}
	return 0
}

func TestOPTIsOptimal(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 2))
		rs, frames := random(r, 13), 1+r.IntN(3)
		if got, want := faults(t, rs, frames, OPT), exhaustive(rs, nil, frames); got != want {
			t.Fatalf("seed %d: %v with %d frames: %d faults, %d are possible", s, rs, frames, got, want)
		}
	}
}

// LRU and OPT are stack algorithms: what n frames hold, n+1 hold too, so more frames never fault more.
func TestStackProperty(t *testing.T) {
	for s := *seed; s < *seed+500; s++ {
		r := rand.New(rand.NewPCG(s, 3))
		rs := random(r, 80)
		for _, n := range []Name{LRU, OPT} {
			curve, err := FaultCurve(rs, 8, n)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(curve, func(a, b int) int { return b - a }) {
				t.Fatalf("seed %d: %s %v", s, n, curve)
			}
		}
		for frames := 1; frames < 7; frames++ {
			small, err := Simulate(rs, frames, LRU)
			if err != nil {
				t.Fatal(err)
			}
			large, err := Simulate(rs, frames+1, LRU)
			if err != nil {
				t.Fatal(err)
			}
			a, okA := small.Contents(len(rs))
			b, _ := large.Contents(len(rs))
			for f := range a {
				if okA[f] && !slices.Contains(b, a[f]) {
					t.Fatalf("seed %d: %d frames hold %d, %d do not", s, frames, a[f], frames+1)
				}
			}
		}
	}
}

func TestDirtyPagesAreWrittenBack(t *testing.T) {
	r, err := Simulate([]Ref{{1, true}, {2, false}, {3, false}, {1, false}, {2, true}, {2, false}, {4, false}, {5, false}}, 2, FIFO)
	if err != nil {
		t.Fatal(err)
	}
	var back []int64
	for _, s := range r.Steps {
		if s.WriteBack {
			back = append(back, s.Evicted)
		}
	}
	if !slices.Equal(back, []int64{1, 2}) || r.WriteBacks != 2 {
		t.Errorf("written back %v, %d", back, r.WriteBacks)
	}
}

func TestWorkingSet(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 4))
		rs, window := random(r, 40), 1+r.IntN(6)
		got, err := WorkingSet(rs, window)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rs {
			set := map[int64]bool{}
			for k := max(0, i-window+1); k <= i; k++ {
				set[rs[k].Page] = true
			}
			before := map[int64]bool{}
			for k := max(0, i-window); k < i; k++ {
				before[rs[k].Page] = true
			}
			if got[i].Size != len(set) || got[i].Fault == before[rs[i].Page] {
				t.Fatalf("seed %d: step %d of %v with window %d: %+v", s, i, rs, window, got[i])
			}
		}
	}
	if _, err := WorkingSet(nil, 0); err == nil {
		t.Error("a window of nothing")
	}
}

func TestTranslationInLevels(t *testing.T) {
	for s := *seed; s < *seed+100; s++ {
		r := rand.New(rand.NewPCG(s, 5))
		space, err := NewSpace(r.IntN(6), []int{1 + r.IntN(4), 1 + r.IntN(4), 1 + r.IntN(4)}[:1+r.IntN(3)], r.IntN(4))
		if err != nil {
			t.Fatal(err)
		}
		model := map[int64]int64{}
		pages := int64(1) << space.pageBits()
		for range 300 {
			page := r.Int64N(pages)
			switch r.IntN(5) {
			case 0:
				model[page] = r.Int64N(100)
				if err := space.Map(page, model[page]); err != nil {
					t.Fatal(err)
				}
			case 1:
				delete(model, page)
				space.Unmap(page)
			default:
				off := r.Int64N(1 << space.offsetBits)
				w, err := space.Translate(page<<space.offsetBits | off)
				frame, mapped := model[page]
				if mapped != (err == nil) || mapped && w.Address != frame<<space.offsetBits|off {
					t.Fatalf("seed %d: page %d: %+v, %v, the model has %d %v", s, page, w, err, frame, mapped)
				}
				if want := len(space.levelBits) + 1; mapped && !w.TLBHit && w.Accesses != want || w.TLBHit && w.Accesses != 1 {
					t.Fatalf("seed %d: %d accesses", s, w.Accesses)
				}
				if !mapped && !errors.Is(err, ErrNotMapped) {
					t.Fatal(err)
				}
				if mapped && space.tlbSize > 0 {
					if again, _ := space.Translate(page << space.offsetBits); !again.TLBHit {
						t.Fatalf("seed %d: not in the TLB", s)
					}
				}
			}
			if len(space.tlb) > space.tlbSize {
				t.Fatal("the TLB grows")
			}
		}
		if _, err := space.Translate(pages << space.offsetBits); !errors.Is(err, ErrAddress) {
			t.Fatal(err)
		}
	}
}

func TestSparseSpacesNeedFewTables(t *testing.T) {
	s, err := NewSpace(12, []int{10, 10}, 16)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []int64{0, 1, 2, 1<<20 - 1} {
		if err := s.Map(page, page); err != nil {
			t.Fatal(err)
		}
	}
	if s.Tables() != 3 {
		t.Errorf("%d tables", s.Tables())
	}
}

func ExampleSimulate() {
	r, err := Simulate(refs(7, 0, 1, 2, 0, 3, 0, 4), 3, LRU)
	fmt.Println(r.Faults, "faults", r.Hits, "hits", err)
	// Output:
	// 6 faults 2 hits <nil>
}

// Translations lead to the frame that the replacement policy chose: tables and TLB never hold what was evicted.
func TestTranslationsFollowThePolicy(t *testing.T) {
	for s := *seed; s < *seed+500; s++ {
		r := rand.New(rand.NewPCG(s, 5))
		addresses := make([]Ref, 1+r.IntN(60))
		for i := range addresses {
			addresses[i] = Ref{r.Int64N(160), r.IntN(3) == 0}
		}
		pages, err := Pages(addresses, 16)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Simulate(pages, 1+r.IntN(5), Names[r.IntN(len(Names))])
		if err != nil {
			t.Fatal(err)
		}
		tlb := r.IntN(4)
		all, space, err := res.Translate(addresses, 16, []int{2, 2}, tlb)
		if err != nil || space.Tables() > 4 {
			t.Fatal(err, space.Tables())
		}
		var want float64
		for i, a := range all {
			if a.Physical != int64(a.Frame)*16+a.Logical%16 || a.TLBHit && (a.Fault || tlb == 0 || a.Accesses != 1) {
				t.Fatalf("seed %d: access %d: %+v", s, i, a)
			}
			if !a.TLBHit && !a.Fault && a.Accesses != 3 {
				t.Fatalf("seed %d: access %d took %d", s, i, a.Accesses)
			}
			want += map[bool]float64{true: 1000, false: float64(a.Accesses)}[a.Fault]
		}
		if got := MeanAccess(all, 1, 1000); math.Abs(got-want/float64(len(all))) > 1e-9 {
			t.Fatalf("seed %d: mean %v", s, got)
		}
	}
	for _, size := range []int64{0, -4, 3} {
		if _, err := Pages(nil, size); err == nil {
			t.Errorf("pages of %d bytes", size)
		}
	}
	res, _ := Simulate(refs(9), 1, FIFO)
	if _, _, err := res.Translate([]Ref{{Page: 9 * 16}}, 16, []int{3}, 0); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}
