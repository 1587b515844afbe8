package banker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// A bank that is taken apart and restored after every step answers as one that is not.
func TestRestoredIsTheSame(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	whole, err := New([]int64{6, 4})
	if err != nil {
		t.Fatal(err)
	}
	apart := whole
	for range 3000 {
		id, v := fmt.Sprint(rng.IntN(5)), []int64{rng.Int64N(4), rng.Int64N(3)}
		if apart, err = Restore(whole.Total(), whole.Processes(), whole.Waiting()); err != nil {
			t.Fatal(err)
		}
		do := func(b *Bank, what int) string {
			switch what {
			case 0:
				return fmt.Sprint(b.Register(id, v, []int64{0, 0}))
			case 1, 2:
				return fmt.Sprint(b.Request(id, v))
			case 3:
				return fmt.Sprint(b.Release(id, v))
			case 4:
				return fmt.Sprint(b.Cancel(id))
			}
			return fmt.Sprint(b.Exit(id))
		}
		what := rng.IntN(6)
		if a, w := do(apart, what), do(whole, what); a != w {
			t.Fatalf("%s, the whole one %s", a, w)
		}
		if !reflect.DeepEqual(apart.Processes(), whole.Processes()) || !reflect.DeepEqual(apart.Available(), whole.Available()) ||
			fmt.Sprint(apart.Waiting()) != fmt.Sprint(whole.Waiting()) {
			t.Fatal("another state")
		}
	}
}

func TestWhatNoBankIs(t *testing.T) {
	p := Process{"a", []int64{2}, []int64{1}}
	for _, c := range []struct {
		ps   []Process
		w    []Request
		want error
	}{
		{[]Process{p, p}, nil, ErrKnown},
		{[]Process{p}, []Request{{ID: "b", Want: []int64{1}}}, ErrUnknown},
		{[]Process{p}, []Request{{ID: "a", Want: []int64{2}}}, ErrNeed},
		{[]Process{p}, []Request{{ID: "a", Want: []int64{1, 1}}}, ErrShape},
		{[]Process{p}, []Request{{ID: "a", Want: []int64{1}}, {ID: "a", Want: []int64{1}}}, ErrWaiting},
	} {
		if _, err := Restore([]int64{3}, c.ps, c.w); err != c.want {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}
