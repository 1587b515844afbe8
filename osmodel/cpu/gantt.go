package cpu

import (
	"fmt"
	"io"
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

// SVG draws the schedule with one row a process, in the order of the trace, above a common axis of time.
func (r Result) SVG(title string) *draw.Picture {
	const left, top, row, chart = 110, 50, 26, 800
	p := &draw.Picture{Width: left + chart + 40, Height: float64(top + row*(len(r.Processes)+1) + 60)}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	if len(r.Gantt) == 0 {
		return p
	}
	start, span := r.Gantt[0].Start, float64(max(r.Makespan, 1))
	x := func(t int64) float64 { return left + float64(t-start)/span*chart }
	rows := map[string]int{}
	bottom := float64(top + row*(len(r.Processes)+1))
	r.axis(p, x, top, bottom)
	p.Text(left-8, top+18, "end", 12, draw.Faint, "CPU")
	for i, t := range r.Processes {
		rows[t.ID] = i
		p.Text(left-8, float64(top+row*(i+1)+18), "end", 12, draw.Ink, t.ID)
	}
	for n, s := range r.Gantt {
		if n == maxDrawn {
			p.Text(left+chart, 28, "end", 12, draw.Alarm, fmt.Sprintf("the first %d of %d slices", maxDrawn, len(r.Gantt)))
			break
		}
		w := max(x(s.End)-x(s.Start), 0.5)
		label := s.ID
		if s.Kind == Idle {
			label = "idle"
		}
		if float64(7*utf8.RuneCountInString(label)+4) > w { // the row and its colour say it too
			label = ""
		}
		switch s.Kind {
		case Run:
			k := rows[s.ID]
			p.Box(x(s.Start), top+4, w, row-8, draw.Colour(k), "")
			p.Box(x(s.Start), float64(top+row*(k+1)+4), w, row-8, draw.Colour(k), label)
		case Switch:
			p.Box(x(s.Start), top+4, w, row-8, draw.Ink, "")
		case Idle:
			p.Box(x(s.Start), top+4, w, row-8, draw.Empty, label)
		}
	}
	p.Text(left, bottom+45, "start", 12, draw.Ink, fmt.Sprintf("mean waiting %.2f, turnaround %.2f, response %.2f; CPU busy %.0f%%, %d switches",
		r.Mean.Waiting, r.Mean.Turnaround, r.Mean.Response, 100*r.Utilisation, r.Switches))
	return p
}

// axis draws times where slices meet, as many as can be read.
func (r Result) axis(p *draw.Picture, x func(int64) float64, top, bottom float64) {
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
	at(r.Gantt[0].Start)
	for _, s := range r.Gantt {
		at(s.End)
	}
}
