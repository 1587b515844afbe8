// Package exercises holds the classic problems that ship with the simulators, as trace files, and makes new ones from
// seeds.
//
// A file says in its comments what it is, where it is from and with which flags it is meant to run:
//
//	# title: First come, first served, the long one first
//	# source: OSC 5.3.1
//	# flags: --discipline fcfs
package exercises

import (
	"embed"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
)

//go:embed files
var files embed.FS

// Exercise is one problem.
type Exercise struct {
	Name   string // unique, as in sched-fcfs
	Kind   string // the simulator: sched, mem, paging, banker, deadlock
	Title  string
	Source string
	Flags  []string // words, as on a command line
	Trace  string
}

// All returns the exercises in order of their names.
func All() ([]Exercise, error) {
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		return nil, err
	}
	var all []Exercise
	for _, e := range entries {
		text, err := files.ReadFile(path.Join("files", e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, parse(strings.TrimSuffix(e.Name(), ".trace"), string(text)))
	}
	return all, nil
}

// Find returns the exercise of that name; nil if there is none.
func Find(name string) (*Exercise, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.Name == name {
			return &e, nil
		}
	}
	return nil, nil
}

func parse(name, text string) Exercise {
	kind, _, _ := strings.Cut(name, "-")
	e := Exercise{Name: name, Kind: kind, Trace: text}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "#")), ":")
		if !strings.HasPrefix(line, "#") || !ok {
			continue
		}
		switch value = strings.TrimSpace(value); key {
		case "title":
			e.Title = value
		case "source":
			e.Source = value
		case "flags":
			e.Flags = strings.Fields(value)
		}
	}
	return e
}

// Generate makes a problem for a simulator from a seed: the same seed, the same problem. An unknown kind makes none.
func Generate(kind string, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0xd15c))
	var b strings.Builder
	switch kind {
	case "sched":
		b.WriteString("# ID ARRIVAL BURST PRIORITY\n")
		var at int
		for i := range 4 + r.IntN(2) {
			fmt.Fprintf(&b, "P%d %d %d %d\n", i+1, at, 1+r.IntN(10), 1+r.IntN(5))
			at += r.IntN(4)
		}
	case "mem":
		memory(&b, r)
	case "paging":
		pages := 4 + r.IntN(4)
		for i := range 16 {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprint(&b, r.IntN(pages))
		}
		b.WriteByte('\n')
	case "banker":
		bank(&b, r)
	case "deadlock":
		graph(&b, r)
	}
	return b.String()
}

func memory(b *strings.Builder, r *rand.Rand) {
	var held []string
	for i := range 10 {
		if len(held) > 2 && r.IntN(5) < 2 {
			k := r.IntN(len(held))
			fmt.Fprintf(b, "free %s\n", held[k])
			held = append(held[:k], held[k+1:]...)
			continue
		}
		name := string(rune('A' + i))
		fmt.Fprintf(b, "allocate %s %d\n", name, 10*(2+r.IntN(30)))
		held = append(held, name)
	}
}

// bank makes a safe state, by handing out resources along a safe order, and a few requests.
func bank(b *strings.Builder, r *rand.Rand) {
	const n, m = 4, 3
	var claim, held [n][m]int
	total := [m]int{}
	for k := range m {
		for i := range n {
			claim[i][k] = r.IntN(8)
			held[i][k] = r.IntN(claim[i][k]/2 + 1)
		}
		// Enough for some order to be safe: the largest need on top of what the others hold.
		most := 0
		for i := range n {
			total[k] += held[i][k]
			most = max(most, claim[i][k]-held[i][k])
		}
		total[k] += most
	}
	fmt.Fprintf(b, "total %s\n", words(total[:]))
	for i := range n {
		fmt.Fprintf(b, "process P%d max %s allocated %s\n", i, words(claim[i][:]), words(held[i][:]))
	}
	for range 4 {
		i := r.IntN(n)
		var want [m]int
		for k := range m {
			want[k] = r.IntN(claim[i][k] - held[i][k] + 1)
		}
		fmt.Fprintf(b, "request P%d %s\n", i, words(want[:]))
	}
}

func words(v []int) string { return strings.Trim(fmt.Sprint(v), "[]") }

func graph(b *strings.Builder, r *rand.Rand) {
	n := 4 + r.IntN(3)
	for i := range n {
		if r.IntN(5) > 0 {
			fmt.Fprintf(b, "P%d holds R%d\n", i+1, i+1)
		}
	}
	for i := range n {
		seen := map[int]bool{i: true}
		for range 1 + r.IntN(2) {
			if k := r.IntN(n); !seen[k] {
				seen[k] = true
				fmt.Fprintf(b, "P%d wants R%d\n", i+1, k+1)
			}
		}
	}
}
