package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

func must(t *testing.T, s *Store, x Txn) Outcome {
	t.Helper()
	o, err := s.Commit(x)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func set(k, v string) Txn { return Txn{Then: []Step{{Do: Set, Key: k, Value: []byte(v)}}} }

func TestVersionsAndRevisions(t *testing.T) {
	s := NewStore(Options{})
	must(t, s, set("a", "1"))
	must(t, s, set("b", "1"))
	must(t, s, set("a", "2"))
	e, ok := s.Get("a")
	if !ok || string(e.Value) != "2" || e.Created != 1 || e.Modified != 3 || e.Version != 2 {
		t.Fatalf("%+v", e)
	}
	must(t, s, Txn{Then: []Step{{Do: Delete, Key: "a"}, {Do: Delete, Key: "none"}}})
	must(t, s, Txn{Then: []Step{{Do: Get, Key: "b"}}}) // is no revision
	must(t, s, set("a", "3"))
	if e, _ := s.Get("a"); e.Created != 5 || e.Version != 1 {
		t.Fatalf("created anew: %+v", e)
	}
}

func TestCompareAndSwap(t *testing.T) {
	s := NewStore(Options{})
	swap := func(c Condition) bool {
		return must(t, s, Txn{If: []Condition{c}, Then: []Step{{Do: Set, Key: "a", Value: []byte("x")}}, Else: []Step{{Do: Get, Key: "a"}}}).Held
	}
	absent := Condition{Key: "a", Field: Value, Absent: true}
	for i, c := range []struct {
		c    Condition
		want bool
	}{
		{Condition{Key: "a", Field: Value, Value: nil}, false}, // not there is not empty
		{Condition{Key: "a", Field: Version, Number: 0}, true},
		{absent, false},
		{Condition{Key: "a", Field: Value, Value: []byte("x")}, true},
		{Condition{Key: "a", Field: Version, Number: 2}, true},
		{Condition{Key: "a", Field: Modified, Number: 2}, false},
		{Condition{Key: "a", Field: Modified, Is: Greater, Number: 2}, true},
		{Condition{Key: "a", Field: Created, Is: Less, Number: 2}, true},
		{Condition{Key: "a", Field: Value, Is: Unequal, Absent: true}, true},
		{Condition{Key: "a", Field: Value, Is: Unequal, Value: []byte("x")}, false},
		{Condition{Key: "b", Field: Value, Is: Unequal, Value: []byte("x")}, true},
	} {
		if got := swap(c.c); got != c.want {
			t.Errorf("%d: %+v is %v", i, c.c, got)
		}
	}
}

func TestHistory(t *testing.T) {
	s := NewStore(Options{History: 3})
	for i := range 4 {
		must(t, s, set(fmt.Sprint(i), ""))
	}
	if _, err := s.Since(1, 10); !errors.Is(err, ErrCompacted) {
		t.Fatal("nothing was compacted", err)
	}
	es, err := s.Since(2, 2)
	if err != nil || len(es) != 2 || es[0].Modified != 2 {
		t.Fatalf("%+v %v", es, err)
	}
	must(t, s, Txn{Then: []Step{{Do: Delete, Key: "0"}, {Do: Delete, Key: "1"}}})
	if es, err = s.Since(5, 1); err != nil || len(es) != 2 || !es[0].Deleted {
		t.Fatalf("a revision is whole: %+v %v", es, err)
	}
	if es, err = s.Since(6, 1); err != nil || es != nil {
		t.Fatal("the future is empty")
	}
}

func TestLimits(t *testing.T) {
	s := NewStore(Options{Keys: 2, Bytes: 10})
	must(t, s, set("a", "12"))
	must(t, s, set("b", "12"))
	for _, x := range []struct {
		t    Txn
		want error
	}{
		{set("c", ""), ErrFull}, {set("a", "12345678"), ErrFull}, {set("", ""), ErrKey},
		{set(string(make([]byte, KeyMax+1)), ""), ErrKey}, {set("a", string(make([]byte, ValueMax+1))), ErrValue},
	} {
		if _, err := s.Commit(x.t); err != x.want {
			t.Errorf("%v, want %v", err, x.want)
		}
	}
	if s.Revision() != 2 || len(s.List("", "", 10)) != 2 || len(s.List("a", "a", 10)) != 0 {
		t.Error("a refused transaction has left something")
	}
}

func TestLeases(t *testing.T) {
	s := NewStore(Options{})
	must(t, s, Txn{Then: []Step{{Do: Set, Key: "a", Lease: 7}, {Do: Set, Key: "b", Lease: 7}, {Do: Set, Key: "c", Lease: 8}}})
	must(t, s, set("b", "free"))
	if es := s.Drop(7); len(es) != 1 || es[0].Key != "a" || !es[0].Deleted {
		t.Fatalf("%+v", es)
	}
	if s.Drop(7) != nil || s.Drop(0) != nil || len(s.entries) != 2 {
		t.Fatal("dropped twice")
	}
}

// A plain map that is written next to the store, and the history played on another: all three agree.
func TestAgainstAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s, model, played := NewStore(Options{History: 100_000}), map[string]string{}, map[string]string{}
	for range 2000 {
		k, v := fmt.Sprint(rng.IntN(8)), fmt.Sprint(rng.IntN(4))
		old, there := model[k]
		switch rng.IntN(3) {
		case 0:
			must(t, s, set(k, v))
			model[k] = v
		case 1:
			must(t, s, Txn{Then: []Step{{Do: Delete, Key: k}}})
			delete(model, k)
		case 2:
			want := fmt.Sprint(rng.IntN(4))
			o := must(t, s, Txn{If: []Condition{{Key: k, Field: Value, Value: []byte(want)}}, Then: set(k, v).Then})
			if o.Held != (there && old == want) {
				t.Fatalf("cas of %q", old)
			}
			if o.Held {
				model[k] = v
			}
		}
	}
	events, err := s.Since(1, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Deleted {
			delete(played, e.Key)
		} else {
			played[e.Key] = string(e.Value)
		}
	}
	got := map[string]string{}
	for _, e := range s.List("", "", 100) {
		got[e.Key] = string(e.Value)
	}
	if !reflect.DeepEqual(got, model) || !reflect.DeepEqual(played, model) {
		t.Fatalf("%v, want %v; history %v", got, model, played)
	}
}
