package discipline

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func queue(t *testing.T, o Options) *Queue {
	t.Helper()
	q, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// G14, the passes: after A,B,C,C,C,A,C,C all three stand at 200.
func TestG14_StridePasses_OSTEP(t *testing.T) {
	q := queue(t, Options{Name: Stride})
	for i, it := range []Item{{ID: "A", Priority: 100}, {ID: "B", Priority: 50}, {ID: "C", Priority: 250}} {
		it.Seq, it.Burst = i, 100
		q.Push(0, it)
	}
	for i, e := range q.waiting {
		if got, want := stride(e), []int64{100, 200, 40}[i]; got != want {
			t.Errorf("stride of %s: %d, want %d", e.ID, got, want)
		}
	}
	var order []string
	for now := range int64(8) {
		it, slice, _ := q.Pop(now)
		order = append(order, it.ID)
		q.Charge(now+slice, it.ID, slice)
		q.Return(now+slice, it.ID)
	}
	if got := strings.Join(order, ""); got != "ABCCCACC" {
		t.Error(got)
	}
	for _, e := range q.waiting {
		if e.pass != 200 {
			t.Errorf("%s has pass %d", e.ID, e.pass)
		}
	}
}

func TestFeedbackLevels(t *testing.T) {
	q := queue(t, Options{Name: MLFQ, Quantum: 2, Levels: 3, Allotment: 4, Boost: 100})
	q.Push(0, Item{ID: "A", Burst: 50})
	run := func(now, ticks int64) {
		t.Helper()
		if it, _, ok := q.Pop(now); !ok || it.ID != "A" {
			t.Fatal(it, ok)
		}
		q.Charge(now+ticks, "A", ticks)
	}
	run(0, 2)
	q.Return(2, "A")
	if q.Level("A") != 0 {
		t.Error("half of the allotment is left")
	}
	run(2, 1) // gives the CPU up before its slice ends: the allotment goes on counting
	q.Leave(3, "A", true)
	q.Push(10, Item{ID: "A", Burst: 40})
	run(10, 1)
	q.Return(11, "A")
	if q.Level("A") != 1 {
		t.Error("the allotment is used up across the wait")
	}
	run(11, 2)
	if q.Push(13, Item{ID: "B", Burst: 1}); !q.Preempts(13, "A") {
		t.Error("a new item at the top does not preempt level 1")
	}
	q.Return(13, "A")
	if q.Level("A") != 1 || q.Next(13) != 100 {
		t.Error(q.Level("A"), q.Next(13))
	}
	if q.Charge(100, "", 0); q.Level("A") != 0 {
		t.Error("the boost left A below")
	}
}

func TestQueueKeepsBooks(t *testing.T) {
	for _, n := range Names {
		q := queue(t, Options{Name: n})
		q.Push(0, Item{ID: "A", Burst: 3})
		q.Push(0, Item{ID: "A", Burst: 3})
		q.Push(0, Item{ID: "B", Seq: 1, Burst: 3})
		if q.Len() != 2 || len(q.Waiting()) != 2 {
			t.Fatalf("%s: %v", n, q.Waiting())
		}
		a, _, _ := q.Pop(0)
		b, _, ok := q.Pop(0) // two CPUs
		if !ok || a.ID == b.ID {
			t.Fatalf("%s: %v %v", n, a, b)
		}
		if _, _, ok := q.Pop(0); ok {
			t.Fatalf("%s: something is left", n)
		}
		q.Charge(2, a.ID, 2)
		q.Return(2, a.ID)
		if w := q.Waiting(); len(w) != 1 || w[0].Burst != 1 {
			t.Errorf("%s: %v", n, w)
		}
		if !q.Remove(a.ID) || !q.Remove(b.ID) || q.Remove(b.ID) || q.Len() != 0 {
			t.Errorf("%s: Remove", n)
		}
		q.Return(3, b.ID) // removed meanwhile
		q.Leave(3, b.ID, true)
		if q.Len() != 0 {
			t.Errorf("%s: a removed item came back", n)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []Options{{Name: "?"}, {Quantum: -1}, {Name: MLFQ, Levels: 1 << 20}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// Virtual time survives the longest run that is allowed without turning over.
func TestVirtualTimeDoesNotOverflow(t *testing.T) {
	e := &entity{Item: Item{Priority: maxNice}}
	if v := virtual(e, 1_000_000_000_000); v <= 0 || v > 1<<62 {
		t.Errorf("%d", v)
	}
	a := &entity{vruntime: 1 << 62, Item: Item{Priority: minNice}}
	b := &entity{Item: Item{Priority: minNice}}
	if m, ok := mean(slices.Values([]*entity{a, b})); !ok || m != 1<<61 {
		t.Errorf("%d %v", m, ok)
	}
}

// Someone is always at or below the mean, whatever the numbers: EEVDF always finds an eligible item.
func TestSomeoneIsAlwaysEligible(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		es := make([]*entity, 1+r.IntN(6))
		low := int64(1 << 62)
		for i := range es {
			es[i] = &entity{vruntime: r.Int64N(1 << r.IntN(60)), Item: Item{Priority: r.IntN(40) - 20}}
			low = min(low, es[i].vruntime)
		}
		if m, _ := mean(slices.Values(es)); m < low {
			t.Fatalf("mean %d below %d", m, low)
		}
	}
}
