package exercises

import (
	"strings"
	"testing"

	"dfs/osmodel/alloc"
	"dfs/osmodel/banker"
	"dfs/osmodel/cpu"
	"dfs/osmodel/paging"
	"dfs/osmodel/waitfor"
)

// read parses a problem of a kind.
func read(t *testing.T, kind, text string) {
	t.Helper()
	var err error
	r := strings.NewReader(text)
	switch kind {
	case "sched":
		_, err = cpu.ReadTrace(r)
	case "mem":
		_, err = alloc.ReadTrace(r)
	case "paging":
		_, err = paging.ReadTrace(r)
	case "banker":
		_, err = banker.ReadTrace(r)
	case "deadlock":
		if _, err = waitfor.ReadTrace(r); err != nil { // several instances of a resource
			_, err = banker.ReadSnapshot(strings.NewReader(text))
		}
	default:
		t.Errorf("%q is no simulator", kind)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", kind, err, text)
	}
}

func TestEveryExerciseIsWellFormed(t *testing.T) {
	all, err := All()
	if err != nil || len(all) < 20 {
		t.Fatal(len(all), err)
	}
	for _, e := range all {
		read(t, e.Kind, e.Trace)
		if e.Title == "" || e.Source == "" {
			t.Errorf("%s does not say what it is", e.Name)
		}
	}
	if e, err := Find("sched-rr"); err != nil || e == nil || strings.Join(e.Flags, " ") != "--discipline rr --quantum 4" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := Find("nothing"); e != nil || err != nil {
		t.Error(e, err)
	}
}

func TestGeneratedProblems(t *testing.T) {
	for _, kind := range []string{"sched", "mem", "paging", "banker", "deadlock"} {
		for seed := range uint64(200) {
			text := Generate(kind, seed)
			read(t, kind, text)
			if text != Generate(kind, seed) {
				t.Fatalf("%s: seed %d makes two problems", kind, seed)
			}
		}
		if Generate(kind, 1) == Generate(kind, 2) {
			t.Errorf("%s: two seeds make one problem", kind)
		}
	}
}

// Generated banks begin safe, and the requests do not all end alike.
func TestGeneratedBanksBeginSafe(t *testing.T) {
	seen := map[banker.Outcome]int{}
	for seed := range uint64(200) {
		p, err := banker.ReadTrace(strings.NewReader(Generate("banker", seed)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := banker.New(p.Total)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range p.Ops {
			s := b.Do(op)
			if op.Verb == "process" && s.Err != nil || op.Verb == "request" && s.Outcome == banker.Granted && s.Safe == nil {
				t.Fatalf("seed %d: %+v", seed, s)
			}
			if op.Verb == "request" {
				seen[s.Outcome]++
			}
		}
	}
	if seen[banker.Granted] == 0 || seen[banker.Waits] == 0 || seen[banker.Denied] == 0 {
		t.Errorf("outcomes %v", seen)
	}
}

func TestSomeGeneratedGraphsAreDeadlocked(t *testing.T) {
	dead := 0
	for seed := range uint64(200) {
		g, err := waitfor.ReadTrace(strings.NewReader(Generate("deadlock", seed)))
		if err != nil {
			t.Fatal(err)
		}
		if len(g.Analyse().Deadlocked) > 0 {
			dead++
		}
	}
	if dead < 20 || dead > 180 {
		t.Errorf("%d of 200", dead)
	}
}
