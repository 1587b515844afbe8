package alloc

import (
	"errors"
	"reflect"
	"testing"
)

// Holes 100, 500, 200, 300, 600; requests 212, 417, 112, 426. OSC, older editions, an exercise with published solution;
// next fit is derived.
func TestG29_Fits_OSC(t *testing.T) {
	for _, c := range []struct {
		name Name
		want []int64 // the hole chosen, 0: waits
	}{
		{First, []int64{500, 600, 288, 0}},
		{Best, []int64{300, 500, 200, 600}},
		{Worst, []int64{600, 500, 388, 0}},
		{Next, []int64{500, 600, 183, 0}},
	} {
		f, err := NewFit(c.name, []int64{100, 500, 200, 300, 600}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, size := range []int64{212, 417, 112, 426} {
			g, err := f.Allocate(size)
			if err != nil && !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			got = append(got, g.Hole)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s fit: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestG30_Buddy_OSC_10_8_1_and_OSTEP(t *testing.T) {
	for _, c := range []struct {
		memory, request, block int64
		splits                 []int64
	}{
		{256, 21, 32, []int64{128, 64, 32}},
		{64, 7, 8, []int64{32, 16, 8}},
	} {
		b, err := New(Buddy, c.memory)
		if err != nil {
			t.Fatal(err)
		}
		g, err := b.Allocate(c.request)
		if err != nil || g.Block != c.block || !reflect.DeepEqual(g.Splits, c.splits) {
			t.Errorf("%d of %d KB: %+v, %v", c.request, c.memory, g, err)
		}
		s := Measure(b.Blocks())
		if waste := g.Block - c.request; s.Internal != float64(waste)/float64(c.block) {
			t.Errorf("internal fragmentation %v with %d KB", s.Internal, waste)
		}
	}
}
