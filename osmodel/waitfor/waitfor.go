// Package waitfor finds deadlocks among processes that wait for one another.
//
// A process waits for all of the processes that hold what it wants (the AND model), and every resource has one instance:
// then a process is deadlocked exactly if it lies on a cycle of the wait-for graph. Those that only wait, directly or
// not, for a process on a cycle are reported apart: they go on when the cycle is broken. A wanted resource that nobody
// holds makes nobody wait. Analyse takes time in proportion to processes and edges.
package waitfor

import (
	"fmt"
	"slices"
)

// Edge says that From waits for To, for the reason Over.
type Edge struct{ From, To, Over string }

// Report is what Analyse finds. Processes are listed in the order they were given in.
type Report struct {
	Deadlocked    []string   // on a cycle
	BlockedBehind []string   // waiting for those, on no cycle themselves
	Cycles        [][]string // one shortest cycle for each group of processes that wait for one another
}

// Analyse finds the deadlocked among processes. Edges to or from others are ignored.
func Analyse(processes []string, edges []Edge) (r Report) {
	g := newDigraph(processes, edges)
	group, size := g.groups()
	cyclic := make([]bool, len(processes)) // on a cycle
	for i := range processes {
		cyclic[i] = size[group[i]] > 1 || slices.Contains(g.out[i], i)
	}
	behind := g.reaching(cyclic)
	shown := map[int]bool{}
	for i, id := range processes {
		switch {
		case cyclic[i]:
			r.Deadlocked = append(r.Deadlocked, id)
			if !shown[group[i]] {
				shown[group[i]] = true
				r.Cycles = append(r.Cycles, g.cycle(processes, i))
			}
		case behind[i]:
			r.BlockedBehind = append(r.BlockedBehind, id)
		}
	}
	return r
}

// AnalyseAny finds the deadlocked where a process goes on as soon as any one of those it waits for does (the OR model):
// those from which no process that does not wait can be reached. A knot of the graph is the core of each such set.
func AnalyseAny(processes []string, edges []Edge) (deadlocked []string) {
	g := newDigraph(processes, edges)
	active := make([]bool, len(processes))
	for i := range processes {
		active[i] = len(g.out[i]) == 0
	}
	hope := g.reaching(active)
	for i, id := range processes {
		if !hope[i] {
			deadlocked = append(deadlocked, id)
		}
	}
	return deadlocked
}

// digraph is the graph in numbers.
type digraph struct{ out, in [][]int }

func newDigraph(processes []string, edges []Edge) digraph {
	index := make(map[string]int, len(processes))
	for i, id := range processes {
		index[id] = i
	}
	g := digraph{make([][]int, len(processes)), make([][]int, len(processes))}
	for _, e := range edges {
		a, okA := index[e.From]
		b, okB := index[e.To]
		if okA && okB {
			g.out[a] = append(g.out[a], b)
			g.in[b] = append(g.in[b], a)
		}
	}
	return g
}

// groups numbers the strongly connected components and counts their members: Kosaraju's two depth-first searches.
func (g digraph) groups() (group []int, size []int) {
	const white, grey, black = 0, 1, 2
	n := len(g.out)
	colour, next := make([]byte, n), make([]int, n)
	finished := make([]int, 0, n)
	for root := range n {
		stack := []int{root}
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			if colour[v] == white {
				colour[v] = grey
			}
			if colour[v] == grey && next[v] < len(g.out[v]) {
				w := g.out[v][next[v]]
				next[v]++
				if colour[w] == white {
					stack = append(stack, w)
				}
				continue
			}
			if colour[v] == grey {
				colour[v] = black
				finished = append(finished, v)
			}
			stack = stack[:len(stack)-1]
		}
	}
	group = make([]int, n)
	for i := range group {
		group[i] = -1
	}
	for k := n - 1; k >= 0; k-- {
		if group[finished[k]] >= 0 {
			continue
		}
		number := len(size)
		size = append(size, 0)
		stack := []int{finished[k]}
		group[finished[k]] = number
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			size[number]++
			for _, w := range g.in[v] {
				if group[w] < 0 {
					group[w] = number
					stack = append(stack, w)
				}
			}
		}
	}
	return group, size
}

// reaching returns which nodes have a way to one of the marked, those included.
func (g digraph) reaching(marked []bool) []bool {
	seen := slices.Clone(marked)
	var stack []int
	for i, m := range marked {
		if m {
			stack = append(stack, i)
		}
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, w := range g.in[v] {
			if !seen[w] {
				seen[w] = true
				stack = append(stack, w)
			}
		}
	}
	return seen
}

// cycle returns a shortest cycle through start, beginning there. There is one.
func (g digraph) cycle(names []string, start int) []string {
	from := map[int]int{}
	queue := []int{start}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, w := range g.out[v] {
			if w == start {
				path := []string{names[v]}
				for v != start {
					v = from[v]
					path = append(path, names[v])
				}
				slices.Reverse(path)
				return path
			}
			if _, seen := from[w]; !seen {
				from[w] = v
				queue = append(queue, w)
			}
		}
	}
	return nil
}

// Graph records who holds and who wants which resource.
type Graph struct {
	processes []string
	known     map[string]bool
	holder    map[string]string   // of each resource that is held
	holds     map[string][]string // resources of each process, in order
	wants     map[string][]string
}

// NewGraph makes an empty graph.
func NewGraph() *Graph {
	return &Graph{known: map[string]bool{}, holder: map[string]string{}, holds: map[string][]string{}, wants: map[string][]string{}}
}

func (g *Graph) meet(process string) {
	if !g.known[process] {
		g.known[process] = true
		g.processes = append(g.processes, process)
	}
}

// Holds notes that process holds resource. It is an error if another one does.
func (g *Graph) Holds(process, resource string) error {
	if h, held := g.holder[resource]; held && h != process {
		return fmt.Errorf("waitfor: %s is held by %s already", resource, h)
	} else if !held {
		g.meet(process)
		g.holder[resource] = process
		g.holds[process] = append(g.holds[process], resource)
	}
	return nil
}

// Wants notes that process waits until it gets resource. Wanting what one holds oneself is a deadlock of one.
func (g *Graph) Wants(process, resource string) {
	g.meet(process)
	if !slices.Contains(g.wants[process], resource) {
		g.wants[process] = append(g.wants[process], resource)
	}
}

// Processes returns all of them in the order they were first named.
func (g *Graph) Processes() []string { return slices.Clone(g.processes) }

// Edges returns who waits for whom.
func (g *Graph) Edges() (edges []Edge) {
	for _, p := range g.processes {
		for _, r := range g.wants[p] {
			if h, held := g.holder[r]; held {
				edges = append(edges, Edge{p, h, r})
			}
		}
	}
	return edges
}

// Analyse finds the deadlocks.
func (g *Graph) Analyse() Report { return Analyse(g.processes, g.Edges()) }

// Victims returns whom to end so that no cycle is left: of a shortest cycle the member that Victim chooses, all being
// equally important and the later named the younger, and so on until there is none.
func (g *Graph) Victims() (victims []string) {
	edges := g.Edges()
	for {
		cycles := Analyse(g.processes, edges).Cycles
		if len(cycles) == 0 {
			return victims
		}
		var members []Member
		for _, id := range cycles[0] {
			members = append(members, Member{ID: id, Started: int64(slices.Index(g.processes, id)), Held: len(g.holds[id])})
		}
		v := Victim(members)
		victims = append(victims, v)
		edges = slices.DeleteFunc(edges, func(e Edge) bool { return e.From == v || e.To == v })
	}
}

// WouldDeadlock reports whether process would lie on a cycle if it waited for resource.
func (g *Graph) WouldDeadlock(process, resource string) bool {
	h, held := g.holder[resource]
	if !held {
		return false
	}
	processes := g.Processes()
	if !g.known[process] {
		processes = append(processes, process)
	}
	r := Analyse(processes, append(g.Edges(), Edge{process, h, resource}))
	return slices.Contains(r.Deadlocked, process)
}
