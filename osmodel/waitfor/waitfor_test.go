package waitfor

import (
	"bytes"
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

// A wait that ended while its probe was under way makes a phantom, which Confirm tells from a deadlock.
func TestPhantomsAreNotConfirmed(t *testing.T) {
	s := NewSites()
	s.Wait("1", "2")
	s.Wait("2", "3")
	s.Chase("1")
	s.Deliver() // 2 has passed it on to 3
	s.Stop("2") // 2 gets what it wanted of 3; only now does 3 begin to wait
	s.Wait("3", "1")
	s.Run()
	if !slices.Equal(s.Declared(), []string{"1"}) {
		t.Fatalf("declared by %v: no phantom to test with", s.Declared())
	}
	if cycle, real := s.Confirm("1"); real {
		t.Errorf("confirmed %v", cycle)
	}
	s.Wait("2", "3") // a new wait over the same edge is another wait
	if _, real := s.Confirm("1"); real {
		t.Error("confirmed by a wait that began later")
	}
	s.Chase("1")
	s.Run()
	if _, real := s.Confirm("1"); !real {
		t.Error("a real deadlock is not confirmed")
	}
}

// tarjan is the other way to strongly connected components.
func tarjan(n int, out [][]int) (group []int) {
	index, low, on := make([]int, n), make([]int, n), make([]bool, n)
	group = make([]int, n)
	var stack []int
	next, groups := 1, 0
	var visit func(int)
	visit = func(v int) {
		index[v], low[v], on[v] = next, next, true
		next++
		stack = append(stack, v)
		for _, w := range out[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if on[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] == index[v] {
			for {
				w := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				on[w], group[w] = false, groups
				if w == v {
					break
				}
			}
			groups++
		}
	}
	for v := range n {
		if index[v] == 0 {
			visit(v)
		}
	}
	return group
}

func randomGraph(r *rand.Rand) (processes []string, edges []Edge, out [][]int) {
	n := 1 + r.IntN(9)
	out = make([][]int, n)
	for i := range n {
		processes = append(processes, fmt.Sprint(i))
	}
	for range r.IntN(2 * n) {
		a, b := r.IntN(n), r.IntN(n)
		edges = append(edges, Edge{fmt.Sprint(a), fmt.Sprint(b), "r"})
		out[a] = append(out[a], b)
	}
	return processes, edges, out
}

func TestCyclesAgainstTarjan(t *testing.T) {
	for s := *seed; s < *seed+5000; s++ {
		processes, edges, out := randomGraph(rand.New(rand.NewPCG(s, 1)))
		group := tarjan(len(processes), out)
		size := map[int]int{}
		for _, g := range group {
			size[g]++
		}
		var want []string
		stuck := make([]bool, len(processes))
		for i := range processes {
			if size[group[i]] > 1 || slices.Contains(out[i], i) {
				want, stuck[i] = append(want, processes[i]), true
			}
		}
		var behind []string
		for range processes { // until nothing changes any more
			for i := range processes {
				for _, w := range out[i] {
					stuck[i] = stuck[i] || stuck[w]
				}
			}
		}
		for i, id := range processes {
			if stuck[i] && !slices.Contains(want, id) {
				behind = append(behind, id)
			}
		}
		got := Analyse(processes, edges)
		if !slices.Equal(got.Deadlocked, want) || !slices.Equal(got.BlockedBehind, behind) {
			t.Fatalf("seed %d: %v: %+v, want %v and %v", s, edges, got, want, behind)
		}
		for _, c := range got.Cycles {
			for i, id := range c {
				next := c[(i+1)%len(c)]
				if !slices.ContainsFunc(edges, func(e Edge) bool { return e.From == id && e.To == next }) {
					t.Fatalf("seed %d: %v is no cycle of %v", s, c, edges)
				}
			}
		}
	}
}

// Whoever chases learns the truth: declared and confirmed exactly if the initiator is on a cycle.
func TestEdgeChasingAgainstTheWholeGraph(t *testing.T) {
	for s := *seed; s < *seed+2000; s++ {
		processes, edges, _ := randomGraph(rand.New(rand.NewPCG(s, 2)))
		sites := NewSites()
		for _, e := range edges {
			sites.Wait(e.From, e.To)
		}
		report := Analyse(processes, edges)
		for _, id := range processes {
			before := len(sites.Declared())
			sites.Chase(id)
			sent := sites.Run()
			_, real := sites.Confirm(id)
			want := slices.Contains(report.Deadlocked, id)
			if (len(sites.Declared()) > before) != want || real != want {
				t.Fatalf("seed %d: %s in %v: declared %v, confirmed %v, want %v", s, id, edges, sites.Declared(), real, want)
			}
			if len(sent) > len(edges) {
				t.Fatalf("seed %d: %d probes over %d edges", s, len(sent), len(edges))
			}
		}
	}
}

func TestAnyOfSeveralIsEnough(t *testing.T) {
	ps := []string{"a", "b", "c", "d"}
	ring := []Edge{{"a", "b", ""}, {"b", "c", ""}, {"c", "a", ""}}
	if got := AnalyseAny(ps, ring); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("a knot: %v", got)
	}
	if got := AnalyseAny(ps, append(ring, Edge{"c", "d", ""})); len(got) != 0 {
		t.Errorf("a cycle with a way out: %v", got)
	}
}

// Under either rule all waits point the same way in age, so no random history closes a cycle.
func TestPreventionClosesNoCycle(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 3))
		for _, rule := range []func(a, b Stamp) Verdict{WaitDie, WoundWait} {
			const n = 6
			stamps, holder, waits := make([]Stamp, n), map[int]int{}, map[int]int{}
			for i := range stamps {
				stamps[i] = Stamp{r.Uint64N(4), fmt.Sprint(i)}
			}
			rollback := func(p int) {
				for res, h := range holder {
					if h == p {
						delete(holder, res)
					}
				}
				delete(waits, p)
			}
			for range 100 {
				p, res := r.IntN(n), r.IntN(5)
				if _, waiting := waits[p]; waiting {
					continue
				}
				h, held := holder[res]
				switch {
				case !held:
					holder[res] = p
				case h == p:
				default:
					switch rule(stamps[p], stamps[h]) {
					case Wait:
						waits[p] = res
					case Die:
						rollback(p)
					case Wound:
						rollback(h)
						holder[res] = p
					}
				}
				// A holder that changed under a waiting request is a new meeting.
				for q, res := range waits {
					h, held := holder[res]
					if !held {
						holder[res] = q
						delete(waits, q)
					} else if v := rule(stamps[q], stamps[h]); v == Die {
						rollback(q)
					} else if v == Wound {
						rollback(h)
						holder[res] = q
						delete(waits, q)
					}
				}
				var ps []string
				var edges []Edge
				for i := range n {
					ps = append(ps, fmt.Sprint(i))
					if res, ok := waits[i]; ok {
						if h, held := holder[res]; held {
							edges = append(edges, Edge{fmt.Sprint(i), fmt.Sprint(h), ""})
						}
					}
				}
				if d := Analyse(ps, edges).Deadlocked; len(d) > 0 {
					t.Fatalf("seed %d: %v are deadlocked: %v", s, d, edges)
				}
			}
		}
	}
	old, young := Stamp{1, "a"}, Stamp{1, "b"}
	if WaitDie(old, young) != Wait || WaitDie(young, old) != Die || WoundWait(old, young) != Wound || WoundWait(young, old) != Wait {
		t.Error("the verdicts")
	}
}

// Whatever the graph: in the end nobody is deadlocked, every wait points the way the rule allows, and the oldest process is
// never rolled back.
func TestPreventedGraphs(t *testing.T) {
	for s := *seed; s < *seed+2000; s++ {
		r := rand.New(rand.NewPCG(s, 6))
		g := NewGraph()
		n := 1 + r.IntN(8)
		for i := range n {
			if err := g.Holds(fmt.Sprint("P", r.IntN(n)), fmt.Sprint("R", i)); err != nil {
				t.Fatal(err)
			}
		}
		for range r.IntN(3 * n) {
			g.Wants(fmt.Sprint("P", r.IntN(n)), fmt.Sprint("R", r.IntN(n+2)))
		}
		ps := g.Processes()
		for _, rule := range []func(a, b Stamp) Verdict{WaitDie, WoundWait} {
			p := g.Prevent(rule)
			if d := Analyse(ps, p.Waiting).Deadlocked; d != nil {
				t.Fatalf("seed %d: %v are deadlocked: %+v", s, d, p)
			}
			for _, e := range p.Waiting {
				a, b := Stamp{Time: uint64(slices.Index(ps, e.From))}, Stamp{Time: uint64(slices.Index(ps, e.To))}
				if e.To == "" || rule(a, b) != Wait || slices.Contains(p.RolledBack, e.From) || slices.Contains(p.RolledBack, e.To) {
					t.Fatalf("seed %d: %v waits in %+v", s, e, p)
				}
			}
			if slices.Contains(p.RolledBack, ps[0]) || len(slices.Compact(slices.Sorted(slices.Values(p.RolledBack)))) != len(p.RolledBack) {
				t.Fatalf("seed %d: rolled back %v", s, p.RolledBack)
			}
		}
	}
	g := read(t, "A holds R\nB holds S\nA wants S\nB wants R")
	if p := g.Prevent(WaitDie); !slices.Equal(p.RolledBack, []string{"B"}) || !slices.Equal(p.Meetings, []Meeting{{"A", "S", "B", Wait}, {"B", "R", "A", Die}, {"A", "S", "", ""}}) {
		t.Errorf("wait-die: %+v", p)
	}
	if p := g.Prevent(WoundWait); !slices.Equal(p.RolledBack, []string{"B"}) || !slices.Equal(p.Meetings, []Meeting{{"A", "S", "B", Wound}, {"A", "S", "", ""}}) {
		t.Errorf("wound-wait: %+v", p)
	}
}

func TestVictimAndDecider(t *testing.T) {
	ms := []Member{{"a", 5, 1, 1}, {"b", 2, 1, 3}, {"c", 2, 9, 2}, {"d", 2, 9, 1}, {"e", 2, 9, 1}}
	for n, want := range map[int]string{0: "", 1: "a", 2: "b", 3: "c", 4: "d", 5: "e"} {
		if got := Victim(ms[:n]); got != want {
			t.Errorf("of %d: %q, want %q", n, got, want)
		}
	}
	if Decider([]string{"P2", "P9", "P3"}) != "P9" || Decider(nil) != "" {
		t.Error("the decider")
	}
}

// Without its victims a graph has no cycle, and there are no more of them than needed one by one.
func TestVictimsBreakEveryCycle(t *testing.T) {
	if got := read(t, mos).Victims(); !slices.Equal(got, []string{"G"}) { // the youngest of D, E, G
		t.Errorf("%v", got)
	}
	for s := *seed; s < *seed+1000; s++ {
		r := rand.New(rand.NewPCG(s, 5))
		g := NewGraph()
		n := 1 + r.IntN(8)
		for i := range n {
			if err := g.Holds(fmt.Sprint("P", i), fmt.Sprint("R", i)); err != nil {
				t.Fatal(err)
			}
		}
		for range r.IntN(2 * n) {
			g.Wants(fmt.Sprint("P", r.IntN(n)), fmt.Sprint("R", r.IntN(n)))
		}
		victims := g.Victims()
		edges := slices.DeleteFunc(g.Edges(), func(e Edge) bool { return slices.Contains(victims, e.From) || slices.Contains(victims, e.To) })
		if left := Analyse(g.Processes(), edges).Deadlocked; left != nil {
			t.Fatalf("seed %d: %v are left without %v", s, left, victims)
		}
		if (len(victims) == 0) != (len(g.Analyse().Deadlocked) == 0) {
			t.Fatalf("seed %d: victims %v", s, victims)
		}
	}
}

func TestWouldDeadlock(t *testing.T) {
	g := read(t, "A holds R\nB holds S\nA wants S")
	if !g.WouldDeadlock("B", "R") || g.WouldDeadlock("C", "R") || g.WouldDeadlock("B", "free") || !g.WouldDeadlock("B", "S") {
		t.Error("EDEADLK is given where it should not be, or not where it should")
	}
}

func TestTraceErrors(t *testing.T) {
	for _, bad := range []string{"", "A holds", "A has R", "A holds R S", "A holds R\nB holds R"} {
		_, err := ReadTrace(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if g := read(t, "A holds R\nA holds R\nA wants S\nA wants S"); len(g.Edges()) != 0 {
		t.Error(g.Edges())
	}
}

func TestDOT(t *testing.T) {
	var b bytes.Buffer
	if err := read(t, "A holds R\nB holds S\nA wants S\nB wants R\nC wants \"R\"").WriteDOT(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"p:A" [label="A", color=red];`, `"r:R" -> "p:A";`, `"p:A" -> "r:S" [style=dashed];`, `"p:C" -> "r:\"R\""`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing in\n%s", want, &b)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add(mos)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ReadTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		r := g.Analyse()
		if len(r.Deadlocked)+len(r.BlockedBehind) > len(g.Processes()) || (len(r.Deadlocked) == 0) != (len(r.Cycles) == 0) {
			t.Fatalf("%+v", r)
		}
		if err := g.WriteDOT(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.SVG("fuzz").WriteTo(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

func ExampleGraph_Analyse() {
	g, err := ReadTrace(strings.NewReader(mos))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := g.Analyse()
	fmt.Println("deadlocked", r.Deadlocked, "behind them", r.BlockedBehind)
	// Output:
	// deadlocked [D E G] behind them [B]
}
