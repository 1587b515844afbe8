// Package paging simulates virtual memory: which page goes when a frame is needed, what an access costs, and how an
// address is translated.
//
// Conventions: the first touch of a page counts as a fault. Free frames are filled in order from 0. LRU is exact. Clock
// starts at frame 0; its hand passes over pages whose reference bit is set and clears it, replaces where it is clear, and
// then moves on one; the bit of a new page is set. LFU ties go to the least recently used, and counts begin anew when a
// page comes back. OPT prefers the lowest frame among pages that are never used again.
package paging

import (
	"fmt"
	"io"
	"strings"

	"dfs/osmodel/trace"
)

// Ref is one access.
type Ref struct {
	Page  int64
	Write bool
}

// Name names a replacement policy.
type Name string

// The policies.
const (
	FIFO         Name = "fifo"
	LRU          Name = "lru"
	Clock        Name = "clock"
	SecondChance Name = "second-chance" // Clock as a queue: the same faults
	OPT          Name = "opt"           // Belady's minimum: looks into the future
	LFU          Name = "lfu"
)

// Names lists the policies.
var Names = []Name{FIFO, LRU, Clock, SecondChance, OPT, LFU}

// Bounds of what is simulated.
const (
	MaxFrames = 1 << 20
	MaxRefs   = 4_000_000
)

// policy decides. Frames are numbered from 0.
type policy interface {
	hit(i, frame int)              // reference i found its page in frame
	fill(i, frame int, page int64) // reference i brought page into frame, which was free or the last victim
	victim(i int) int              // all frames are in use: which one must reference i take
}

// Step is what one reference did.
type Step struct {
	Ref
	Fault     bool
	Frame     int   // where the page is now
	Evicted   int64 // meaningful if Replaced
	Replaced  bool  // a page had to go
	WriteBack bool  // and it was dirty
}

// Result is a finished simulation.
type Result struct {
	Policy                   Name
	Frames                   int
	Faults, Hits, WriteBacks int
	Steps                    []Step
}

// HitRatio is the part of the references that were hits; 0 where there were none.
func (r Result) HitRatio() float64 {
	if len(r.Steps) == 0 {
		return 0
	}
	return float64(r.Hits) / float64(len(r.Steps))
}

// Simulate runs refs through frames under a policy.
func Simulate(refs []Ref, frames int, n Name) (Result, error) {
	if frames < 1 || frames > MaxFrames {
		return Result{}, fmt.Errorf("paging: %d frames, want 1 to %d", frames, MaxFrames)
	}
	if len(refs) > MaxRefs {
		return Result{}, fmt.Errorf("paging: %d references, at most %d", len(refs), MaxRefs)
	}
	p, err := newPolicy(n, refs, frames)
	if err != nil {
		return Result{}, err
	}
	r := Result{Policy: n, Frames: frames, Steps: make([]Step, len(refs))}
	where := map[int64]int{}
	var inFrame []int64
	var dirty []bool
	for i, ref := range refs {
		s := Step{Ref: ref}
		f, present := where[ref.Page]
		switch {
		case present:
			r.Hits++
			p.hit(i, f)
		case len(inFrame) < frames:
			r.Faults++
			s.Fault = true
			f = len(inFrame)
			inFrame, dirty = append(inFrame, ref.Page), append(dirty, false)
			p.fill(i, f, ref.Page)
		default:
			r.Faults++
			f = p.victim(i)
			s.Fault, s.Replaced, s.Evicted, s.WriteBack = true, true, inFrame[f], dirty[f]
			if dirty[f] {
				r.WriteBacks++
			}
			delete(where, inFrame[f])
			inFrame[f], dirty[f] = ref.Page, false
			p.fill(i, f, ref.Page)
		}
		where[ref.Page] = f
		dirty[f] = dirty[f] || ref.Write
		s.Frame = f
		r.Steps[i] = s
	}
	return r, nil
}

// Contents returns what the frames hold after each of the first n steps are done; ok[f] is false for a frame that is
// still free.
func (r Result) Contents(n int) (pages []int64, ok []bool) {
	pages, ok = make([]int64, r.Frames), make([]bool, r.Frames)
	for _, s := range r.Steps[:n] {
		pages[s.Frame], ok[s.Frame] = s.Page, true
	}
	return pages, ok
}

// FaultCurve returns the faults with 1, 2, ... frames: under FIFO it may rise (Belady's anomaly), under LRU and OPT it
// never does.
func FaultCurve(refs []Ref, frames int, n Name) ([]int, error) {
	var curve []int
	for f := 1; f <= frames; f++ {
		r, err := Simulate(refs, f, n)
		if err != nil {
			return nil, err
		}
		curve = append(curve, r.Faults)
	}
	return curve, nil
}

// ReadTrace reads page numbers separated by white space; a w behind a number, as in 7w, makes the access a write. What
// is malformed is a *trace.Error.
func ReadTrace(r io.Reader) ([]Ref, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for _, l := range lines {
		for _, word := range l.Words {
			number, write := strings.CutSuffix(word, "w")
			page, err := l.Number64(number, "page", 0)
			if err != nil {
				return nil, err
			}
			if len(refs) == MaxRefs {
				return nil, l.Errorf("more than %d references", MaxRefs)
			}
			refs = append(refs, Ref{page, write})
		}
	}
	if len(refs) == 0 {
		return nil, trace.Errorf("no page number in it")
	}
	return refs, nil
}
