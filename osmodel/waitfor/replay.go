package waitfor

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"dfs/osmodel/draw"
	"dfs/osmodel/trace"
)

// ReadTrace reads a graph, one fact a line:
//
//	PROCESS holds RESOURCE
//	PROCESS wants RESOURCE
//
// What is malformed, two holders of one resource included, is a *trace.Error.
func ReadTrace(r io.Reader) (*Graph, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, trace.Errorf("nothing in it: a line is PROCESS holds RESOURCE or PROCESS wants RESOURCE")
	}
	g := NewGraph()
	for _, l := range lines {
		if len(l.Words) != 3 || l.Words[1] != "holds" && l.Words[1] != "wants" {
			return nil, l.Errorf("want PROCESS holds RESOURCE or PROCESS wants RESOURCE")
		}
		for i, what := range []string{"PROCESS", "", "RESOURCE"} {
			if _, err := l.Name(l.Words[i], what); err != nil {
				return nil, err
			}
		}
		if l.Words[1] == "wants" {
			g.Wants(l.Words[0], l.Words[2])
		} else if err := g.Holds(l.Words[0], l.Words[2]); err != nil {
			return nil, l.Errorf("%s is held by %s already", l.Words[2], g.holder[l.Words[2]])
		}
	}
	return g, nil
}

// WriteDOT writes the resource allocation graph in Graphviz's language: processes are ellipses, resources boxes; what is
// deadlocked is red, what waits behind it orange.
func (g *Graph) WriteDOT(w io.Writer) error {
	report := g.Analyse()
	var b strings.Builder
	b.WriteString("digraph deadlock {\n")
	for _, p := range g.processes {
		colour := "black"
		switch {
		case slices.Contains(report.Deadlocked, p):
			colour = "red"
		case slices.Contains(report.BlockedBehind, p):
			colour = "orange"
		}
		fmt.Fprintf(&b, "  %s [label=%s, color=%s];\n", quote("p:"+p), quote(p), colour)
	}
	seen := map[string]bool{}
	resource := func(r string) string {
		if !seen[r] {
			seen[r] = true
			fmt.Fprintf(&b, "  %s [label=%s, shape=box];\n", quote("r:"+r), quote(r))
		}
		return quote("r:" + r)
	}
	for _, p := range g.processes {
		for _, r := range g.holds[p] {
			fmt.Fprintf(&b, "  %s -> %s;\n", resource(r), quote("p:"+p))
		}
		for _, r := range g.wants[p] {
			fmt.Fprintf(&b, "  %s -> %s [style=dashed];\n", quote("p:"+p), resource(r))
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}

// maxDrawn bounds the processes of a picture.
const maxDrawn = 60

// SVG draws the wait-for graph on a circle; each arrow bears the resource that is waited for.
func (g *Graph) SVG(title string) *draw.Picture {
	report := g.Analyse()
	shown := g.processes[:min(len(g.processes), maxDrawn)]
	radius := max(120, 52*float64(len(shown))/math.Pi)
	const r, margin, top = 22, 110, 40
	p := &draw.Picture{Width: max(2*radius+2*margin, 460), Height: 2*radius + margin + top}
	p.Text(20, 28, "start", 15, draw.Ink, title)
	cx, cy := p.Width/2, top+margin/2+5+radius
	at := map[string][2]float64{}
	for i, id := range shown {
		a := 2*math.Pi*float64(i)/float64(len(shown)) - math.Pi/2
		at[id] = [2]float64{cx + radius*math.Cos(a), cy + radius*math.Sin(a)}
	}
	for _, e := range g.Edges() {
		a, okA := at[e.From]
		b, okB := at[e.To]
		if !okA || !okB {
			continue
		}
		colour := draw.Faint
		if slices.Contains(report.Deadlocked, e.From) && slices.Contains(report.Deadlocked, e.To) {
			colour = draw.Alarm
		}
		if e.From == e.To {
			itself(p, (a[0]-cx)/radius, (a[1]-cy)/radius, a, r, colour, e.Over)
			continue
		}
		dx, dy := b[0]-a[0], b[1]-a[1]
		d := math.Hypot(dx, dy)
		ux, uy := dx/d, dy/d
		sx, sy := -uy*6, ux*6 // beside the straight line, so that two ways do not cover each other
		p.Arrow(a[0]+ux*r+sx, a[1]+uy*r+sy, b[0]-ux*(r+2)+sx, b[1]-uy*(r+2)+sy, colour, 1.5)
		p.Label(a[0]+dx*0.36+sx, a[1]+dy*0.36+sy, draw.Short(e.Over, 84))
	}
	for _, id := range shown {
		fill := draw.Empty
		switch {
		case slices.Contains(report.Deadlocked, id):
			fill = draw.Alarm
		case slices.Contains(report.BlockedBehind, id):
			fill = draw.Behind
		}
		p.Circle(at[id][0], at[id][1], r, fill, id)
	}
	words := fmt.Sprintf("%d deadlocked (red), %d blocked behind them (orange)", len(report.Deadlocked), len(report.BlockedBehind))
	if len(shown) < len(g.processes) {
		words += fmt.Sprintf("; the first %d of %d processes", len(shown), len(g.processes))
	}
	p.Text(20, 48, "start", 12, draw.Ink, words)
	return p
}

// itself says outside of the circle that the process at the place at waits for itself; (ux, uy) points outwards.
func itself(p *draw.Picture, ux, uy float64, at [2]float64, r float64, colour, over string) {
	anchor := "middle"
	if ux > 0.3 {
		anchor = "start"
	} else if ux < -0.3 {
		anchor = "end"
	}
	p.Text(at[0]+ux*(r+6), at[1]+uy*(r+12)+4, anchor, 11, colour, "itself: "+draw.Short(over, 84))
}
