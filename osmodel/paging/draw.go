package paging

import (
	"fmt"
	"io"
	"strings"

	"dfs/osmodel/draw"
)

// WriteTable draws the frames after every reference, one column each, as textbooks do; a star marks a fault. Rows are at
// most width columns.
func (r Result) WriteTable(w io.Writer, width int) error {
	cell := 2
	for _, s := range r.Steps {
		cell = max(cell, len(fmt.Sprint(s.Page))+1)
	}
	label := len(fmt.Sprintf("frame %d", r.Frames-1))
	perRow := max(1, (width-label)/cell)
	rows := min(r.Frames, maxShown)
	pages, ok := make([]int64, r.Frames), make([]bool, r.Frames)
	var b strings.Builder
	for from := 0; from < len(r.Steps); from += perRow {
		steps := r.Steps[from:min(from+perRow, len(r.Steps))]
		lines := make([]strings.Builder, rows+2)
		fmt.Fprintf(&lines[0], "%-*s", label, "page")
		for f := range rows {
			fmt.Fprintf(&lines[f+1], "%-*s", label, fmt.Sprintf("frame %d", f))
		}
		fmt.Fprintf(&lines[rows+1], "%-*s", label, "fault")
		for _, s := range steps {
			pages[s.Frame], ok[s.Frame] = s.Page, true
			fmt.Fprintf(&lines[0], "%*d", cell, s.Page)
			for f := range rows {
				if ok[f] {
					fmt.Fprintf(&lines[f+1], "%*d", cell, pages[f])
				} else {
					fmt.Fprintf(&lines[f+1], "%*s", cell, "-")
				}
			}
			mark := ""
			if s.Fault {
				mark = "*"
			}
			fmt.Fprintf(&lines[rows+1], "%*s", cell, mark)
		}
		if from > 0 {
			b.WriteByte('\n')
		}
		for i := range lines {
			b.WriteString(strings.TrimRight(lines[i].String(), " ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Bounds of tables and pictures: frames and references shown.
const (
	maxShown   = 64
	maxColumns = 400
)

// SVG draws the same table; the box of a page that came in by a fault is red.
func (r Result) SVG(title string) *draw.Picture {
	cell := 24.0
	for _, s := range r.Steps {
		cell = max(cell, float64(8*len(fmt.Sprint(s.Page))+8))
	}
	const left, top, height = 80, 60, 24
	columns, rows := min(len(r.Steps), maxColumns), min(r.Frames, maxShown)
	p := &draw.Picture{Width: left + cell*float64(columns) + 40, Height: float64(top + height*rows + 50)}
	p.Width = max(p.Width, 420)
	p.Text(left, 28, "start", 15, draw.Ink, title)
	for f := range rows {
		p.Text(left-8, float64(top+height*f+16), "end", 12, draw.Ink, fmt.Sprintf("frame %d", f))
	}
	pages, ok := make([]int64, r.Frames), make([]bool, r.Frames)
	for i, s := range r.Steps[:columns] {
		x := left + cell*float64(i)
		page := fmt.Sprint(s.Page)
		if s.Write {
			page += "w"
		}
		p.Text(x+cell/2, top-8, "middle", 12, draw.Ink, page)
		pages[s.Frame], ok[s.Frame] = s.Page, true
		for f := range rows {
			fill, words := draw.Empty, ""
			if ok[f] {
				fill, words = "#ffffff", fmt.Sprint(pages[f])
			}
			if f == s.Frame {
				if fill = draw.Good; s.Fault {
					fill = draw.Alarm
				}
			}
			p.Box(x, float64(top+height*f), cell, height, fill, words)
		}
	}
	p.Text(left, p.Height-18, "start", 12, draw.Ink, fmt.Sprintf("%d faults (red), %d hits (green); dirty pages written back: %d", r.Faults, r.Hits, r.WriteBacks))
	if columns < len(r.Steps) || rows < r.Frames {
		p.Text(p.Width-20, 28, "end", 12, draw.Alarm, "only a part is shown")
	}
	return p
}
