package main

import (
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"dfs/osmodel/draw"
	"dfs/osmodel/paging"
)

func simPaging() simulator {
	return simulator{
		kind:  "paging",
		short: "replace pages in a few frames",
		long: `paging runs references through a memory of frames. The trace is page numbers, separated by white space; a w behind
one, as in 7w, makes it a write. First touches count as faults. clock starts at frame 0 and its hand advances after a
fill; lfu ties go to the least recently used, and counts begin anew when a page comes back; opt prefers the lowest frame
among pages that are never used again. working-set keeps the pages of the last --window references.

With --page-bytes the numbers are addresses, which go through a TLB and page tables; --gantt shows each translation.`,
		flags: func(f *pflag.FlagSet) {
			f.String("policy", "fifo", "fifo|lru|clock|opt|lfu|second-chance|working-set")
			f.Int("frames", 3, "frames of memory")
			f.Int("window", 4, "working-set: references that count")
			f.Int("curve", 0, "also count the faults with 1 to N frames")
			f.Int64("page-bytes", 0, "the trace is addresses, pages are of this power of two bytes")
			f.String("levels", "", "with --page-bytes: bits of each level of page tables, as in 10,10 (default one level)")
			f.Int("tlb", 0, "with --page-bytes: entries of the TLB, the least recently used is replaced")
			f.Float64("memory-time", 200, "ns of an access without a fault")
			f.Float64("fault-time", 8e6, "ns of an access with one")
		},
		solve: solvePaging,
	}
}

type pagingDoc struct {
	Schema     int          `json:"schema"`
	Policy     string       `json:"policy"`
	Frames     int          `json:"frames"`
	Faults     int          `json:"faults"`
	Hits       int          `json:"hits"`
	WriteBacks int          `json:"write_backs"`
	Access     float64      `json:"effective_access_ns"`
	Steps      []pagingStep `json:"steps"`
	Curve      []int        `json:"curve,omitempty"`
	TLBHits    *int         `json:"tlb_hits,omitempty"`
	Accesses   int          `json:"memory_accesses,omitempty"` // tables read included
	Tables     int          `json:"page_tables,omitempty"`
}

type pagingStep struct {
	Page      int64  `json:"page"`
	Fault     bool   `json:"fault"`
	Evicted   *int64 `json:"evicted"`
	Frame     *int   `json:"frame,omitempty"`
	Write     bool   `json:"write"`
	WriteBack bool   `json:"write_back"`
	Size      int    `json:"set_size,omitempty"` // of the working set
	Logical   *int64 `json:"address,omitempty"`
	Physical  *int64 `json:"physical,omitempty"`
	TLBHit    *bool  `json:"tlb_hit,omitempty"`
}

func solvePaging(f *pflag.FlagSet, text string) (*solution, error) {
	policy, _ := f.GetString("policy")
	frames, _ := f.GetInt("frames")
	addresses, err := paging.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	refs, err := pagesOf(f, addresses)
	if err != nil {
		return nil, err
	}
	if policy == "working-set" {
		return solveWorkingSet(f, refs)
	}
	if f.Changed("window") {
		return nil, fmt.Errorf("--window means nothing to %s", policy)
	}
	if !slices.Contains(paging.Names, paging.Name(policy)) {
		return nil, fmt.Errorf("policy %q is none of %v, working-set", policy, paging.Names)
	}
	r, err := paging.Simulate(refs, frames, paging.Name(policy))
	if err != nil {
		return nil, err
	}
	doc := pagingDoc{Schema: 1, Policy: policy, Frames: frames, Faults: r.Faults, Hits: r.Hits, WriteBacks: r.WriteBacks}
	for _, s := range r.Steps {
		p := pagingStep{Page: s.Page, Fault: s.Fault, Frame: &s.Frame, Write: s.Write, WriteBack: s.WriteBack}
		if s.Replaced {
			p.Evicted = &s.Evicted
		}
		doc.Steps = append(doc.Steps, p)
	}
	if doc.Access, err = accessTime(f, r.Faults, len(refs)); err != nil {
		return nil, err
	}
	if n, _ := f.GetInt("curve"); f.Changed("curve") {
		if n < 1 || n > 1000 {
			return nil, fmt.Errorf("--curve %d: 1 to 1000", n)
		}
		if doc.Curve, err = paging.FaultCurve(refs, n, paging.Name(policy)); err != nil {
			return nil, err
		}
	}
	title := fmt.Sprintf("%s, %s", policy, count(frames, "frame"))
	chart := func(w io.Writer) { _ = r.WriteTable(w, chartWidth) }
	if f.Changed("page-bytes") {
		all, err := translate(f, r, addresses, &doc)
		if err != nil {
			return nil, err
		}
		table := chart
		chart = func(w io.Writer) { translations(w, all); table(w) }
	}
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { pagingText(w, title, doc) },
		chart:   chart,
		picture: func() *draw.Picture { return r.SVG(title) },
		steps:   len(r.Steps),
		step: func(w io.Writer, i int) {
			part := r
			part.Steps = r.Steps[:i+1]
			pagingLine(w, doc.Steps[i])
			_ = part.WriteTable(w, chartWidth)
		},
		question: fmt.Sprintf("Policy %s. How many page faults are there?", title),
		expected: strconv.Itoa(r.Faults),
		check:    same([]string{strconv.Itoa(r.Faults)}),
	}, nil
}

// pagesOf returns the pages that the trace names, or those of its addresses.
func pagesOf(f *pflag.FlagSet, addresses []paging.Ref) ([]paging.Ref, error) {
	if f.Changed("page-bytes") {
		size, _ := f.GetInt64("page-bytes")
		return paging.Pages(addresses, size)
	}
	for _, needs := range []string{"levels", "tlb"} {
		if f.Changed(needs) {
			return nil, fmt.Errorf("--%s needs --page-bytes: page numbers are not translated", needs)
		}
	}
	return addresses, nil
}

// translate sends the addresses through TLB and tables and notes in doc what that took.
func translate(f *pflag.FlagSet, r paging.Result, addresses []paging.Ref, doc *pagingDoc) ([]paging.Translated, error) {
	size, _ := f.GetInt64("page-bytes")
	tlb, _ := f.GetInt("tlb")
	levels, err := levelBits(f, r)
	if err != nil {
		return nil, err
	}
	all, space, err := r.Translate(addresses, size, levels, tlb)
	if err != nil {
		return nil, err
	}
	doc.TLBHits, doc.Tables = new(int), space.Tables()
	for i := range all {
		t := &all[i]
		doc.Steps[i].Logical, doc.Steps[i].Physical, doc.Steps[i].TLBHit = &t.Logical, &t.Physical, &t.TLBHit
		doc.Accesses += t.Accesses
		if t.TLBHit {
			*doc.TLBHits++
		}
	}
	memory, _ := f.GetFloat64("memory-time")
	fault, _ := f.GetFloat64("fault-time")
	doc.Access = paging.MeanAccess(all, memory, fault)
	return all, nil
}

// levelBits reads --levels; without it one level covers all pages of r.
func levelBits(f *pflag.FlagSet, r paging.Result) (levels []int, err error) {
	list, _ := f.GetString("levels")
	if list == "" {
		most := 1
		for _, s := range r.Steps {
			most = max(most, bits.Len64(uint64(s.Page)))
		}
		return []int{most}, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("--levels %s: %q is not a whole number", list, word)
		}
		levels = append(levels, n)
	}
	return levels, nil
}

// translations shows how each address came to its place.
func translations(out io.Writer, all []paging.Translated) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tPAGE\tTABLES\tOFFSET\tTLB\tFRAME\tPHYSICAL\tACCESSES")
	for _, t := range all {
		found := "miss"
		if t.Fault {
			found = "fault"
		} else if t.TLBHit {
			found = "hit"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%s\t%d\t%d\t%d\n", t.Logical, t.Page, vector(t.Indices), t.Offset, found, t.Frame, t.Physical, t.Accesses)
	}
	fmt.Fprintln(w)
	_ = w.Flush()
}

func accessTime(f *pflag.FlagSet, faults, refs int) (float64, error) {
	memory, _ := f.GetFloat64("memory-time")
	fault, _ := f.GetFloat64("fault-time")
	if !(memory >= 0 && memory < 1e15 && fault >= 0 && fault < 1e15) {
		return 0, fmt.Errorf("--memory-time %v and --fault-time %v: 0 to 1e15 ns", memory, fault)
	}
	return paging.EffectiveAccess(float64(faults)/float64(refs), memory, fault), nil
}

func pagingLine(w io.Writer, s pagingStep) {
	fmt.Fprintf(w, "page %d: ", s.Page)
	switch {
	case s.Fault:
		fmt.Fprint(w, "a fault")
	default:
		fmt.Fprint(w, "a hit")
	}
	if s.Evicted != nil {
		fmt.Fprintf(w, ", page %d goes", *s.Evicted)
	}
	if s.WriteBack {
		fmt.Fprint(w, ", written back")
	}
	fmt.Fprintln(w)
}

// nanoseconds prints a time in the unit that people use for it.
func nanoseconds(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.6g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.6g µs", ns/1e3)
	}
	return fmt.Sprintf("%.6g ns", ns)
}

func pagingText(w io.Writer, title string, d pagingDoc) {
	fmt.Fprintf(w, "%s: %s, %s\n", title, count(d.Faults, "fault"), count(d.Hits, "hit"))
	fmt.Fprintf(w, "%s of dirty pages; effective access time %s\n", count(d.WriteBacks, "write-back"), nanoseconds(d.Access))
	if d.TLBHits != nil {
		fmt.Fprintf(w, "TLB: %s of %d; %d accesses to memory, %s\n", count(*d.TLBHits, "hit"), len(d.Steps), d.Accesses, count(d.Tables, "page table"))
	}
	if d.Curve == nil {
		return
	}
	fmt.Fprintln(w, "FRAMES\tFAULTS")
	for i, n := range d.Curve {
		note := ""
		if i > 0 && n > d.Curve[i-1] {
			note = "more frames, more faults: Belady's anomaly"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\n", i+1, n, note)
	}
}

func solveWorkingSet(f *pflag.FlagSet, refs []paging.Ref) (*solution, error) {
	window, _ := f.GetInt("window")
	for _, foreign := range []string{"frames", "curve", "levels", "tlb"} {
		if f.Changed(foreign) {
			return nil, fmt.Errorf("--%s means nothing to working-set", foreign)
		}
	}
	steps, err := paging.WorkingSet(refs, window)
	if err != nil {
		return nil, err
	}
	doc := pagingDoc{Schema: 1, Policy: "working-set"}
	for i, s := range steps {
		p := pagingStep{Page: s.Page, Fault: s.Fault, Write: refs[i].Write, Size: s.Size}
		if s.Fault {
			doc.Faults++
		} else {
			doc.Hits++
		}
		if len(s.Dropped) > 0 {
			p.Evicted = &s.Dropped[0]
		}
		doc.Frames = max(doc.Frames, s.Size)
		doc.Steps = append(doc.Steps, p)
	}
	if doc.Access, err = accessTime(f, doc.Faults, len(refs)); err != nil {
		return nil, err
	}
	title := fmt.Sprintf("working-set, window %d, up to %d frames", window, doc.Frames)
	return &solution{
		doc:     doc,
		text:    func(w io.Writer) { pagingText(w, title, doc) },
		chart:   func(w io.Writer) { workingSetTable(w, refs, window, len(refs)) },
		picture: func() *draw.Picture { return workingSetPicture(title, doc) },
		steps:   len(steps),
		step: func(w io.Writer, i int) {
			pagingLine(w, doc.Steps[i])
			workingSetTable(w, refs, window, i+1)
		},
		question: fmt.Sprintf("Policy %s. How many page faults are there?", fmt.Sprintf("working-set, window %d", window)),
		expected: strconv.Itoa(doc.Faults),
		check:    same([]string{strconv.Itoa(doc.Faults)}),
	}, nil
}

// workingSetTable lists the set after each of the last references up to the n-th, the most recently used page first.
func workingSetTable(out io.Writer, refs []paging.Ref, window, n int) {
	const most = 40 // lines
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PAGE\tSIZE\tSET")
	for i := max(0, n-most); i < n; i++ {
		var set []int64
		for k := i; k >= 0 && k > i-window; k-- {
			if !slices.Contains(set, refs[k].Page) {
				set = append(set, refs[k].Page)
			}
		}
		fmt.Fprintf(w, "%d\t%d\t%s\n", refs[i].Page, len(set), vector(set))
	}
	_ = w.Flush()
}

// workingSetPicture draws the size of the set as columns, red where the reference faulted.
func workingSetPicture(title string, d pagingDoc) *draw.Picture {
	const left, base, width = 60, 260, 22
	shown := d.Steps[:min(len(d.Steps), 400)]
	p := &draw.Picture{Width: max(420, left+width*float64(len(shown))+40), Height: base + 60}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	unit := 190 / float64(max(1, d.Frames))
	for i, s := range shown {
		fill := draw.Good
		if s.Fault {
			fill = draw.Alarm
		}
		x, h := left+width*float64(i), unit*float64(s.Size)
		p.Box(x, base-h, width, h, fill, strconv.Itoa(s.Size))
		p.Text(x+width/2, base+18, "middle", 12, draw.Ink, strconv.FormatInt(s.Page, 10))
	}
	p.Text(left, base+44, "start", 12, draw.Ink, fmt.Sprintf("pages in the set after each reference; %d faults (red), %d hits (green)", d.Faults, d.Hits))
	return p
}
