package cpu

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"dfs/osmodel/draw"
)

// WriteGantt draws the schedule as text, at most width columns a row (at least 20): bars over their times. A slice
// is as wide as its share of the time allows, never narrower than its name.
//
//	| P1      | P2 | P1    |
//	0         4    7       12
//
// A dot stands for an idle CPU, an asterisk for a context switch.
func (r Result) WriteGantt(w io.Writer, width int) error {
	width = max(width, 20)
	if len(r.Gantt) == 0 {
		_, err := fmt.Fprintln(w, "(nothing ran)")
		return err
	}
	full := float64(width) / float64(max(r.Makespan, 1))
	scale := full
	for try := 20; try >= 0; try-- { // shrink where that lets all of it stand in one row
		if s := full * float64(try) / 20; row(r.Gantt, s, 0, nil) <= width {
			scale = s
			break
		}
	}
	var b strings.Builder
	for rest := r.Gantt; len(rest) > 0; {
		n := row(rest, scale, width, &b)
		rest = rest[n:]
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row draws spans up to width columns into b and returns how many; without b it returns the columns of all of them.
func row(spans []Span, scale float64, width int, b *strings.Builder) int {
	bars, times := "|", fmt.Sprint(spans[0].Start)
	n := 0
	for _, s := range spans {
		label, end := s.label(), fmt.Sprint(s.End)
		at := utf8.RuneCountInString(bars)
		cells := max(int(float64(s.End-s.Start)*scale)-1, utf8.RuneCountInString(label)+2, len(times)+1-at)
		if b != nil && n > 0 && at+cells+1 > width {
			break
		}
		if s.Kind == Idle {
			label = strings.Repeat(".", max(1, cells-2))
		}
		pad := cells - utf8.RuneCountInString(label)
		bars += strings.Repeat(" ", pad/2) + label + strings.Repeat(" ", pad-pad/2) + "|"
		times += strings.Repeat(" ", max(1, at+cells-len(times))) + end
		if n++; b == nil && len(bars) > 4000 {
			break // too long for any row
		}
	}
	if b == nil {
		return max(utf8.RuneCountInString(bars), len(times))
	}
	fmt.Fprintf(b, "%s\n%s\n", bars, times)
	return n
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
		switch s.Kind {
		case Run:
			k := rows[s.ID]
			p.Box(x(s.Start), top+4, w, row-8, draw.Colour(k), "")
			p.Box(x(s.Start), float64(top+row*(k+1)+4), w, row-8, draw.Colour(k), s.ID)
		case Switch:
			p.Box(x(s.Start), top+4, w, row-8, draw.Ink, "")
		case Idle:
			p.Box(x(s.Start), top+4, w, row-8, draw.Empty, "idle")
		}
	}
	p.Text(left, bottom+45, "start", 12, draw.Ink, fmt.Sprintf("mean waiting %.2f   turnaround %.2f   response %.2f   CPU busy %.0f%%   switches %d",
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
