package alloc

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

func inUse(a Allocator) (used []Block) {
	for _, b := range a.Blocks() {
		if b.Used {
			used = append(used, b)
		}
	}
	return used
}

// An allocator that is taken apart and restored has the same blocks and, but for TLSF's lists, gives the same grants.
func TestRestoredIsTheSame(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, n := range Names {
		for _, size := range []int64{1, 100, 256, 1000} {
			whole, err := New(n, size)
			if err != nil {
				t.Fatal(err)
			}
			for range 500 {
				apart, err := Restore(n, size, inUse(whole), Rover(whole))
				if err != nil {
					t.Fatal(n, err)
				}
				if !reflect.DeepEqual(apart.Blocks(), whole.Blocks()) {
					t.Fatalf("%s: %v, want %v", n, apart.Blocks(), whole.Blocks())
				}
				if n == TLSF {
					whole = apart
				}
				used := inUse(whole)
				if len(used) > 0 && rng.IntN(2) == 0 {
					at := used[rng.IntN(len(used))].Start
					whole.Free(at)
					apart.Free(at)
					continue
				}
				want := 1 + rng.Int64N(size/3+1)
				g, err := whole.Allocate(want)
				if n == TLSF {
					continue
				}
				if h, aerr := apart.Allocate(want); aerr != err || !reflect.DeepEqual(g, h) {
					t.Fatalf("%s: %+v %v, the whole one %+v %v", n, h, aerr, g, err)
				}
			}
		}
	}
}

func TestWhatNoAllocatorMade(t *testing.T) {
	for _, used := range [][]Block{
		{{Start: -1, Size: 2, Requested: 1}}, {{Start: 0, Size: 0, Requested: 1}}, {{Start: 9, Size: 2, Requested: 1}},
		{{Start: 0, Size: 4, Requested: 4}, {Start: 2, Size: 2, Requested: 2}}, {{Start: 0, Size: 2, Requested: 3}},
	} {
		if _, err := Restore(First, 10, used, 0); err != ErrBadAddress {
			t.Errorf("%v: %v", used, err)
		}
	}
	if _, err := Restore(Buddy, 16, []Block{{Start: 2, Size: 4, Requested: 4}}, 0); err != ErrBadAddress {
		t.Error("no buddy lies there", err)
	}
}
