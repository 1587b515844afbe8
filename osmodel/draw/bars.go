package draw

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bar is one stretch of a row: [Start, End) on its scale.
type Bar struct {
	Label      string
	Start, End int64
	Fill       bool // repeat the label, one character, over the whole bar
}

// Bars draws a row of bars that touch, over their positions:
//
//	| P1      | P2 | P1    |
//	0         4    7       12
//
// A bar is as wide as its share allows, never narrower than its label. Rows are at most width columns (at least 20)
// unless one bar alone needs more.
func Bars(w io.Writer, bars []Bar, width int) error {
	if len(bars) == 0 {
		return nil
	}
	width = max(width, 20)
	full := float64(width) / float64(max(1, bars[len(bars)-1].End-bars[0].Start))
	scale := full
	for try := 20; try >= 0; try-- { // shrink where that lets all of it stand in one row
		if s := full * float64(try) / 20; row(bars, s, 0, nil) <= width {
			scale = s
			break
		}
	}
	var b strings.Builder
	for rest := bars; len(rest) > 0; {
		n := row(rest, scale, width, &b)
		rest = rest[n:]
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row draws bars up to width columns into b and returns how many; without b it returns the columns of all of them.
func row(bars []Bar, scale float64, width int, b *strings.Builder) int {
	line, places := "|", fmt.Sprint(bars[0].Start)
	n := 0
	for i, s := range bars {
		if i > 0 && s.Start != bars[i-1].End { // a gap between two bars
			line, places = line+" |", places+strings.Repeat(" ", max(1, utf8.RuneCountInString(line)+1-len(places)))+fmt.Sprint(s.Start)
		}
		label, end := s.Label, fmt.Sprint(s.End)
		at := utf8.RuneCountInString(line)
		cells := max(int(float64(s.End-s.Start)*scale)-1, utf8.RuneCountInString(label)+2, len(places)+1-at)
		if b != nil && n > 0 && at+cells+1 > width {
			break
		}
		if s.Fill {
			label = strings.Repeat(label, max(1, cells-2))
		}
		pad := cells - utf8.RuneCountInString(label)
		line += strings.Repeat(" ", pad/2) + label + strings.Repeat(" ", pad-pad/2) + "|"
		places += strings.Repeat(" ", max(1, at+cells-len(places))) + end
		if n++; b == nil && len(line) > 4000 {
			break // too long for any row
		}
	}
	if b == nil {
		return max(utf8.RuneCountInString(line), len(places))
	}
	fmt.Fprintf(b, "%s\n%s\n", line, places)
	return n
}
