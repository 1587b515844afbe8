package main

import (
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
Buddy blocks are powers of two, at least 1.`,
		flags: func(f *pflag.FlagSet) {
			f.String("fit", "first", "first|best|worst|next|buddy|tlsf")
			f.Int64("size", 1024, "units of memory")
			f.String("holes", "", "sizes of several holes, separated by commas, instead of --size")
			f.Int64("align", 1, "fits: addresses and sizes are multiples of this power of two")
			f.Int64("header", 0, "fits: units in front of each block")
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

// memory makes the allocator that the flags describe.
func memory(f *pflag.FlagSet) (func() alloc.Allocator, string, error) {
	name, _ := f.GetString("fit")
	fit := alloc.Name(name)
	if !slices.Contains(alloc.Names, fit) {
		return nil, "", fmt.Errorf("fit %q is none of %v", name, alloc.Names)
	}
	size, _ := f.GetInt64("size")
	list, _ := f.GetString("holes")
	var o alloc.Options
	o.Align, _ = f.GetInt64("align")
	o.Header, _ = f.GetInt64("header")
	if o.Align < 1 {
		return nil, "", fmt.Errorf("--align %d: a power of two", o.Align)
	}
	if f.Changed("size") && f.Changed("holes") {
		return nil, "", fmt.Errorf("either --size or --holes")
	}
	if fit == alloc.Buddy || fit == alloc.TLSF {
		for _, foreign := range []string{"holes", "align", "header"} {
			if f.Changed(foreign) {
				return nil, "", fmt.Errorf("--%s means nothing to %s", foreign, fit)
			}
		}
		_, err := alloc.New(fit, size)
		return func() alloc.Allocator { a, _ := alloc.New(fit, size); return a }, name, err
	}
	regions := []int64{size}
	if f.Changed("holes") {
		regions = nil
		for word := range strings.SplitSeq(list, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
			if err != nil {
				return nil, "", fmt.Errorf("--holes %s: %q is not a whole number", list, word)
			}
			regions = append(regions, n)
		}
	}
	_, err := alloc.NewFit(fit, regions, o)
	return func() alloc.Allocator { a, _ := alloc.NewFit(fit, regions, o); return a }, name + " fit", err
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
	r := alloc.NewReplay(fresh())
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
	var fragmented int
	doc.Failed, fragmented = r.Failed()
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { memText(w, title, doc, fragmented) },
		chart:   func(w io.Writer) { _ = r.WriteMap(w, chartWidth) },
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
			fmt.Fprintf(w, "free %d in %d holes, the largest %d\n", st.Free, st.Holes, st.LargestHole)
		},
		question: fmt.Sprintf("%s. At which address does each allocation begin, in order? - where it fails.\nAnswer with numbers and -, separated by commas.", title),
		expected: strings.Join(addresses, ","),
		check:    same(addresses),
	}, nil
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
	fmt.Fprintf(w, "%s %s", s.Op, s.Name)
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
	fmt.Fprintf(w, "free %d in %d holes, the largest %d; external fragmentation %.1f%%, internal %.1f%%\n",
		fr.Free, fr.Holes, fr.LargestHole, 100*fr.External, 100*fr.Internal)
	if fragmented > 0 {
		fmt.Fprintf(w, "%d requests failed although as much was free in all\n", fragmented)
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
