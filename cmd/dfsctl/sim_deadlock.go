package main

import (
	"cmp"
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
wait. Who waits for a deadlocked process without being on a cycle is blocked behind it.

With several instances of a resource, told by lines RESOURCE has N, holds and wants may bear a number too, and the matrix
method decides: who holds something and cannot finish is deadlocked. --chase P lets P find out by edge chasing;
--prevent says what a rule makes of the requests, processes being the older the earlier the trace names them.`,
		flags: func(f *pflag.FlagSet) {
			f.Bool("dot", false, "print the graph in Graphviz's language")
			f.String("chase", "", "a process that asks by probes whether it is deadlocked (Chandy, Misra, Haas)")
			f.String("prevent", "", "wait-die|wound-wait: what the rule makes of each request")
		},
		solve: solveDeadlock,
	}
}

type deadlockDoc struct {
	Schema        int            `json:"schema"`
	Deadlocked    []string       `json:"deadlocked"`
	BlockedBehind []string       `json:"blocked_behind"`
	Cycles        [][]string     `json:"cycles"`
	Waits         []deadlockEdge `json:"waits"`
	Victims       []string       `json:"victims"` // whom to end
	Chase         *deadlockChase `json:"chase,omitempty"`
	Prevention    *deadlockRule  `json:"prevention,omitempty"`
}

// deadlockRule is what came of --prevent.
type deadlockRule struct {
	Rule       string            `json:"rule"`
	Meetings   []deadlockMeeting `json:"meetings"`
	RolledBack []string          `json:"rolled_back"`
}

type deadlockMeeting struct {
	Process  string  `json:"process"`
	Resource string  `json:"resource"`
	Holder   *string `json:"holder"`  // null where it was free
	Outcome  string  `json:"outcome"` // takes, wait, die, wound
}

// deadlockChase is what came of --chase.
type deadlockChase struct {
	Initiator string          `json:"initiator"`
	Probes    []deadlockProbe `json:"probes"` // in the order of their delivery
	Declared  bool            `json:"declared"`
}

type deadlockProbe struct {
	Initiator string `json:"initiator"`
	From      string `json:"from"`
	To        string `json:"to"`
}

type deadlockEdge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Resource string `json:"resource"`
}

func newDeadlockDoc(g *waitfor.Graph) deadlockDoc {
	r := g.Analyse()
	d := deadlockDoc{Schema: 1, Deadlocked: present(r.Deadlocked), BlockedBehind: present(r.BlockedBehind), Cycles: r.Cycles,
		Waits: []deadlockEdge{}, Victims: present(g.Victims())}
	if d.Cycles == nil {
		d.Cycles = [][]string{}
	}
	for _, e := range g.Edges() {
		d.Waits = append(d.Waits, deadlockEdge{e.From, e.To, e.Over})
	}
	return d
}

func solveDeadlock(f *pflag.FlagSet, text string) (*solution, error) {
	lines, err := trace.Lines(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(lines, func(l trace.Line) bool { return len(l.Words) == 4 || len(l.Words) > 1 && l.Words[1] == "has" }) {
		return solveInstances(f, text)
	}
	g, err := waitfor.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	doc := newDeadlockDoc(g)
	if f.Changed("chase") {
		initiator, _ := f.GetString("chase")
		if doc.Chase, err = chase(g, initiator); err != nil {
			return nil, err
		}
	}
	show := deadlockText
	if f.Changed("prevent") {
		rule, _ := f.GetString("prevent")
		if doc.Prevention, err = prevent(g, rule); err != nil {
			return nil, err
		}
	}
	dot, _ := f.GetBool("dot")
	if dot {
		show = func(w io.Writer, _ deadlockDoc) { _ = g.WriteDOT(w) }
	}
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { show(w, doc) },
		bare:    dot,
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
		question: deadlockQuestion,
		expected: cmp.Or(strings.Join(doc.Deadlocked, ","), "none"),
		check:    names(doc.Deadlocked),
	}, nil
}

const deadlockQuestion = "Which processes are deadlocked? Answer with their names, separated by commas, or with: none"

// names returns a check for answers that list exactly these, in any order; of none: none.
func names(want []string) func(string) bool {
	return func(answer string) bool {
		got := words(answer)
		if len(got) == 1 && strings.EqualFold(got[0], "none") && len(want) == 0 {
			return true
		}
		slices.Sort(got)
		return len(got) > 0 && slices.Equal(slices.Compact(got), slices.Sorted(slices.Values(want)))
	}
}

// chase lets one process send probes along the waits of g until all are delivered.
func chase(g *waitfor.Graph, initiator string) (*deadlockChase, error) {
	if !slices.Contains(g.Processes(), initiator) {
		return nil, fmt.Errorf("--chase %s: no such process in the trace", initiator)
	}
	sites := waitfor.NewSites()
	for _, e := range g.Edges() {
		sites.Wait(e.From, e.To)
	}
	sites.Chase(initiator)
	d := &deadlockChase{Initiator: initiator, Probes: []deadlockProbe{}}
	for _, p := range sites.Run() {
		d.Probes = append(d.Probes, deadlockProbe{p.Initiator, p.From, p.To})
	}
	d.Declared = slices.Contains(sites.Declared(), initiator)
	return d, nil
}

// prevent plays the requests of g under a rule.
func prevent(g *waitfor.Graph, rule string) (*deadlockRule, error) {
	rules := map[string]func(a, b waitfor.Stamp) waitfor.Verdict{"wait-die": waitfor.WaitDie, "wound-wait": waitfor.WoundWait}
	if rules[rule] == nil {
		return nil, fmt.Errorf("--prevent %s: wait-die or wound-wait", rule)
	}
	p := g.Prevent(rules[rule])
	d := &deadlockRule{Rule: rule, Meetings: []deadlockMeeting{}, RolledBack: present(p.RolledBack)}
	for _, m := range p.Meetings {
		meeting := deadlockMeeting{Process: m.Process, Resource: m.Resource, Outcome: cmp.Or(string(m.Verdict), "takes")}
		if m.Holder != "" {
			meeting.Holder = &m.Holder
		}
		d.Meetings = append(d.Meetings, meeting)
	}
	return d, nil
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
	defer func() {
		chaseText(w, d.Chase)
		preventText(w, d.Prevention)
	}()
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
	fmt.Fprintf(w, "to break it, end %s\n", strings.Join(d.Victims, ", "))
}

func chaseText(w io.Writer, d *deadlockChase) {
	if d == nil {
		return
	}
	for _, p := range d.Probes {
		fmt.Fprintf(w, "probe (%s, %s, %s)\n", p.Initiator, p.From, p.To)
	}
	if d.Declared {
		fmt.Fprintf(w, "a probe came back: %s is deadlocked\n", d.Initiator)
	} else {
		fmt.Fprintf(w, "no probe came back: %s is on no cycle\n", d.Initiator)
	}
}

func preventText(w io.Writer, d *deadlockRule) {
	if d == nil {
		return
	}
	fmt.Fprintf(w, "%s:\n", d.Rule)
	for _, m := range d.Meetings {
		switch m.Outcome {
		case string(waitfor.Wait):
			fmt.Fprintf(w, "%s waits for %s, which %s holds\n", m.Process, m.Resource, *m.Holder)
		case string(waitfor.Die):
			fmt.Fprintf(w, "%s wants %s, which the older %s holds: %s is rolled back\n", m.Process, m.Resource, *m.Holder, m.Process)
		case string(waitfor.Wound):
			fmt.Fprintf(w, "%s wants %s, which the younger %s holds: %s is rolled back\n", m.Process, m.Resource, *m.Holder, *m.Holder)
		default:
			fmt.Fprintf(w, "%s takes %s\n", m.Process, m.Resource)
		}
	}
	if len(d.RolledBack) == 0 {
		fmt.Fprintln(w, "nobody is rolled back")
	}
}
