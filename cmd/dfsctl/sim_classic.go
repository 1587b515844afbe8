package main

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dfs/osmodel/ipc"
)

// classic is one of the classic problems of synchronization.
type classic struct {
	name, actors string
	n            int // how many there are unless --actors says otherwise
	right, wrong string
	stage        func(n int, wrong bool) *ipc.Stage
}

var classics = []classic{
	{"philosophers", "philosophers", 5, "the last one takes the right fork first", "all take the left fork first",
		func(n int, wrong bool) *ipc.Stage { return ipc.Philosophers(n, 1, !wrong) }},
	{"buffer", "makers for one consumer and two places", 2, "makers wait for a place, then for the lock", "makers take the lock, then wait for a place",
		func(n int, wrong bool) *ipc.Stage { return ipc.Buffer(n, 2, 2, wrong) }},
	{"readers-writers", "writers beside three readers", 2, "writers ask for the lock once", "writers read first and then want to write without letting go",
		func(n int, wrong bool) *ipc.Stage { return ipc.ReadersWriters(3, n, 1, ipc.Fair, wrong) }},
	{"barber", "customers for two chairs", 4, "the barber waits for a customer, then for the lock", "the barber holds the lock while waiting for a customer",
		func(n int, wrong bool) *ipc.Stage { return ipc.Barber(n, 2, wrong) }},
}

// Bounds of what sim classic plays.
const (
	maxActors = 1000
	maxMoves  = 100_000
)

func (x *ctl) simClassic() *cobra.Command {
	var names []string
	for _, p := range classics {
		names = append(names, p.name)
	}
	c := &cobra.Command{
		Use:   "classic " + strings.Join(names, "|"),
		Short: "play a classic problem of synchronization, with or without its deadlock",
		Long: `classic plays one of the classic problems of synchronization, a line of an actor's script at a time: in turns, or in the
order that --seed decides. With --wrong the script is the one that can deadlock; not every order does it.`,
		Args: cobra.ExactArgs(1), ValidArgs: names,
	}
	f := c.Flags()
	f.SortFlags = false
	f.Bool("wrong", false, "the form that can deadlock")
	f.Int("actors", 0, "philosophers, makers, writers or customers")
	f.Uint64("seed", 0, "let chance decide whose turn it is (default: one after the other)")
	f.Bool("step", false, "walk through it: Enter, b, a number, q")
	f.Bool("quiz", false, "ask whether all are done in the end")
	f.String("answer", "", "check this answer to the question of --quiz: done, or who waits for ever")
	c.RunE = func(c *cobra.Command, args []string) error {
		i := slices.IndexFunc(classics, func(p classic) bool { return p.name == args[0] })
		if i < 0 {
			return simUsage(c, "%s is none of %s", args[0], strings.Join(names, ", "))
		}
		p := classics[i]
		if n, _ := f.GetInt("actors"); f.Changed("actors") {
			if n < 1 || n > maxActors {
				return simUsage(c, "--actors %d: 1 to %d", n, maxActors)
			}
			p.n = n
		}
		var random *rand.Rand
		if seed, _ := f.GetUint64("seed"); f.Changed("seed") {
			random = rand.New(rand.NewPCG(seed, 0))
		}
		wrong, _ := f.GetBool("wrong")
		return x.show(c, p.problem(wrong)+"\n", p.play(wrong, random))
	}
	return c
}

type classicDoc struct {
	Schema     int           `json:"schema"`
	Name       string        `json:"name"`
	Wrong      bool          `json:"wrong"`
	Moves      []classicMove `json:"moves"`
	Deadlocked []string      `json:"deadlocked"` // who waits for ever
}

type classicMove struct {
	Who     string   `json:"who"`
	What    string   `json:"what"`
	Blocked bool     `json:"blocked"`
	Woke    []string `json:"woke,omitempty"`
}

// play runs the problem to its end; with a nil random the actors take turns.
func (p classic) play(wrong bool, random *rand.Rand) *solution {
	s := p.stage(p.n, wrong)
	o := s.Play(random, maxMoves)
	doc := classicDoc{Schema: 1, Name: p.name, Wrong: wrong, Moves: []classicMove{}, Deadlocked: present(o.Blocked)}
	for _, m := range s.Moves {
		doc.Moves = append(doc.Moves, classicMove(m))
	}
	return &solution{
		doc: doc,
		text: func(w io.Writer) {
			fmt.Fprintln(w, classicEnd(doc))
			if random == nil { // else the problem stands above already
				fmt.Fprintln(w, p.problem(wrong))
			}
			for i, m := range doc.Moves {
				classicLine(w, i, m)
			}
		},
		steps: len(doc.Moves),
		step: func(w io.Writer, i int) {
			classicLine(w, i, doc.Moves[i])
			if waiting := classicWaiting(doc.Moves[:i+1]); len(waiting) > 0 {
				fmt.Fprintf(w, "waiting: %s\n", strings.Join(waiting, ", "))
			}
			if i == len(doc.Moves)-1 {
				fmt.Fprintln(w, classicEnd(doc))
			}
		},
		question: "Are all done in the end? Answer with: done, or with the names of those who wait for ever.",
		expected: cmp.Or(strings.Join(doc.Deadlocked, ","), "done"),
		check: func(answer string) bool {
			if len(doc.Deadlocked) == 0 {
				return strings.EqualFold(strings.TrimSpace(answer), "done")
			}
			return names(doc.Deadlocked)(answer)
		},
	}
}

// problem says who plays, and by which script.
func (p classic) problem(wrong bool) string {
	return fmt.Sprintf("%d %s: %s", p.n, p.actors, map[bool]string{false: p.right, true: p.wrong}[wrong])
}

func classicEnd(d classicDoc) string {
	if len(d.Deadlocked) == 0 {
		return fmt.Sprintf("all are done after %s", count(len(d.Moves), "step"))
	}
	return fmt.Sprintf("deadlock: %s wait for ever", strings.Join(d.Deadlocked, ", "))
}

func classicLine(w io.Writer, i int, m classicMove) {
	fmt.Fprintf(w, "%d\t%s\t%s", i+1, m.Who, m.What)
	if m.Blocked {
		fmt.Fprint(w, " and waits")
	}
	if len(m.Woke) > 0 {
		fmt.Fprintf(w, ", which wakes %s", strings.Join(m.Woke, ", "))
	}
	fmt.Fprintln(w)
}

// classicWaiting lists who waits after moves.
func classicWaiting(moves []classicMove) (waiting []string) {
	for _, m := range moves {
		waiting = slices.DeleteFunc(waiting, func(who string) bool { return slices.Contains(m.Woke, who) })
		if m.Blocked {
			waiting = append(waiting, m.Who)
		}
	}
	return waiting
}
