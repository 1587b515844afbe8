package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"dfs/osmodel/alloc"
	"dfs/osmodel/draw"
)

func simMem() simulator {
	return simulator{
		kind:  "mem",
		short: "allocate and free in a memory of holes",
		long: `mem answers requests for memory. A line of the trace is one of

  allocate NAME SIZE
  free NAME
  compact

Addresses count from 0. --size N is one memory, --holes 100,500,200 are several, in order and one unit apart. Ties go
to the lowest address; next fit goes on behind the last allocation; what is freed merges with its free neighbours.
Buddy blocks are powers of two, at least 1. slab serves objects of one size, --object, from slabs of --per-slab each.`,
		flags: func(f *pflag.FlagSet) {
			f.String("fit", "first", "first|best|worst|next|buddy|tlsf|slab")
			f.Int64("size", 1024, "units of memory")
			f.String("holes", "", "sizes of several holes, separated by commas, instead of --size")
			f.Int64("align", 1, "fits: addresses and sizes are multiples of this power of two")
			f.Int64("header", 0, "fits: units in front of each block")
			f.Int64("object", 32, "slab: units of an object")
			f.Int("per-slab", 4, "slab: objects in a slab")
		},
		solve: solveMem,
	}
}

type memDoc struct {
	Schema        int              `json:"schema"`
	Fit           string           `json:"fit"`
	Steps         []memStep        `json:"steps"`
	Fragmentation memFragmentation `json:"fragmentation"`
	Failed        int              `json:"failed"`
	Slabs         *memSlabs        `json:"slabs,omitempty"` // of slab
}

type memSlabs struct {
	Full    int `json:"full"`
	Partial int `json:"partial"`
	Empty   int `json:"empty"`
}

type memStep struct {
	Op      string  `json:"op"`
	Name    string  `json:"name"`
	Size    *int64  `json:"size"`
	Hole    *int64  `json:"hole"`
	Address *int64  `json:"address"`
	Error   *string `json:"error"`
	Block   *int64  `json:"block"` // what the request takes in all
}

type memFragmentation struct {
	External    float64 `json:"external"`
	Internal    float64 `json:"internal"`
	LargestHole int64   `json:"largest_hole"`
	Holes       int     `json:"holes"`
	Free        int64   `json:"free"`
}

// memFlags says which flags belong to which allocators; one that is given and foreign is a usage error.
var memFlags = map[string][]alloc.Name{
	"holes": fits, "align": fits, "header": fits,
	"object": {slab}, "per-slab": {slab},
}

var fits = []alloc.Name{alloc.First, alloc.Best, alloc.Worst, alloc.Next}

const slab alloc.Name = "slab"

// memory makes the allocator that the flags describe; each call of what it returns makes a fresh one.
func memory(f *pflag.FlagSet) (fresh func() alloc.Allocator, title string, err error) {
	name, _ := f.GetString("fit")
	fit := alloc.Name(name)
	if known := append(slices.Clone(alloc.Names), slab); !slices.Contains(known, fit) {
		return nil, "", fmt.Errorf("fit %q is none of %v", name, known)
	}
	f.Visit(func(g *pflag.Flag) {
		if owners, ok := memFlags[g.Name]; ok && !slices.Contains(owners, fit) {
			err = cmp.Or(err, fmt.Errorf("--%s means nothing to %s", g.Name, fit))
		}
	})
	if err != nil {
		return nil, "", err
	}
	size, _ := f.GetInt64("size")
	made := func(build func() (alloc.Allocator, error), title string) (func() alloc.Allocator, string, error) {
		_, err := build()
		return func() alloc.Allocator { a, _ := build(); return a }, title, err
	}
	switch fit {
	case alloc.Buddy, alloc.TLSF:
		return made(func() (alloc.Allocator, error) { return alloc.New(fit, size) }, name)
	case slab:
		object, _ := f.GetInt64("object")
		each, _ := f.GetInt("per-slab")
		return made(func() (alloc.Allocator, error) { return alloc.NewSlab(size, object, each) },
			fmt.Sprintf("slabs of %d objects of %d", each, object))
	}
	regions, o, err := regions(f, size)
	if err != nil {
		return nil, "", err
	}
	title = name + " fit"
	if o.Align > 1 {
		title += fmt.Sprintf(", aligned to %d", o.Align)
	}
	if o.Header > 0 {
		title += fmt.Sprintf(", headers of %d", o.Header)
	}
	return made(func() (alloc.Allocator, error) { return alloc.NewFit(fit, regions, o) }, title)
}

// regions reads the flags of the fits.
func regions(f *pflag.FlagSet, size int64) (regions []int64, o alloc.Options, err error) {
	o.Align, _ = f.GetInt64("align")
	o.Header, _ = f.GetInt64("header")
	if o.Align < 1 {
		return nil, o, fmt.Errorf("--align %d: a power of two", o.Align)
	}
	if !f.Changed("holes") {
		return []int64{size}, o, nil
	}
	if f.Changed("size") {
		return nil, o, fmt.Errorf("either --size or --holes")
	}
	list, _ := f.GetString("holes")
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
		if err != nil {
			return nil, o, fmt.Errorf("--holes %s: %q is not a whole number", list, word)
		}
		regions = append(regions, n)
	}
	return regions, o, nil
}

func solveMem(f *pflag.FlagSet, text string) (*solution, error) {
	fresh, title, err := memory(f)
	if err != nil {
		return nil, err
	}
	ops, err := alloc.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	memory := fresh()
	r := alloc.NewReplay(memory)
	name, _ := f.GetString("fit")
	doc := memDoc{Schema: 1, Fit: name}
	var addresses []string
	for _, op := range ops {
		s := r.Do(op)
		doc.Steps = append(doc.Steps, newMemStep(s))
		if op.Verb == "allocate" && s.Err == nil {
			addresses = append(addresses, strconv.FormatInt(s.Address, 10))
		} else if op.Verb == "allocate" {
			addresses = append(addresses, "-")
		}
	}
	st := r.Stats()
	doc.Fragmentation = memFragmentation{st.External, st.Internal, st.LargestHole, st.Holes, st.Free}
	if s, ok := memory.(*alloc.Slab); ok {
		full, partial, empty := s.Lists()
		doc.Slabs = &memSlabs{full, partial, empty}
	}
	var fragmented int
	doc.Failed, fragmented = r.Failed()
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { memText(w, title, doc, fragmented) },
		chart:   func(w io.Writer) { memChart(w, alloc.NewReplay(fresh()), ops) },
		picture: func() *draw.Picture { return alloc.SVG(alloc.NewReplay(fresh()), ops, title) },
		steps:   len(ops),
		step: func(w io.Writer, i int) {
			r := alloc.NewReplay(fresh())
			var last alloc.Step
			for _, op := range ops[:i+1] {
				last = r.Do(op)
			}
			memLine(w, newMemStep(last))
			_ = r.WriteMap(w, chartWidth)
			st := r.Stats()
			fmt.Fprintf(w, "free %d in %s, the largest %d\n", st.Free, count(st.Holes, "hole"), st.LargestHole)
		},
		question: fmt.Sprintf("%s. At which address does each allocation begin, in order? - where it fails.\nAnswer with numbers and -, separated by commas.", title),
		expected: strings.Join(addresses, ","),
		check:    same(addresses),
	}, nil
}

// memChart draws the memory after every step.
func memChart(w io.Writer, r *alloc.Replay, ops []alloc.Op) {
	for i, op := range ops {
		if i > 0 {
			fmt.Fprintln(w)
		}
		memLine(w, newMemStep(r.Do(op)))
		_ = r.WriteMap(w, chartWidth)
	}
}

// count says how many there are of a thing.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func newMemStep(s alloc.Step) memStep {
	m := memStep{Op: s.Verb, Name: s.Name}
	if s.Verb == "allocate" || s.Size > 0 {
		m.Size = &s.Size
	}
	if s.Err != nil {
		text := s.Err.Error()
		m.Error = &text
		return m
	}
	switch s.Verb {
	case "allocate":
		m.Hole, m.Address, m.Block = &s.Grant.Hole, &s.Address, &s.Grant.Block
	case "free":
		m.Address = &s.Address
	}
	return m
}

func memLine(w io.Writer, s memStep) {
	fmt.Fprint(w, strings.TrimSpace(s.Op+" "+s.Name))
	if s.Size != nil {
		fmt.Fprintf(w, " %d", *s.Size)
	}
	switch {
	case s.Error != nil:
		fmt.Fprintf(w, "\tfails: %s\n", *s.Error)
	case s.Hole != nil:
		fmt.Fprintf(w, "\tat %d, from the hole of %d", *s.Address, *s.Hole)
		if *s.Block != *s.Size {
			fmt.Fprintf(w, ", takes %d", *s.Block)
		}
		fmt.Fprintln(w)
	case s.Address != nil:
		fmt.Fprintf(w, "\tfrom %d\n", *s.Address)
	default:
		fmt.Fprintln(w)
	}
}

func memText(w io.Writer, title string, d memDoc, fragmented int) {
	fr := d.Fragmentation
	fmt.Fprintf(w, "%s: %d of %d steps fail\n", title, failures(d), len(d.Steps))
	for _, s := range d.Steps {
		memLine(w, s)
	}
	fmt.Fprintf(w, "free %d in %s, the largest %d; external fragmentation %.1f%%, internal %.1f%%\n",
		fr.Free, count(fr.Holes, "hole"), fr.LargestHole, 100*fr.External, 100*fr.Internal)
	if d.Slabs != nil {
		fmt.Fprintf(w, "slabs: %d full, %d partial, %d empty\n", d.Slabs.Full, d.Slabs.Partial, d.Slabs.Empty)
	}
	if fragmented > 0 {
		fmt.Fprintf(w, "%s failed although as much was free in all\n", count(fragmented, "request"))
	}
}

func failures(d memDoc) (n int) {
	for _, s := range d.Steps {
		if s.Error != nil {
			n++
		}
	}
	return n
}
