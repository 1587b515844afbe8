package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"dfs/osmodel/banker"
	"dfs/osmodel/draw"
	"dfs/osmodel/trace"
)

// solveInstances detects deadlocks where resources have several instances.
func solveInstances(f *pflag.FlagSet, text string) (*solution, error) {
	s, err := banker.ReadSnapshot(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	for _, foreign := range []string{"dot", "chase", "prevent"} {
		if f.Changed(foreign) {
			return nil, fmt.Errorf("--%s is for resources of one instance: with several a cycle alone proves nothing", foreign)
		}
	}
	lines, err := trace.Lines(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	doc, finish := newInstancesDoc(s)
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { instancesText(w, doc, finish) },
		chart:   func(w io.Writer) { instancesTable(w, s) },
		picture: func() *draw.Picture { return instancesPicture(s, doc, finish) },
		steps:   len(lines),
		step: func(w io.Writer, i int) {
			var part strings.Builder
			for k, l := range lines {
				if k <= i || l.Words[1] == "has" { // what there is was there before
					fmt.Fprintln(&part, strings.Join(l.Words, " "))
				}
			}
			fmt.Fprintln(w, strings.Join(lines[i].Words, " "))
			if s, err := banker.ReadSnapshot(strings.NewReader(part.String())); err == nil {
				doc, finish := newInstancesDoc(s)
				instancesTable(w, s)
				instancesText(w, doc, finish)
			}
		},
		question: deadlockQuestion,
		expected: cmp.Or(strings.Join(doc.Deadlocked, ","), "none"),
		check:    names(doc.Deadlocked),
	}, nil
}

// newInstancesDoc analyses s; the order in which those that can do finish comes second.
func newInstancesDoc(s banker.Snapshot) (deadlockDoc, []string) {
	deadlocked, behind, finish := s.Analyse()
	d := deadlockDoc{Schema: 1, Deadlocked: present(deadlocked), BlockedBehind: present(behind), Cycles: [][]string{},
		Waits: []deadlockEdge{}, Victims: present(banker.Recover(s.Available, s.Holders))}
	for _, h := range s.Holders {
		for k, want := range h.Request {
			if want <= s.Available[k] {
				continue
			}
			for _, o := range s.Holders {
				if o.Allocated[k] > 0 && o.ID != h.ID {
					d.Waits = append(d.Waits, deadlockEdge{h.ID, o.ID, s.Resources[k]})
				}
			}
		}
	}
	return d, finish
}

func instancesText(w io.Writer, d deadlockDoc, finish []string) {
	if len(d.Deadlocked) == 0 {
		fmt.Fprintln(w, "no deadlock")
	} else {
		fmt.Fprintf(w, "deadlocked: %s\n", strings.Join(d.Deadlocked, ", "))
	}
	if len(d.BlockedBehind) > 0 {
		fmt.Fprintf(w, "hold nothing and wait for ever: %s\n", strings.Join(d.BlockedBehind, ", "))
	}
	if len(finish) > 0 {
		fmt.Fprintf(w, "can finish: %s\n", strings.Join(finish, ", "))
	}
	if len(d.Victims) > 0 {
		fmt.Fprintf(w, "to break it, end %s\n", strings.Join(d.Victims, ", "))
	}
}

// instancesTable prints the matrices as textbooks do.
func instancesTable(w io.Writer, s banker.Snapshot) {
	rows := [][]string{{"PROCESS", "ALLOCATED", "REQUEST"}}
	for _, h := range s.Holders {
		rows = append(rows, []string{h.ID, vector(h.Allocated), vector(h.Request)})
	}
	columns(w, rows)
	fmt.Fprintf(w, "available: %s of %s (%s)\n", vector(s.Available), vector(s.Total), strings.Join(s.Resources, " "))
}

// instancesPicture draws the matrices and the order in which processes finish.
func instancesPicture(s banker.Snapshot, d deadlockDoc, finish []string) *draw.Picture {
	rows := [][]string{}
	var fills []string
	for _, h := range s.Holders[:min(len(s.Holders), 100)] {
		rows = append(rows, []string{h.ID, vector(h.Allocated), vector(h.Request)})
		fill := draw.Good
		if slices.Contains(d.Deadlocked, h.ID) {
			fill = draw.Alarm
		} else if slices.Contains(d.BlockedBehind, h.ID) {
			fill = draw.Behind
		}
		fills = append(fills, fill)
	}
	p, y := tablePicture(fmt.Sprintf("%s: total %s, available %s", strings.Join(s.Resources, " "), vector(s.Total), vector(s.Available)),
		[]string{"process", "allocated", "request"}, rows, fills)
	words := fmt.Sprintf("%d deadlocked (red), %d wait behind them (orange), %d can finish (green)", len(d.Deadlocked), len(d.BlockedBehind), len(finish))
	p.Text(40, y, "start", 12, draw.Ink, words)
	p.Width, p.Height = max(p.Width, 520), y+24
	return p
}
