package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"dfs/osmodel/draw"
	"dfs/osmodel/trace"
	"dfs/osmodel/waitfor"
)

func simDeadlock() simulator {
	return simulator{
		kind:  "deadlock",
		short: "find who is deadlocked and who only waits",
		long: `deadlock finds the cycles of a wait-for graph. A line of the trace is

  PROCESS holds RESOURCE
  PROCESS wants RESOURCE

Every resource has one instance; a process waits for all it wants; a wanted resource that nobody holds makes nobody
wait. Who waits for a deadlocked process without being on a cycle is blocked behind it.`,
		flags: func(f *pflag.FlagSet) { f.Bool("dot", false, "print the graph in Graphviz's language") },
		solve: solveDeadlock,
	}
}

type deadlockDoc struct {
	Schema        int            `json:"schema"`
	Deadlocked    []string       `json:"deadlocked"`
	BlockedBehind []string       `json:"blocked_behind"`
	Cycles        [][]string     `json:"cycles"`
	Waits         []deadlockEdge `json:"waits"`
}

type deadlockEdge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Resource string `json:"resource"`
}

func newDeadlockDoc(g *waitfor.Graph) deadlockDoc {
	r := g.Analyse()
	d := deadlockDoc{1, present(r.Deadlocked), present(r.BlockedBehind), r.Cycles, []deadlockEdge{}}
	if d.Cycles == nil {
		d.Cycles = [][]string{}
	}
	for _, e := range g.Edges() {
		d.Waits = append(d.Waits, deadlockEdge{e.From, e.To, e.Over})
	}
	return d
}

func solveDeadlock(f *pflag.FlagSet, text string) (*solution, error) {
	g, err := waitfor.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	lines, err := trace.Lines(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	doc := newDeadlockDoc(g)
	show := deadlockText
	if dot, _ := f.GetBool("dot"); dot {
		show = func(w io.Writer, _ deadlockDoc) { _ = g.WriteDOT(w) }
	}
	expected := strings.Join(doc.Deadlocked, ",")
	if expected == "" {
		expected = "none"
	}
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { show(w, doc) },
		chart:   func(w io.Writer) { deadlockEdges(w, doc) },
		picture: func() *draw.Picture { return g.SVG("wait-for graph") },
		steps:   len(lines),
		step: func(w io.Writer, i int) {
			var part strings.Builder
			for _, l := range lines[:i+1] {
				fmt.Fprintln(&part, strings.Join(l.Words, " "))
			}
			fmt.Fprintln(w, strings.Join(lines[i].Words, " "))
			if g, err := waitfor.ReadTrace(strings.NewReader(part.String())); err == nil {
				deadlockEdges(w, newDeadlockDoc(g))
				deadlockText(w, newDeadlockDoc(g))
			}
		},
		question: "Which processes are deadlocked? Answer with their names, separated by commas, or with: none",
		expected: expected,
		check: func(answer string) bool {
			got := words(answer)
			if len(got) == 1 && strings.EqualFold(got[0], "none") && len(doc.Deadlocked) == 0 {
				return true
			}
			slices.Sort(got)
			return len(got) > 0 && slices.Equal(slices.Compact(got), slices.Sorted(slices.Values(doc.Deadlocked)))
		},
	}, nil
}

func deadlockEdges(w io.Writer, d deadlockDoc) {
	for _, e := range d.Waits {
		mark := ""
		if slices.Contains(d.Deadlocked, e.From) && slices.Contains(d.Deadlocked, e.To) {
			mark = " *"
		}
		fmt.Fprintf(w, "%s --%s--> %s%s\n", e.From, e.Resource, e.To, mark)
	}
}

func deadlockText(w io.Writer, d deadlockDoc) {
	if len(d.Deadlocked) == 0 {
		fmt.Fprintln(w, "no deadlock")
		return
	}
	fmt.Fprintf(w, "deadlocked: %s\n", strings.Join(d.Deadlocked, ", "))
	for _, c := range d.Cycles {
		fmt.Fprintf(w, "cycle: %s -> %s\n", strings.Join(c, " -> "), c[0])
	}
	if len(d.BlockedBehind) > 0 {
		fmt.Fprintf(w, "blocked behind them: %s\n", strings.Join(d.BlockedBehind, ", "))
	}
}
