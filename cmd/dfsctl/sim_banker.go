package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

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

	safe bool // also where the sequence is empty because nobody is left
}

func newBankerStep(s banker.Step) bankerStep {
	b := bankerStep{Op: s.Op.Verb, Process: s.Op.ID, Outcome: s.Outcome.String(), Sequence: present(s.Safe), Woken: s.Woken, safe: s.Safe != nil}
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
	} else if !s.safe {
		fmt.Fprint(w, "\tunsafe")
	}
	if len(s.Woken) > 0 {
		fmt.Fprintf(w, "; now granted: %s", strings.Join(s.Woken, ", "))
	}
	fmt.Fprintln(w)
}

func bankerText(w io.Writer, d bankerDoc) {
	if d.Safe {
		fmt.Fprintf(w, "safe: %s\n", cmp.Or(strings.Join(d.Sequence, ", "), "nobody is registered"))
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
	columns(w, rows)
	fmt.Fprintf(w, "available: %s\n", vector(b.Available()))
	for _, r := range b.Waiting() {
		fmt.Fprintf(w, "waiting: %s for %s\n", r.ID, vector(r.Want))
	}
}

// columns prints rows with their cells below one another.
func columns(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush()
}

// tablePicture draws a table whose first cells have the colours fills, and returns the height at which words below it
// stand well.
func tablePicture(title string, head []string, rows [][]string, fills []string) (*draw.Picture, float64) {
	const left, top, height = 40, 60, 26
	column := 100.0
	for _, r := range rows {
		for _, cell := range r {
			column = max(column, float64(7*len(cell)+24))
		}
	}
	p := &draw.Picture{Width: max(left+float64(len(head))*column+60, float64(left+8*len(title)+20))}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	for k, words := range head {
		p.Text(left+column*(float64(k)+0.5), top-8, "middle", 12, draw.Faint, words)
	}
	for i, r := range rows {
		for k, cell := range r {
			fill := "#ffffff"
			if k == 0 {
				fill = fills[i]
			}
			p.Box(left+column*float64(k), float64(top+height*i), column, height, fill, cell)
		}
	}
	y := float64(top + height*len(rows) + 30)
	p.Height = y + 24
	return p, y
}

// bankerPicture draws the table, who waits, and the safe sequence as a chain.
func bankerPicture(b *banker.Bank, d bankerDoc) *draw.Picture {
	const left = 40
	var rows [][]string
	var fills []string
	colours := map[string]int{}
	for i, pr := range b.Processes() {
		colours[pr.ID] = i
		if i < 100 {
			rows = append(rows, []string{pr.ID, vector(pr.Allocated), vector(pr.Max), vector(pr.Need())})
			fills = append(fills, draw.Colour(i))
		}
	}
	p, y := tablePicture(fmt.Sprintf("total %s, available %s", vector(b.Total()), vector(b.Available())),
		[]string{"process", "allocated", "max", "need"}, rows, fills)
	for i, r := range b.Waiting() {
		if i == 10 {
			p.Text(left, y, "start", 12, draw.Ink, fmt.Sprintf("and %d more wait", len(b.Waiting())-i))
			y += 22
			break
		}
		p.Text(left, y, "start", 12, draw.Ink, fmt.Sprintf("%s waits for %s", r.ID, vector(r.Want)))
		y += 22
	}
	p.Height = y + 24
	switch {
	case !d.Safe:
		p.Text(left, y, "start", 14, draw.Alarm, "unsafe: there is no order in which all can finish")
		return p
	case len(d.Sequence) == 0:
		p.Text(left, y, "start", 12, draw.Ink, "nobody is registered")
		return p
	}
	p.Text(left, y, "start", 12, draw.Ink, "safe sequence:")
	y += 36
	for i, id := range d.Sequence[:min(len(d.Sequence), 40)] {
		x := left + 24 + 70*float64(i)
		p.Width = max(p.Width, x+60)
		if i > 0 {
			p.Arrow(x-46, y, x-24, y, draw.Ink, 1.5)
		}
		p.Circle(x, y, 22, draw.Colour(colours[id]), id)
	}
	p.Height = y + 44
	return p
}
