package paging

import (
	"math"
	"reflect"
	"testing"
)

func refs(pages ...int64) []Ref {
	rs := make([]Ref, len(pages))
	for i, p := range pages {
		rs[i].Page = p
	}
	return rs
}

func faults(t *testing.T, rs []Ref, frames int, n Name) int {
	t.Helper()
	r, err := Simulate(rs, frames, n)
	if err != nil {
		t.Fatal(err)
	}
	return r.Faults
}

// OSC is Silberschatz, Galvin, Gagne, Operating System Concepts, 10th edition; OSTEP is Arpaci-Dusseau and
// Arpaci-Dusseau, Operating Systems: Three Easy Pieces.

func TestG23_ReplacementPolicies_OSC_10_4(t *testing.T) {
	rs := refs(7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1)
	for n, want := range map[Name]int{FIFO: 15, LRU: 12, OPT: 9, Clock: 14} { // Clock is derived
		if got := faults(t, rs, 3, n); got != want {
			t.Errorf("%s: %d faults, want %d", n, got, want)
		}
	}
}

func TestG24_BeladysAnomaly_OSC_10_4_2(t *testing.T) {
	rs := refs(1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5)
	for n, want := range map[Name][]int{FIFO: {12, 12, 9, 10, 5, 5, 5}, LRU: {12, 12, 10, 8, 5, 5, 5}} {
		if got, err := FaultCurve(rs, 7, n); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v; %v", n, got, want, err)
		}
	}
}

func TestG25_HitRates_OSTEP(t *testing.T) {
	rs := refs(0, 1, 2, 0, 1, 3, 0, 3, 1, 2, 1)
	for n, want := range map[Name]int{OPT: 6, FIFO: 4, LRU: 6} {
		r, err := Simulate(rs, 3, n)
		if err != nil || r.Hits != want || math.Abs(r.HitRatio()-float64(want)/11) > 1e-12 {
			t.Errorf("%s: %d hits, want %d; %v", n, r.Hits, want, err)
		}
	}
}

func TestG26_EffectiveAccessTime_OSC_10_2_3(t *testing.T) {
	got := EffectiveAccess(0.001, 200, 8_000_000)
	if math.Abs(got-8199.8) > 1e-9 || math.Round(got/200) != 41 { // the book says about 40 times
		t.Errorf("%v ns", got)
	}
	if p := FaultLimit(0.1, 200, 8_000_000); p < 2.5e-6 || p > 2.51e-6 {
		t.Errorf("p < %v", p)
	}
}

func TestG27_TLBHitRatio_OSC_9_3_2(t *testing.T) {
	if a, b := TLBAccess(0.8, 10), TLBAccess(0.99, 10); math.Abs(a-12) > 1e-9 || math.Abs(b-10.1) > 1e-9 {
		t.Errorf("%v, %v ns", a, b)
	}
}

func TestG28_Translation_OSC_9_3_1(t *testing.T) {
	s, err := NewSpace(2, []int{2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page, frame := range []int64{5, 6, 1, 2} {
		if err := s.Map(int64(page), frame); err != nil {
			t.Fatal(err)
		}
	}
	for logical, want := range map[int64]int64{0: 20, 3: 23, 4: 24, 13: 9} {
		if w, err := s.Translate(logical); err != nil || w.Address != want || w.Accesses != 2 {
			t.Errorf("logical %d: %+v, %v; want %d", logical, w, err, want)
		}
	}
}
