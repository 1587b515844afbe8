package banker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"dfs/osmodel/trace"
)

const osc872 = `A has 7
B has 2
C has 6
P0 holds B
P1 holds A 2
P1 wants A 2
P1 wants C 2
P2 holds A 3
P2 holds C 3
P3 holds A 2
P3 holds B
P3 holds C
P3 wants A
P4 holds C 2
P4 wants C 2
`

func snapshot(t *testing.T, text string) Snapshot {
	t.Helper()
	s, err := ReadSnapshot(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// G21 and G22 as a trace.
func TestSnapshotOfTheBook(t *testing.T) {
	s := snapshot(t, osc872)
	if !slices.Equal(s.Available, digits("000")) || !slices.Equal(s.Resources, []string{"A", "B", "C"}) {
		t.Errorf("%+v", s)
	}
	if deadlocked, behind, finish := s.Analyse(); deadlocked != nil || behind != nil || len(finish) != 5 {
		t.Errorf("deadlocked %v, behind %v, finish %v", deadlocked, behind, finish)
	}
	deadlocked, behind, finish := snapshot(t, osc872+"P2 wants C\nP9 wants B 2\nP8 wants B").Analyse()
	if !slices.Equal(deadlocked, names("P", 1, 4)) || !slices.Equal(behind, []string{"P9"}) || !slices.Equal(finish, []string{"P0", "P8"}) {
		t.Errorf("deadlocked %v, behind %v, finish %v", deadlocked, behind, finish)
	}
}

func TestSnapshotErrors(t *testing.T) {
	for _, bad := range []string{"", "R has 2", "A holds", "R has x", "R has 1 2", "A eats R", "A holds R 2", "A holds R\nB holds R", "A wants R -1",
		"A wants R 1000000000000\nA wants R 1", "A", "A holds R 1 2"} {
		_, err := ReadSnapshot(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Everybody is in exactly one of the three lists, and those that finish do so in their order.
func TestSnapshotsAreSettled(t *testing.T) {
	for n := *seed; n < *seed+500; n++ {
		r := rand.New(rand.NewPCG(n, 9))
		text := "R0 has 4\nR1 has 3\n"
		free := []int{4, 3}
		for p := range 1 + r.IntN(6) {
			for k := range 2 {
				some := r.IntN(free[k] + 1)
				free[k] -= some
				text += fmt.Sprintf("P%d holds R%d %d\nP%d wants R%d %d\n", p, k, some, p, k, r.IntN(4))
			}
		}
		s := snapshot(t, text)
		deadlocked, behind, finish := s.Analyse()
		all := slices.Sorted(slices.Values(slices.Concat(deadlocked, behind, finish)))
		var want []string
		work := slices.Clone(s.Available)
		for _, h := range s.Holders {
			want = append(want, h.ID)
		}
		for _, id := range finish {
			h := s.Holders[slices.Index(want, id)]
			if !atMost(h.Request, work) {
				t.Fatalf("seed %d: %s cannot finish\n%s", n, id, text)
			}
			add(work, h.Allocated)
		}
		for _, id := range slices.Concat(deadlocked, behind) {
			if h := s.Holders[slices.Index(want, id)]; atMost(h.Request, work) {
				t.Fatalf("seed %d: %s could finish\n%s", n, id, text)
			}
		}
		if !slices.Equal(all, want) {
			t.Fatalf("seed %d: %v of %v\n%s", n, all, want, text)
		}
	}
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(osc872)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ReadSnapshot(strings.NewReader(text))
		if err != nil || len(s.Holders) > 100 {
			return
		}
		deadlocked, behind, finish := s.Analyse()
		if len(deadlocked)+len(behind)+len(finish) != len(s.Holders) {
			t.Fatalf("%v %v %v of %d", deadlocked, behind, finish, len(s.Holders))
		}
		if victims := Recover(s.Available, s.Holders); (len(victims) == 0) != (len(deadlocked) == 0) {
			t.Fatalf("%v of %v", victims, deadlocked)
		}
	})
}
