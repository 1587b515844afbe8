package alloc

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"dfs/osmodel/trace"
)

func TestErrorsAreDefined(t *testing.T) {
	slabs, err := NewSlab(64, 8, 4)
	if err != nil {
		t.Fatal(err)
	}
	all := map[Name]Allocator{"slab": slabs}
	for _, n := range Names {
		if all[n], err = New(n, 64); err != nil {
			t.Fatal(err)
		}
	}
	for n, a := range all {
		for _, c := range []struct {
			size int64
			want error
		}{{0, ErrZeroSize}, {-5, ErrZeroSize}, {65, ErrTooBig}, {1 << 62, ErrTooBig}} {
			if _, err := a.Allocate(c.size); !errors.Is(err, c.want) {
				t.Errorf("%s: %d: %v", n, c.size, err)
			}
		}
		g, err := a.Allocate(8)
		if err != nil {
			t.Fatal(n, err)
		}
		for _, bad := range []int64{-1, g.Address + 1, 1 << 50} {
			if _, err := a.Free(bad); !errors.Is(err, ErrBadAddress) {
				t.Errorf("%s: free %d: %v", n, bad, err)
			}
		}
		if size, err := a.Free(g.Address); err != nil || size != 8 {
			t.Errorf("%s: %d, %v", n, size, err)
		}
		if _, err := a.Free(g.Address); !errors.Is(err, ErrDoubleFree) {
			t.Errorf("%s: twice: %v", n, err)
		}
	}
	for _, size := range []int64{0, -1, MaxSize + 1} {
		if _, err := New(First, size); err == nil {
			t.Errorf("a memory of %d", size)
		}
	}
}

func TestFragmentation(t *testing.T) {
	f, err := NewFit(First, []int64{100}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := f.Allocate(10); err != nil {
			t.Fatal(err)
		}
	}
	if s := Measure(f.Blocks()); s.External != 0 || s.Free != 0 || s.Holes != 0 {
		t.Errorf("full: %+v", s)
	}
	for _, at := range []int64{0, 20, 30, 60} {
		if _, err := f.Free(at); err != nil {
			t.Fatal(err)
		}
	}
	if s := Measure(f.Blocks()); s.Free != 40 || s.Holes != 3 || s.LargestHole != 20 || s.External != 0.5 {
		t.Errorf("%+v", s)
	}
	for size, want := range map[int64]float64{5: 0, 10: 0, 11: 0.5, 21: 1} {
		if got := Unusable(f.Blocks(), size); got != want {
			t.Errorf("unusable for %d: %v, want %v", size, got, want)
		}
	}
	moves := f.Compact()
	if s := Measure(f.Blocks()); s.Holes != 1 || s.LargestHole != 40 || len(moves) != 6 || moves[0] != (Move{10, 0, 10}) {
		t.Errorf("after compaction %+v, %v", s, moves)
	}
}

func TestSlabLists(t *testing.T) {
	s, err := NewSlab(100, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	lists := func(want ...int) {
		t.Helper()
		f, p, e := s.Lists()
		if got := []int{f, p, e}; !reflect.DeepEqual(got, want) {
			t.Errorf("full, partial, empty: %v, want %v", got, want)
		}
	}
	var at []int64
	for range 9 {
		g, err := s.Allocate(7)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, g.Address)
	}
	lists(3, 0, 0)
	if _, err := s.Allocate(7); !errors.Is(err, ErrNoSpace) {
		t.Error(err) // ten units are left, a slab needs thirty
	}
	if m := Measure(s.Blocks()); m.Free != 10 || m.Holes != 1 || m.Internal != 0.3 {
		t.Errorf("%+v", m)
	}
	for _, a := range at[:4] {
		if _, err := s.Free(a); err != nil {
			t.Fatal(err)
		}
	}
	lists(1, 1, 1)
	if g, err := s.Allocate(10); err != nil || g.Address != 30 {
		t.Errorf("not from the partial slab: %+v, %v", g, err)
	}
	if n := s.Reap(); n != 1 {
		t.Errorf("reaped %d", n)
	}
	lists(2, 0, 0)
	if g, err := s.Allocate(10); err != nil || g.Address != 0 {
		t.Errorf("the reaped slab is not cut again: %+v, %v", g, err)
	}
}

func TestReplay(t *testing.T) {
	ops, err := ReadTrace(strings.NewReader(`
		allocate A 30
		allocate B 40
		allocate B 1   # in use
		allocate C 40
		free A
		free A
		free Z
		allocate D 50
		compact
		allocate D 50
		free B
	`))
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFit(First, []int64{100}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReplay(f)
	want := []error{nil, nil, ErrNameInUse, ErrNoSpace, nil, ErrDoubleFree, ErrUnknownName, ErrNoSpace, nil, nil, nil}
	for i, op := range ops {
		if s := r.Do(op); !errors.Is(s.Err, want[i]) {
			t.Errorf("%v: %v, want %v", op, s.Err, want[i])
		}
	}
	if all, fragmented := r.Failed(); all != 2 || fragmented != 1 {
		t.Errorf("failed %d, %d", all, fragmented)
	}
	var b bytes.Buffer
	if err := r.WriteMap(&b, 60); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "D") || !strings.HasPrefix(got, "| ...") {
		t.Error(got)
	}
}

func TestTraceErrors(t *testing.T) {
	for _, bad := range []string{"", "allocate A", "allocate A x", "allocate A -1", "free", "free A B", "grow A 1", "compact now"} {
		_, err := ReadTrace(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("allocate A 30\nfree A\ncompact\n", uint8(0), int64(100))
	f.Add("allocate A 3 # c\nallocate B 999999999999\nfree B", uint8(4), int64(7))
	f.Fuzz(func(t *testing.T, text string, n uint8, size int64) {
		ops, err := ReadTrace(strings.NewReader(text))
		if err != nil || len(ops) > 1000 {
			return
		}
		a, err := New(Names[int(n)%len(Names)], size)
		if err != nil {
			return
		}
		r := NewReplay(a)
		for _, op := range ops {
			r.Do(op)
		}
		var sum int64
		for _, b := range r.Blocks() {
			sum += b.Size
		}
		if sum != size {
			t.Fatalf("%d of %d units", sum, size)
		}
		if _, err := SVG(NewReplay(a), ops, "fuzz").WriteTo(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

func ExampleNewFit() {
	f, err := NewFit(Best, []int64{100, 500, 200, 300, 600}, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, size := range []int64{212, 417, 112, 426} {
		g, err := f.Allocate(size)
		fmt.Println(size, "goes into the hole of", g.Hole, "at", g.Address, err)
	}
	// Output:
	// 212 goes into the hole of 300 at 803 <nil>
	// 417 goes into the hole of 500 at 101 <nil>
	// 112 goes into the hole of 200 at 602 <nil>
	// 426 goes into the hole of 600 at 1104 <nil>
}

func BenchmarkAllocateFree(b *testing.B) {
	for _, n := range Names {
		b.Run(string(n), func(b *testing.B) {
			a, err := New(n, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			var held [64]int64
			for i := range held {
				held[i] = -1
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := i % len(held)
				if held[k] >= 0 {
					if _, err := a.Free(held[k]); err != nil {
						b.Fatal(err)
					}
				}
				g, err := a.Allocate(int64(i*7919%4000 + 1))
				if err != nil {
					b.Fatal(err)
				}
				held[k] = g.Address
			}
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
