package plane

import (
	"fmt"
	"slices"
	"strings"

	"dfs/cluster/fault"
	"dfs/osmodel/banker"
	"dfs/osmodel/waitfor"
)

// Graph is who holds and who wants what, at one moment of the log, over semaphores, the bank and whatever is added.
type Graph struct {
	resources []string
	free      []int64
	processes []process
	resource  map[string]int // index of each
	process   map[string]int
}

// process is one node: what it holds and wants, as indexes of resources and numbers of units.
type process struct {
	name         string
	born         uint64 // its newest session
	holds, wants []units
}

type units struct {
	resource int
	n        int64
}

// NewGraph makes an empty graph.
func NewGraph() *Graph { return &Graph{resource: map[string]int{}, process: map[string]int{}} }

// Resource notes that nobody holds n more units of a resource, and returns its index.
func (g *Graph) Resource(name string, n int64) int {
	i, known := g.resource[name]
	if !known {
		i = len(g.resources)
		g.resource[name] = i
		g.resources, g.free = append(g.resources, name), append(g.free, 0)
	}
	g.free[i] += n
	return i
}

// Holds notes that process holds n of a resource; born orders processes by age.
func (g *Graph) Holds(process, resource string, n int64, born uint64) {
	p := g.meet(process, born)
	p.holds = append(p.holds, units{g.Resource(resource, 0), n})
}

// Wants notes that process waits until it gets n of a resource.
func (g *Graph) Wants(process, resource string, n int64, born uint64) {
	p := g.meet(process, born)
	p.wants = append(p.wants, units{g.Resource(resource, 0), n})
}

func (g *Graph) meet(name string, born uint64) *process {
	i, known := g.process[name]
	if !known {
		i = len(g.processes)
		g.process[name] = i
		g.processes = append(g.processes, process{name: name})
	}
	p := &g.processes[i]
	p.born = max(p.born, born)
	return p
}

// Deadlock is what Check finds.
type Deadlock struct {
	Deadlocked    []string
	BlockedBehind []string
	Cycles        [][]string
	Victims       []string // to end, one after the other, until nothing is deadlocked: the youngest, then whoever holds least
}

// Check finds the deadlocked. Resources have several units, so a circle of waiting is not enough: whoever can go on is
// assumed to finish and give back (the matrix algorithm of osmodel/banker, on a sparse matrix). Circles are drawn among
// those who are left.
func (g *Graph) Check() (d Deadlock) {
	stuck := g.stuck()
	d.Deadlocked, d.Cycles = g.circles(stuck)
	if len(d.Deadlocked) == 0 {
		return d
	}
	d.Victims = g.victims(stuck)
	var waiting []int
	for i, p := range g.processes {
		if len(p.wants) > 0 {
			waiting = append(waiting, i)
		}
	}
	names := g.names(waiting)
	r := waitfor.Analyse(names, g.edges(waiting))
	for k, p := range names {
		if !slices.Contains(d.Deadlocked, p) && (slices.Contains(stuck, waiting[k]) || slices.Contains(r.BlockedBehind, p)) {
			d.BlockedBehind = append(d.BlockedBehind, p)
		}
	}
	return d
}

// stuck returns the processes that hold something and can never go on.
func (g *Graph) stuck() (left []int) {
	free := slices.Clone(g.free)
	for i, p := range g.processes {
		if len(p.holds) > 0 {
			left = append(left, i)
		}
	}
	for {
		n := len(left)
		left = slices.DeleteFunc(left, func(i int) bool {
			p := &g.processes[i]
			if slices.ContainsFunc(p.wants, func(w units) bool { return w.n > free[w.resource] }) {
				return false
			}
			for _, h := range p.holds {
				free[h.resource] += h.n
			}
			return true
		})
		if len(left) == n {
			return left
		}
	}
}

// circles returns those of the stuck that lie on a circle of waiting, and the circles.
func (g *Graph) circles(stuck []int) (on []string, circles [][]string) {
	r := waitfor.Analyse(g.names(stuck), g.edges(stuck))
	return r.Deadlocked, r.Cycles
}

// edges returns which of some processes waits for which: for all that hold what it wants too much of.
func (g *Graph) edges(among []int) (edges []waitfor.Edge) {
	holders := map[int][]int{}
	for _, i := range among {
		for _, h := range g.processes[i].holds {
			holders[h.resource] = append(holders[h.resource], i)
		}
	}
	for _, i := range among {
		p := &g.processes[i]
		for _, w := range p.wants {
			if w.n <= g.free[w.resource] {
				continue
			}
			for _, h := range holders[w.resource] {
				edges = append(edges, waitfor.Edge{From: p.name, To: g.processes[h].name, Over: g.resources[w.resource]})
			}
		}
	}
	return edges
}

func (g *Graph) names(of []int) (names []string) {
	for _, i := range of {
		names = append(names, g.processes[i].name)
	}
	return names
}

// victims asks the model whom to end of the stuck.
func (g *Graph) victims(stuck []int) []string {
	column := map[int]int{} // of resources that matter: those that are wanted
	var free []int64
	for _, i := range stuck {
		for _, w := range g.processes[i].wants {
			if _, known := column[w.resource]; !known {
				column[w.resource] = len(free)
				free = append(free, g.free[w.resource])
			}
		}
	}
	for i, p := range g.processes {
		if slices.Contains(stuck, i) {
			continue
		}
		for _, h := range p.holds { // it gives that back
			if k, known := column[h.resource]; known {
				free[k] += h.n
			}
		}
	}
	row := func(us []units) []int64 {
		v := make([]int64, len(free))
		for _, u := range us {
			if k, known := column[u.resource]; known {
				v[k] += u.n
			}
		}
		return v
	}
	var holders []banker.Holder
	for _, i := range stuck {
		p := &g.processes[i]
		holders = append(holders, banker.Holder{ID: p.name, Allocated: row(p.holds), Request: row(p.wants), Started: int64(p.born)})
	}
	return banker.Recover(free, holders)
}

// Edges returns who waits for whom, over what.
func (g *Graph) Edges() []waitfor.Edge {
	all := make([]int, len(g.processes))
	for i := range all {
		all[i] = i
	}
	return g.edges(all)
}

// DOT writes the graph in Graphviz's language: processes are ellipses, resources boxes; the deadlocked are red, those
// blocked behind them orange.
func (g *Graph) DOT() string {
	d := g.Check()
	var b strings.Builder
	b.WriteString("digraph deadlock {\n")
	for _, p := range g.processes {
		colour := "black"
		if slices.Contains(d.Deadlocked, p.name) {
			colour = "red"
		} else if slices.Contains(d.BlockedBehind, p.name) {
			colour = "orange"
		}
		fmt.Fprintf(&b, "  %s [label=%s, color=%s];\n", quoted("p:"+p.name), quoted(p.name), colour)
	}
	for _, r := range g.resources {
		fmt.Fprintf(&b, "  %s [label=%s, shape=box];\n", quoted("r:"+r), quoted(r))
	}
	for _, p := range g.processes {
		for _, h := range p.holds {
			fmt.Fprintf(&b, "  %s -> %s [label=\"%d\"];\n", quoted("r:"+g.resources[h.resource]), quoted("p:"+p.name), h.n)
		}
		for _, w := range p.wants {
			fmt.Fprintf(&b, "  %s -> %s [label=\"%d\", style=dashed];\n", quoted("p:"+p.name), quoted("r:"+g.resources[w.resource]), w.n)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// addSemaphore notes one semaphore. owner names the process of a session.
func (g *Graph) addSemaphore(s Semaphore, owner func(uint64) string) {
	name := "semaphore " + s.Name
	g.Resource(name, int64(s.Free()))
	for _, c := range s.Holders {
		g.Holds(owner(c.Session), name, int64(c.Permits), c.Session)
	}
	for _, c := range s.Waiters {
		g.Wants(owner(c.Session), name, int64(c.Permits), c.Session)
	}
}

func (g *Graph) addBank(b Bank, owner func(uint64) string) {
	process := func(p string) (string, uint64) {
		if s := b.session(p); s != 0 && owner(s) != "" {
			return owner(s), s
		}
		return p, 0
	}
	for i, r := range b.Types {
		free := b.Total[i]
		for _, p := range b.Processes {
			free -= p.Allocated[i]
			if p.Allocated[i] > 0 {
				name, born := process(p.Name)
				g.Holds(name, r, p.Allocated[i], born)
			}
		}
		for _, w := range b.Waiting {
			if w.Want[i] > 0 {
				name, born := process(w.Name)
				g.Wants(name, r, w.Want[i], born)
			}
		}
		g.Resource(r, free)
	}
}

// circle returns the circle of waiting that a session's process lies on, nil if there is none.
func (m *machine) circle(session uint64) []string {
	r, err := View{r: m.tx}.answerGraph()
	if err != nil {
		m.fail(err)
		return nil
	}
	s, err := m.session(session)
	if err != nil {
		return nil
	}
	g := r.Graph()
	_, circles := g.circles(g.stuck())
	for _, c := range circles {
		if slices.Contains(c, s.Process()) {
			return c
		}
	}
	return nil
}

func deadlockError(circle []string) error {
	err := fault.New("semaphore", fault.Refused, "waiting would be a deadlock: %s", strings.Join(append(circle, circle[0]), " waits for "))
	return fault.Advise(err, "give back what this process holds, or dfsctl deadlock check")
}

func sessionName(id uint64) string { return fmt.Sprintf("session-%d", id) }
