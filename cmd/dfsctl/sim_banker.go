package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"dfs/osmodel/banker"
	"dfs/osmodel/draw"
)

func simBanker() simulator {
	return simulator{
		kind:  "banker",
		short: "grant requests by the banker's algorithm",
		long: `banker grants what keeps the state safe. The lines of the trace are, with one number for each type of resource,

  total R1 R2 ...
  process ID max R1 ... allocated R1 ...
  request ID R1 ...
  release ID R1 ...
  exit ID

A request beyond the claim is an error; beyond what is available it waits, and is looked at again at every release; one
that would be unsafe is denied and changes nothing. A process whose claim exceeds the total is not admitted.`,
		flags: func(*pflag.FlagSet) {},
		solve: solveBanker,
	}
}

type bankerDoc struct {
	Schema    int          `json:"schema"`
	Steps     []bankerStep `json:"steps"`
	Safe      bool         `json:"safe"`
	Sequence  []string     `json:"safe_sequence"`
	Available []int64      `json:"available"`
	Waiting   []string     `json:"waiting"`
}

type bankerStep struct {
	Op       string   `json:"op"`
	Process  string   `json:"process"`
	Outcome  string   `json:"outcome"`
	Sequence []string `json:"safe_sequence"`
	Reason   string   `json:"reason,omitempty"`
	Woken    []string `json:"woken,omitempty"` // waiting processes that were granted by this
}

func newBankerStep(s banker.Step) bankerStep {
	b := bankerStep{Op: s.Op.Verb, Process: s.Op.ID, Outcome: s.Outcome.String(), Sequence: present(s.Safe), Woken: s.Woken}
	switch {
	case s.Err != nil:
		b.Outcome, b.Reason = "error", strings.TrimPrefix(s.Err.Error(), "banker: ")
	case s.Outcome == banker.Denied:
		b.Reason = "the state would be unsafe"
	case s.Outcome == banker.Waits:
		b.Reason = "not enough is available"
	}
	return b
}

// present makes nil an empty list, for JSON.
func present(v []string) []string {
	if v == nil {
		return []string{}
	}
	return v
}

func solveBanker(_ *pflag.FlagSet, text string) (*solution, error) {
	p, err := banker.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	b, err := banker.New(p.Total)
	if err != nil {
		return nil, err
	}
	doc := bankerDoc{Schema: 1, Steps: []bankerStep{}}
	var outcomes []string
	for _, op := range p.Ops {
		s := b.Do(op)
		if op.Verb == "process" && s.Err == nil {
			continue // the problem, not a step; only a refused registration is one
		}
		doc.Steps = append(doc.Steps, newBankerStep(s))
		outcomes = append(outcomes, newBankerStep(s).Outcome)
	}
	order, safe := b.Safe()
	doc.Safe, doc.Sequence, doc.Available, doc.Waiting = safe, present(order), b.Available(), []string{}
	for _, r := range b.Waiting() {
		doc.Waiting = append(doc.Waiting, r.ID)
	}
	s := &solution{
		doc:     doc,
		text:    func(w io.Writer) { bankerText(w, doc) },
		chart:   func(w io.Writer) { bankerTable(w, b) },
		picture: func() *draw.Picture { return bankerPicture(b, doc) },
		steps:   len(p.Ops),
		step: func(w io.Writer, i int) {
			b, err := banker.New(p.Total)
			if err != nil {
				return
			}
			var last banker.Step
			for _, op := range p.Ops[:i+1] {
				last = b.Do(op)
			}
			bankerLine(w, newBankerStep(last))
			bankerTable(w, b)
		},
		question: "What becomes of each request and release, in order: granted, waits, denied or error?\nAnswer with these words, separated by commas.",
		expected: strings.Join(outcomes, ","),
		check:    same(outcomes),
	}
	if len(outcomes) == 0 {
		s.question = "Is the state safe? Answer with a safe sequence, separated by commas, or with: unsafe"
		s.expected = strings.Join(order, ",")
		if !safe {
			s.expected = "unsafe"
		}
		s.check = func(answer string) bool {
			if !safe {
				return strings.EqualFold(strings.TrimSpace(answer), "unsafe")
			}
			return b.Verify(words(answer)) == nil
		}
	}
	return s, nil
}

func bankerLine(w io.Writer, s bankerStep) {
	fmt.Fprintf(w, "%s %s\t%s", s.Op, s.Process, s.Outcome)
	if s.Reason != "" {
		fmt.Fprintf(w, "\t%s", s.Reason)
	} else if len(s.Sequence) > 0 {
		fmt.Fprintf(w, "\tsafe by %s", strings.Join(s.Sequence, ", "))
	} else {
		fmt.Fprint(w, "\tunsafe")
	}
	if len(s.Woken) > 0 {
		fmt.Fprintf(w, "; now granted: %s", strings.Join(s.Woken, ", "))
	}
	fmt.Fprintln(w)
}

func bankerText(w io.Writer, d bankerDoc) {
	if d.Safe {
		fmt.Fprintf(w, "safe: %s\n", strings.Join(d.Sequence, ", "))
	} else {
		fmt.Fprintln(w, "unsafe: there is no order in which all can finish")
	}
	for _, s := range d.Steps {
		bankerLine(w, s)
	}
	fmt.Fprintf(w, "available %s\n", vector(d.Available))
	if len(d.Waiting) > 0 {
		fmt.Fprintf(w, "waiting %s\n", strings.Join(d.Waiting, ", "))
	}
}

func vector(v []int64) string { return strings.Trim(fmt.Sprint(v), "[]") }

// bankerTable prints the matrices as textbooks do.
func bankerTable(w io.Writer, b *banker.Bank) {
	rows := [][]string{{"PROCESS", "ALLOCATED", "MAX", "NEED"}}
	for _, p := range b.Processes() {
		rows = append(rows, []string{p.ID, vector(p.Allocated), vector(p.Max), vector(p.Need())})
	}
	width := make([]int, 4)
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s  %-*s  %-*s  %s\n", width[0], r[0], width[1], r[1], width[2], r[2], r[3])
	}
	fmt.Fprintf(w, "available: %s\n", vector(b.Available()))
	for _, r := range b.Waiting() {
		fmt.Fprintf(w, "waiting: %s for %s\n", r.ID, vector(r.Want))
	}
}

// bankerPicture draws the table, and the safe sequence as a chain.
func bankerPicture(b *banker.Bank, d bankerDoc) *draw.Picture {
	const left, top, height = 40, 60, 26
	ps := b.Processes()
	ps = ps[:min(len(ps), 100)]
	column := max(100, float64(7*len(vector(b.Total()))+24))
	p := &draw.Picture{Width: left + 4*column + 60, Height: float64(top + height*(len(ps)+1) + 140)}
	for i, words := range []string{"process", "allocated", "max", "need"} {
		p.Text(left+column*(float64(i)+0.5), top-8, "middle", 12, draw.Faint, words)
	}
	p.Text(left, 28, "start", 15, draw.Ink, fmt.Sprintf("total %s, available %s", vector(b.Total()), vector(b.Available())))
	for i, pr := range ps {
		y := float64(top + height*i)
		for k, words := range []string{pr.ID, vector(pr.Allocated), vector(pr.Max), vector(pr.Need())} {
			fill := "#ffffff"
			if k == 0 {
				fill = draw.Colour(i)
			}
			p.Box(left+column*float64(k), y, column, height, fill, words)
		}
	}
	y := float64(top + height*len(ps) + 50)
	if !d.Safe {
		p.Text(left, y, "start", 14, draw.Alarm, "unsafe: there is no order in which all can finish")
		return p
	}
	p.Text(left, y-12, "start", 12, draw.Ink, "safe sequence:")
	colours := map[string]int{}
	for i, pr := range ps {
		colours[pr.ID] = i
	}
	for i, id := range d.Sequence[:min(len(d.Sequence), 40)] {
		x := left + 24 + 70*float64(i)
		p.Width = max(p.Width, x+60)
		if i > 0 {
			p.Arrow(x-46, y+24, x-24, y+24, draw.Ink, 1.5)
		}
		p.Circle(x, y+24, 22, draw.Colour(colours[id]), id)
	}
	return p
}
