package cpu

import (
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"dfs/osmodel/draw"
)

// WriteGantt draws the schedule as text, at most width columns a row. A dot stands for an idle CPU, an asterisk for a
// context switch.
func (r Result) WriteGantt(w io.Writer, width int) error {
	if len(r.Gantt) == 0 {
		_, err := fmt.Fprintln(w, "(nothing ran)")
		return err
	}
	bars := make([]draw.Bar, len(r.Gantt))
	for i, s := range r.Gantt {
		bars[i] = draw.Bar{Label: s.label(), Start: s.Start, End: s.End, Fill: s.Kind == Idle}
	}
	return draw.Bars(w, bars, width)
}

func (s Span) label() string {
	switch s.Kind {
	case Idle:
		return "."
	case Switch:
		return "*"
	}
	return s.ID
}

// maxDrawn bounds the slices in a picture; what comes later is left out, and the picture says so.
const maxDrawn = 2000

// Measures of a picture in pixels.
const (
	left  = 110
	top   = 50
	row   = 26
	chart = 800
)

// SVG draws the schedule with one row a process, in the order of the trace, above a common axis of time. A thin line goes
// from a process's arrival to its completion: where nothing lies upon it the process waits.
func (r Result) SVG(title string) *draw.Picture {
	left := r.margin()
	bottom := float64(top + row*(len(r.Processes)+1))
	p := &draw.Picture{Width: left + chart + 40, Height: bottom + 80}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	if len(r.Gantt) == 0 {
		return p
	}
	start, span := r.Gantt[0].Start, float64(max(r.Makespan, 1))
	x := func(t int64) float64 { return left + float64(t-start)/span*chart }
	axis(p, r.Gantt, x, bottom)
	p.Text(left-8, top+18, "end", 12, draw.Faint, "CPU")
	rows := map[string]int{}
	for i, t := range r.Processes {
		rows[t.ID] = i
		y := float64(top + row*(i+1))
		p.Text(left-8, y+18, "end", 12, draw.Ink, draw.Short(t.ID, left-16))
		p.Line(x(t.Completion-t.Turnaround), y+row/2, x(t.Completion), y+row/2, draw.Faint, 1.5)
	}
	for _, s := range r.Away[:min(len(r.Away), maxDrawn)] {
		p.Box(x(s.Start), float64(top+row*(rows[s.ID]+1)+7), x(s.End)-x(s.Start), row-14, draw.Empty, within("I/O", x(s.End)-x(s.Start)))
	}
	for _, s := range r.Gantt[:min(len(r.Gantt), maxDrawn)] {
		s.box(p, x, top, rows, false)
		if s.Kind == Run {
			s.box(p, x, float64(top+row*(rows[s.ID]+1)), rows, true)
		}
	}
	if len(r.Gantt) > maxDrawn {
		p.Text(left+chart, 28, "end", 12, draw.Alarm, fmt.Sprintf("the first %d of %d slices", maxDrawn, len(r.Gantt)))
	}
	p.Text(left, bottom+45, "start", 12, draw.Ink, fmt.Sprintf("mean waiting %.2f, turnaround %.2f, response %.2f; throughput %.3g a tick, CPU busy %.0f%%, %d switches",
		r.Mean.Waiting, r.Mean.Turnaround, r.Mean.Response, r.Throughput, 100*r.Utilisation, r.Switches))
	p.Text(left, bottom+65, "start", 11, draw.Faint, r.legend())
	return p
}

// margin is the room for the names of the processes.
func (r Result) margin() float64 {
	longest := 0
	for _, t := range r.Processes {
		longest = max(longest, utf8.RuneCountInString(t.ID))
	}
	return max(left, min(240, float64(7*longest+24)))
}

// box draws s in the row at y, in the colour of its process.
func (s Span) box(p *draw.Picture, x func(int64) float64, y float64, rows map[string]int, named bool) {
	w := max(x(s.End)-x(s.Start), 0.5)
	fill, label := draw.Ink, ""
	switch s.Kind {
	case Run:
		fill = draw.Colour(rows[s.ID])
		if named {
			label = s.ID
		}
	case Idle:
		fill, label = draw.Empty, "idle"
	}
	p.Box(x(s.Start), y+4, w, row-8, fill, within(label, w))
}

// within returns words if they fit into w pixels whole: the row and its colour say it too.
func within(words string, w float64) string {
	if float64(7*utf8.RuneCountInString(words)+4) > w {
		return ""
	}
	return words
}

// legend explains what the picture holds besides boxes.
func (r Result) legend() string {
	words := "line: the process waits"
	if len(r.Away) > 0 {
		words += "; narrow box: I/O"
	}
	if slices.ContainsFunc(r.Gantt, func(s Span) bool { return s.Kind == Switch }) {
		words += "; black: context switch"
	}
	return words
}

// axis draws times where slices meet, as many as can be read.
func axis(p *draw.Picture, gantt []Span, x func(int64) float64, bottom float64) {
	lastText, lastLine := -1e9, -1e9
	at := func(t int64) {
		if x(t)-lastLine < 2 {
			return
		}
		lastLine = x(t)
		p.Line(x(t), top, x(t), bottom+4, "#dddddd", 1)
		words := fmt.Sprint(t)
		if need := float64(4*len(words)) + 6; x(t)-need > lastText {
			lastText = x(t) + need - 4
			p.Text(x(t), bottom+20, "middle", 11, draw.Ink, words)
		}
	}
	at(gantt[0].Start)
	for _, s := range gantt {
		at(s.End)
	}
}
