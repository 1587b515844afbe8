package cpu

import (
	"fmt"
	"io"

	"dfs/osmodel/cpu/discipline"
	"dfs/osmodel/draw"
)

// Comparison is one problem under every discipline.
type Comparison struct {
	Entries []Entry // in the order of discipline.Names, without those that cannot run it
	Skipped []error // why the others cannot, each with its discipline's name
}

// Entry is one discipline's schedule.
type Entry struct {
	Name   discipline.Name
	Result Result
}

// Compare runs processes under every discipline, all with the same options; what is foreign to one is ignored. The
// quantum is for those that cannot do without: priority and cfs run with their defaults.
func Compare(processes []Process, o Options) (c Comparison) {
	for _, n := range discipline.Names {
		mine := o
		mine.Name = n
		if n == discipline.Priority || n == discipline.CFS {
			mine.Quantum = 0
		}
		r, err := Simulate(processes, mine)
		if err != nil {
			c.Skipped = append(c.Skipped, fmt.Errorf("%s: %w", n, err))
			continue
		}
		c.Entries = append(c.Entries, Entry{n, r})
	}
	return c
}

// Best returns the disciplines with the least mean waiting time, more than one where they tie, and that time.
func (c Comparison) Best() (names []discipline.Name, waiting float64) {
	for _, e := range c.Entries {
		switch w := e.Result.Mean.Waiting; {
		case len(names) == 0 || w < waiting:
			names, waiting = []discipline.Name{e.Name}, w
		case w == waiting:
			names = append(names, e.Name)
		}
	}
	return names, waiting
}

// WriteTable writes one line a discipline, its cells separated by tabs.
func (c Comparison) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintln(w, "DISCIPLINE\tWAITING\tTURNAROUND\tRESPONSE\tTHROUGHPUT\tBUSY\tSWITCHES"); err != nil {
		return err
	}
	for _, e := range c.Entries {
		r := e.Result
		if _, err := fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%.4g\t%.1f%%\t%d\n",
			e.Name, r.Mean.Waiting, r.Mean.Turnaround, r.Mean.Response, r.Throughput, 100*r.Utilisation, r.Switches); err != nil {
			return err
		}
	}
	return nil
}

// SVG draws the CPU under each discipline, one row each, above a common axis of time.
func (c Comparison) SVG(title string) *draw.Picture {
	bottom := float64(top + row*len(c.Entries))
	p := &draw.Picture{Width: left + chart + 110, Height: bottom + 40}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	if len(c.Entries) == 0 || len(c.Entries[0].Result.Gantt) == 0 {
		return p
	}
	p.Text(left+chart+10, 42, "start", 11, draw.Faint, "mean waiting")
	start, end := c.Entries[0].Result.Gantt[0].Start, int64(0)
	for _, e := range c.Entries {
		end = max(end, e.Result.Gantt[len(e.Result.Gantt)-1].End)
	}
	x := func(t int64) float64 { return left + float64(t-start)/float64(max(end-start, 1))*chart }
	rows := map[string]int{}
	for i, t := range c.Entries[0].Result.Processes {
		rows[t.ID] = i
	}
	for i, e := range c.Entries {
		y := float64(top + row*i)
		p.Text(left-8, y+18, "end", 12, draw.Ink, string(e.Name))
		for _, s := range e.Result.Gantt[:min(len(e.Result.Gantt), maxDrawn)] {
			s.box(p, x, y, rows, true)
		}
		p.Text(left+chart+10, y+18, "start", 12, draw.Ink, fmt.Sprintf("%.4g", e.Result.Mean.Waiting))
	}
	axis(p, []Span{{Start: start, End: end}}, x, bottom)
	return p
}
