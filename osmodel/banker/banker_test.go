package banker

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"dfs/osmodel/trace"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

func randomBank(t *testing.T, r *rand.Rand) *Bank {
	t.Helper()
	m := 1 + r.IntN(3)
	total := make([]int64, m)
	for k := range total {
		total[k] = r.Int64N(12)
	}
	b, err := New(total)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1 + r.IntN(6) {
		claim, held := make([]int64, m), make([]int64, m)
		for k := range claim {
			claim[k] = r.Int64N(total[k] + 1)
			held[k] = min(claim[k], r.Int64N(b.available[k]+1), r.Int64N(5))
		}
		if err := b.Register(fmt.Sprintf("P%d", i), claim, held); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// bruteForce tries every order.
func bruteForce(work []int64, left []Process) bool {
	if len(left) == 0 {
		return true
	}
	for i, p := range left {
		if atMost(p.Need(), work) && bruteForce(plus(work, p.Allocated), slices.Delete(slices.Clone(left), i, i+1)) {
			return true
		}
	}
	return false
}

func TestSafetyAgainstBruteForce(t *testing.T) {
	safe := 0
	for s := *seed; s < *seed+3000; s++ {
		b := randomBank(t, rand.New(rand.NewPCG(s, 1)))
		order, ok := b.Safe()
		if want := bruteForce(b.available, b.processes); ok != want {
			t.Fatalf("seed %d: safe %v, brute force says %v: %+v", s, ok, want, b)
		}
		if ok {
			safe++
			if err := b.Verify(order); err != nil {
				t.Fatalf("seed %d: %v: %v", s, order, err)
			}
		}
	}
	if safe < 300 || safe > 2700 {
		t.Errorf("%d of 3000 states are safe: the test tests one side only", safe)
	}
}

// From a safe state, whatever is requested and released, the state stays safe, nothing is lost, and every process that
// is let finish can.
func TestSafeStaysSafe(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 2))
		b := randomBank(t, r)
		if _, ok := b.Safe(); !ok {
			continue
		}
		for range 60 {
			p := b.processes[r.IntN(len(b.processes))]
			amount := make([]int64, len(b.total))
			for k := range amount {
				amount[k] = r.Int64N(5)
			}
			var err error
			if r.IntN(2) == 0 {
				_, err = b.Request(p.ID, amount)
			} else {
				_, err = b.Release(p.ID, amount)
			}
			if err != nil && !errors.Is(err, ErrNeed) && !errors.Is(err, ErrNotHeld) && !errors.Is(err, ErrWaiting) {
				t.Fatalf("seed %d: %v", s, err)
			}
			held := slices.Clone(b.available)
			for _, p := range b.processes {
				add(held, p.Allocated)
				if !atMost(p.Allocated, p.Max) {
					t.Fatalf("seed %d: %+v", s, p)
				}
			}
			if _, ok := b.Safe(); !ok || !slices.Equal(held, b.total) {
				t.Fatalf("seed %d: safe %v, held %v of %v", s, ok, held, b.total)
			}
		}
		for len(b.processes) > 0 { // all go: nothing may wait for ever
			order, _ := b.Safe()
			if _, err := b.Exit(order[0]); err != nil {
				t.Fatal(err)
			}
		}
		if len(b.waiting) != 0 || !slices.Equal(b.available, b.total) {
			t.Fatalf("seed %d: %+v", s, b)
		}
	}
}

func TestErrors(t *testing.T) {
	b := osc(t)
	for _, c := range []struct {
		err, want error
	}{
		{b.Register("P9", digits("999"), digits("000")), ErrClaim},
		{b.Register("P0", digits("000"), digits("000")), ErrKnown},
		{b.Register("P9", digits("00"), digits("000")), ErrShape},
		{b.Register("P9", []int64{-1, 0, 0}, digits("000")), ErrShape},
		{b.Register("P9", digits("100"), digits("200")), ErrHeld},
		{b.Register("P9", digits("400"), digits("400")), ErrHeld},
		{second(b.Request("P9", digits("000"))), ErrUnknown},
		{second(b.Request("P1", digits("200"))), ErrNeed},
		{second(b.Request("P1", digits("2"))), ErrShape},
		{second(b.Release("P1", digits("300"))), ErrNotHeld},
		{second(b.Release("P9", digits("000"))), ErrUnknown},
		{second(b.Exit("P9")), ErrUnknown},
		{second(b.Cancel("P1")), ErrUnknown},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%v, want %v", c.err, c.want)
		}
	}
	for _, total := range [][]int64{nil, {-1}, make([]int64, MaxTypes+1)} {
		if _, err := New(total); !errors.Is(err, ErrShape) {
			t.Errorf("%v: %v", total, err)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func TestWaitingRequestsAreGrantedInOrder(t *testing.T) {
	b := bank(t, []int64{4}, []string{"A", "B", "C", "D"}, [][]int64{{4}, {3}, {1}, {1}}, [][]int64{{4}, {0}, {0}, {0}})
	request(t, b, "B", "3", Waits)
	request(t, b, "C", "1", Waits)
	request(t, b, "D", "1", Waits)
	if _, err := b.Request("B", []int64{1}); !errors.Is(err, ErrWaiting) {
		t.Error(err)
	}
	woken, err := b.Exit("A")
	if err != nil || len(woken) != 2 || woken[0].ID != "B" || woken[1].ID != "C" || len(b.Waiting()) != 1 {
		t.Errorf("%v, %v; %v", woken, err, b.Waiting())
	}
	if woken, err = b.Release("C", []int64{1}); err != nil || len(woken) != 1 || woken[0].ID != "D" {
		t.Errorf("%v, %v", woken, err)
	}
}

// A large request is not starved by a stream of small ones that come and go.
func TestNobodyStarves(t *testing.T) {
	b := bank(t, []int64{4}, []string{"big", "s0"}, [][]int64{{4}, {1}}, [][]int64{{0}, {1}})
	request(t, b, "big", "4", Waits)
	last := "s0"
	for i := 1; i < 100; i++ {
		id := fmt.Sprintf("s%d", i)
		if err := b.Register(id, []int64{1}, []int64{0}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Request(id, []int64{1}); err != nil {
			t.Fatal(err)
		}
		woken, err := b.Exit(last)
		if err != nil {
			t.Fatal(err)
		}
		if len(woken) > 0 && woken[0].ID == "big" {
			if i <= MaxOvertakes {
				t.Errorf("after %d", i)
			}
			return
		}
		last = id
	}
	t.Error("the large request was never granted")
}

// But who holds something may always pass: the request in front may wait for just that.
func TestHoldersMayOvertake(t *testing.T) {
	b := bank(t, []int64{4}, []string{"big", "holder"}, [][]int64{{4}, {2}}, [][]int64{{0}, {1}})
	request(t, b, "big", "4", Waits)
	b.waiting[0].Overtaken = MaxOvertakes
	request(t, b, "holder", "1", Granted)
	if woken, err := b.Exit("holder"); err != nil || len(woken) != 1 {
		t.Errorf("%v, %v", woken, err)
	}
}

func TestRecovery(t *testing.T) {
	hs := detection("001")
	for i := range hs {
		hs[i].Priority, hs[i].Started = 5, int64(i)
	}
	hs[2].Priority = 1
	if got := Recover(digits("000"), hs); !slices.Equal(got, []string{"P2"}) {
		t.Errorf("the least important: %v", got)
	}
	hs[2].Priority = 5
	if got := Recover(digits("000"), hs); got[0] != "P4" {
		t.Errorf("the youngest: %v", got)
	}
	for s := *seed; s < *seed+200; s++ {
		r := rand.New(rand.NewPCG(s, 3))
		hs := make([]Holder, 1+r.IntN(6))
		for i := range hs {
			hs[i] = Holder{fmt.Sprint(i), []int64{r.Int64N(3), r.Int64N(3)}, []int64{r.Int64N(4), r.Int64N(4)}, r.IntN(3), r.Int64N(9)}
		}
		free := []int64{r.Int64N(2), r.Int64N(2)}
		victims := Recover(free, hs)
		for _, v := range victims {
			i := slices.IndexFunc(hs, func(h Holder) bool { return h.ID == v })
			free = plus(free, hs[i].Allocated)
			hs = slices.Delete(hs, i, i+1)
		}
		if left, _ := Detect(free, hs); len(left) != 0 {
			t.Fatalf("seed %d: %v are still deadlocked", s, left)
		}
	}
}

func TestReadTrace(t *testing.T) {
	p, err := ReadTrace(strings.NewReader("total 10 5 7\nprocess P0 max 7 5 3 allocated 0 1 0\nrequest P0 0 2 0\nrelease P0 0 1 0\nexit P0"))
	if err != nil || len(p.Ops) != 4 || !slices.Equal(p.Total, []int64{10, 5, 7}) || !slices.Equal(p.Ops[0].Allocated, digits("010")) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "process P max 1 allocated 1", "total", "total 1\ntotal 1", "total x", "total 1\nprocess P max 1 allocated",
		"total 1\nprocess P 1 1", "total 1\nrequest P", "total 1\nrequest P 1 1", "total 1\nrequest", "total 1\nexit P 1", "total 1\njump P 1", "total 1\nrequest P -1"} {
		_, err := ReadTrace(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("total 10 5 7\nprocess P0 max 7 5 3 allocated 0 1 0\nrequest P0 0 2 0\nrelease P0 0 1 0\nexit P0")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ReadTrace(strings.NewReader(text))
		if err != nil || len(p.Ops) > 200 {
			return
		}
		b, err := New(p.Total)
		if err != nil {
			return
		}
		for _, op := range p.Ops {
			b.Do(op)
		}
		if !all(b.available, func(n int64) bool { return n >= 0 }) {
			t.Fatal(b.available)
		}
	})
}

func ExampleBank_Request() {
	b, err := New([]int64{12})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = b.Register("P0", []int64{10}, []int64{5})
	_ = b.Register("P1", []int64{4}, []int64{2})
	_ = b.Register("P2", []int64{9}, []int64{2})
	fmt.Println(b.Safe())
	fmt.Println(b.Request("P2", []int64{1}))
	// Output:
	// [P1 P0 P2] true
	// denied <nil>
}
