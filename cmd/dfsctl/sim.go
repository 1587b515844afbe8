package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/osmodel/draw"
	"dfs/osmodel/exercises"
	"dfs/osmodel/trace"
)

// simulator is one of the sim commands: how a problem text becomes something to show.
type simulator struct {
	kind, short, long string
	flags             func(f *pflag.FlagSet)
	solve             func(f *pflag.FlagSet, text string) (*solution, error)
}

// solution is a simulated problem.
type solution struct {
	doc      any                  // the JSON document
	text     func(w io.Writer)    // tables, with tabs
	bare     bool                 // text is for another program: nothing is printed around it
	chart    func(w io.Writer)    // what --gantt adds; nil: there is no such flag
	picture  func() *draw.Picture // --svg
	steps    int                  // --step: how many there are
	step     func(w io.Writer, i int)
	question string // --quiz
	expected string
	check    func(answer string) bool
}

// simChoices are the flags whose values are a fixed list: what the shell completes.
var simChoices = map[string][]string{
	"discipline": {"fcfs", "sjf", "srtf", "priority", "rr", "mlfq", "lottery", "stride", "cfs", "eevdf"},
	"fit":        {"first", "best", "worst", "next", "buddy", "tlsf", "slab"},
	"prevent":    {"wait-die", "wound-wait"},
	"policy":     {"fifo", "lru", "clock", "opt", "lfu", "second-chance", "working-set"},
}

// chartWidth is the width of drawings in text.
const chartWidth = 78

// sim makes the command and its five simulators. None of them needs a daemon.
func (x *ctl) sim() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "simulate scheduling, memory, paging, the banker, deadlocks and synchronization",
		Long: `sim runs textbook problems without any daemon: from a trace file (--trace FILE, - is standard input), from the
exercises that ship with it (--exercise NAME, see dfsctl sim list), or made from a number (--seed N).

--gantt draws in text, --svg FILE draws a picture, --step walks through it forward and back, --quiz prints the problem
and the question and, with --answer, says whether the answer is right. Traces are lines of words; # starts a comment.`,
	}
	var subs []*cobra.Command
	for _, s := range []simulator{simSched(), simMem(), simPaging(), simBanker(), simDeadlock()} {
		subs = append(subs, x.simulate(s))
	}
	return cli.Group(c, append(subs, x.simClassic(), x.simList())...)
}

func (x *ctl) simulate(s simulator) *cobra.Command {
	c := &cobra.Command{Use: s.kind, Short: s.short, Long: s.long, Args: cobra.NoArgs}
	f := c.Flags()
	f.SortFlags = false
	f.String("trace", "", "trace file, - is standard input")
	f.String("exercise", "", "an exercise that ships with the program (dfsctl sim list)")
	f.Uint64("seed", 0, "make a problem from this number; sched with a given problem: the lottery's seed")
	s.flags(f)
	f.Bool("gantt", false, "draw it in text")
	f.Bool("step", false, "walk through it: Enter, b, a number, q")
	f.String("svg", "", "draw a picture into this file")
	f.Bool("quiz", false, "print the problem and a question")
	f.String("answer", "", "check this answer to the question of --quiz")
	for name, values := range simChoices {
		if f.Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	_ = c.RegisterFlagCompletionFunc("exercise", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		all, _ := exercises.All()
		for _, e := range all {
			if e.Kind == s.kind {
				names = append(names, e.Name+"\t"+e.Title)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := simProblem(c, s.kind)
		if err != nil {
			return err
		}
		sol, err := s.solve(f, text)
		if err != nil {
			return simFault(c, err)
		}
		return x.show(c, text, sol)
	}
	return c
}

// simFault makes an error of the models a usage error; those about files and the like stay what they are.
func simFault(c *cobra.Command, err error) error {
	var t *trace.Error
	if errors.As(err, &t) || fault.KindOf(err) == fault.Other {
		return cli.Hint(fault.Because(c.CommandPath(), fault.Invalid, err), "%s --help", c.CommandPath())
	}
	return err
}

func simUsage(c *cobra.Command, format string, args ...any) error {
	return cli.Hint(fault.New(c.CommandPath(), fault.Invalid, format, args...), "%s --help", c.CommandPath())
}

// simProblem returns the text of the problem that the flags name. An exercise brings flags of its own, which those on
// the command line override.
func simProblem(c *cobra.Command, kind string) (string, error) {
	f := c.Flags()
	name, _ := f.GetString("exercise")
	file, _ := f.GetString("trace")
	seed, _ := f.GetUint64("seed")
	if f.Changed("trace") && f.Changed("exercise") {
		return "", simUsage(c, "either --trace or --exercise")
	}
	if f.Changed("seed") && kind != "sched" && (f.Changed("trace") || f.Changed("exercise")) { // sched: the lottery's
		return "", simUsage(c, "--seed makes a problem, and one is given")
	}
	if step, _ := f.GetBool("step"); step && file == "-" {
		return "", simUsage(c, "--step reads keys from standard input, the trace must be a file")
	}
	switch {
	case f.Changed("exercise"):
		e, err := exercises.Find(name)
		if err != nil {
			return "", err
		}
		if e == nil || e.Kind != kind {
			return "", cli.Hint(fault.New(c.CommandPath(), fault.NotExist, "exercise %s", name), "dfsctl sim list")
		}
		return e.Trace, exerciseFlags(f, e.Flags)
	case file == "-":
		b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), trace.MaxBytes+1))
		return string(b), err
	case f.Changed("trace"):
		return readTraceFile(c, file)
	case f.Changed("seed"):
		return exercises.Generate(kind, seed), nil
	}
	return "", simUsage(c, "no problem: --trace FILE, --exercise NAME or --seed N")
}

func readTraceFile(c *cobra.Command, name string) (string, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", fault.New(c.CommandPath(), fault.NotExist, "%s", name)
	} else if err != nil {
		return "", fault.Because(c.CommandPath(), fault.Other, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, trace.MaxBytes+1))
	return string(b), err
}

// exerciseFlags sets what the exercise wants and the user did not, unless the user chose another discipline, fit or
// policy than the exercise's: its other flags might be foreign to that.
func exerciseFlags(f *pflag.FlagSet, words []string) error {
	chooses := []string{"--discipline", "--fit", "--policy"}
	other := false
	for i, w := range words {
		if slices.Contains(chooses, w) && f.Changed(w[2:]) {
			mine, _ := f.GetString(w[2:])
			other = i+1 < len(words) && mine != words[i+1]
		}
	}
	keep := []string{"--holes", "--size", "--frames", "--page-bytes", "--levels", "--tlb"} // part of the problem, not of the choice
	for i := 0; i < len(words); i++ {
		name, value := words[i], "true"
		if i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
			value = words[i]
		}
		if f.Changed(name[2:]) || other && !slices.Contains(keep, name) {
			continue
		}
		if policy, err := f.GetString("policy"); err == nil && policy == "working-set" && name != "--page-bytes" { // has no frames
			continue
		}
		if err := f.Set(name[2:], value); err != nil {
			return err
		}
	}
	return nil
}

// show prints a solution in the form that the flags ask for.
func (x *ctl) show(c *cobra.Command, text string, s *solution) error {
	f := c.Flags()
	out := c.OutOrStdout()
	svg, _ := f.GetString("svg")
	quiz, _ := f.GetBool("quiz")
	step, _ := f.GetBool("step")
	gantt, _ := f.GetBool("gantt")
	quiz = quiz || f.Changed("answer")
	if step && (x.json || quiz) {
		return simUsage(c, "--step goes with neither --json nor --quiz")
	}
	if quiz && (gantt || svg != "") {
		return simUsage(c, "--quiz shows no drawings: they would give the answer away")
	}
	if f.Changed("svg") {
		if err := writePicture(svg, s.picture()); err != nil {
			return fault.Because(c.CommandPath(), fault.Other, err)
		}
	}
	switch {
	case quiz:
		return x.quiz(c, text, s)
	case step:
		return walk(c.InOrStdin(), out, s)
	}
	made := f.Changed("seed") && !f.Changed("trace") && !f.Changed("exercise")
	if x.json {
		return simDocument(out, s.doc, text, made)
	}
	if made && !s.bare {
		fmt.Fprintf(out, "%s\n", text)
	}
	if gantt && !s.bare {
		s.chart(out)
		fmt.Fprintln(out)
	}
	err := x.answer(c, nil, s.text)
	if err == nil && svg != "" && !s.bare {
		_, err = fmt.Fprintf(out, "picture: %s\n", svg)
	}
	return err
}

// simDocument prints doc; a made problem goes with it, or nobody would know what was solved.
func simDocument(w io.Writer, doc any, text string, made bool) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if made {
		problem, err := json.Marshal(text)
		if err != nil {
			return err
		}
		b = append(append(append(b[:len(b)-1], `,"problem":`...), problem...), '}')
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

func writePicture(name string, p *draw.Picture) error {
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// quizDoc is what --quiz prints as JSON.
type quizDoc struct {
	Schema   int     `json:"schema"`
	Problem  string  `json:"problem"`
	Question string  `json:"question"`
	Answer   *string `json:"answer"`
	Correct  *bool   `json:"correct"`
	Expected *string `json:"expected"`
}

func (x *ctl) quiz(c *cobra.Command, text string, s *solution) error {
	doc := quizDoc{Schema: 1, Problem: withoutHints(text), Question: s.question}
	if c.Flags().Changed("answer") {
		answer, _ := c.Flags().GetString("answer")
		right := s.check(answer)
		doc.Answer, doc.Correct, doc.Expected = &answer, &right, &s.expected
	}
	if x.json {
		return json.NewEncoder(c.OutOrStdout()).Encode(doc)
	}
	out := c.OutOrStdout()
	switch {
	case doc.Correct == nil:
		fmt.Fprintf(out, "%s\n%s\nThen: the same command with --answer ...\n", doc.Problem, doc.Question)
	case *doc.Correct:
		fmt.Fprintf(out, "right: %s\n", s.expected)
	default:
		fmt.Fprintf(out, "wrong: it is %s\n\n", s.expected)
		if s.chart != nil {
			s.chart(out)
			fmt.Fprintln(out)
		}
		return x.answer(c, nil, s.text)
	}
	return nil
}

// withoutHints leaves the flags out of an exercise's comments.
func withoutHints(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "# flags:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (x *ctl) simList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "the exercises that ship with the program", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := exercises.All()
		if err != nil {
			return err
		}
		type entry struct {
			Name   string `json:"name"`
			Kind   string `json:"kind"`
			Title  string `json:"title"`
			Source string `json:"source"`
		}
		doc := struct {
			Schema    int     `json:"schema"`
			Exercises []entry `json:"exercises"`
		}{Schema: 1}
		for _, e := range all {
			doc.Exercises = append(doc.Exercises, entry{e.Name, e.Kind, e.Title, e.Source})
		}
		if x.json {
			return x.answer(c, doc, nil)
		}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprintf(w, "%d exercises; run one with dfsctl sim KIND --exercise NAME\n", len(all))
			for _, e := range all {
				fmt.Fprintf(w, "%s\t%s\t(%s)\n", e.Name, e.Title, e.Source)
			}
		})
	}
	return c
}

// words splits an answer at commas and spaces.
func words(answer string) []string {
	return strings.FieldsFunc(answer, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// same returns a check for answers that list exactly these words in this order.
func same(want []string) func(string) bool {
	return func(answer string) bool { return slices.Equal(words(strings.ToLower(answer)), lower(want)) }
}

func lower(v []string) []string {
	var l []string
	for _, w := range v {
		l = append(l, strings.ToLower(w))
	}
	return l
}
