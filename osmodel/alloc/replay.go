package alloc

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"dfs/osmodel/draw"
	"dfs/osmodel/trace"
)

// Op is one line of a trace.
type Op struct {
	Verb string // allocate, free, compact
	Name string
	Size int64 // of allocate
}

// ReadTrace reads requests, one a line:
//
//	allocate NAME SIZE
//	free NAME
//	compact
//
// What is malformed is a *trace.Error. Requests that cannot be met are not malformed: a Replay answers them.
func ReadTrace(r io.Reader) ([]Op, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, trace.Errorf("no request in it: a line is allocate NAME SIZE or free NAME")
	}
	ops := make([]Op, 0, len(lines))
	for _, l := range lines {
		op := Op{Verb: l.Words[0]}
		want := map[string]int{"allocate": 3, "free": 2, "compact": 1}[op.Verb]
		if want == 0 || len(l.Words) != want {
			return nil, l.Errorf("want allocate NAME SIZE, free NAME or compact")
		}
		if want > 1 {
			if op.Name, err = l.Name(l.Words[1], "NAME"); err != nil {
				return nil, err
			}
		}
		if want > 2 {
			if op.Size, err = l.Number64(l.Words[2], "SIZE", 0); err != nil {
				return nil, err
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// What a Replay can answer besides the errors of Allocator.
var (
	ErrNameInUse   = errors.New("the name is in use")
	ErrUnknownName = errors.New("nothing was allocated under this name")
	ErrFixed       = errors.New("this allocator cannot compact")
)

// Replay carries out the requests of a trace on an allocator and remembers the names.
type Replay struct {
	a     Allocator
	names map[string]held
	owner map[int64]string // by address
	stats struct{ failed, fragmented int }
}

type held struct {
	address, size int64
	freed         bool
}

// Step is what one request did.
type Step struct {
	Op
	Size    int64 // requested; of free: what was allocated; 0 if unknown
	Grant   Grant // of a granted allocate
	Address int64 // of a granted allocate and of a free
	Moves   []Move
	Err     error
}

// NewReplay begins with an allocator that nobody else uses.
func NewReplay(a Allocator) *Replay {
	return &Replay{a: a, names: map[string]held{}, owner: map[int64]string{}}
}

// Do carries out one request.
func (r *Replay) Do(op Op) Step {
	s := Step{Op: op, Size: op.Size}
	h, known := r.names[op.Name]
	switch op.Verb {
	case "allocate":
		if known && !h.freed {
			s.Err = ErrNameInUse
			return s
		}
		if s.Grant, s.Err = r.a.Allocate(op.Size); s.Err != nil {
			r.stats.failed++
			if Measure(r.a.Blocks()).Free >= op.Size {
				r.stats.fragmented++
			}
			return s
		}
		s.Address = s.Grant.Address
		r.names[op.Name] = held{address: s.Address, size: op.Size}
		r.owner[s.Address] = op.Name
	case "free":
		switch {
		case !known:
			s.Err = ErrUnknownName
		case h.freed:
			s.Size, s.Err = h.size, ErrDoubleFree
		default:
			s.Size, s.Address = h.size, h.address
			if _, s.Err = r.a.Free(h.address); s.Err == nil {
				h.freed = true
				r.names[op.Name] = h
				delete(r.owner, h.address)
			}
		}
	case "compact":
		f, ok := r.a.(*Fit)
		if !ok {
			s.Err = ErrFixed
			return s
		}
		s.Moves = f.Compact()
		moved := map[int64]string{}
		for _, m := range s.Moves {
			moved[m.To] = r.owner[m.From]
			delete(r.owner, m.From)
		}
		for at, name := range moved {
			r.owner[at] = name
			h := r.names[name]
			h.address = at
			r.names[name] = h
		}
	}
	return s
}

// Failed returns how many requests failed, and how many of those although as much memory was free in all.
func (r *Replay) Failed() (all, fragmented int) { return r.stats.failed, r.stats.fragmented }

// header is how far in front of its users' addresses a block begins.
func (r *Replay) header() int64 {
	if f, ok := r.a.(*Fit); ok {
		return f.o.Header
	}
	return 0
}

// Named is a block with the name it was allocated under, "" for a hole.
type Named struct {
	Block
	Name string
}

// Blocks returns the memory as it is now.
func (r *Replay) Blocks() []Named {
	var named []Named
	for _, b := range r.a.Blocks() {
		n := Named{Block: b}
		if b.Used {
			n.Name = r.owner[b.Start+r.header()]
		}
		named = append(named, n)
	}
	return named
}

// Stats measures the memory as it is now.
func (r *Replay) Stats() Stats { return Measure(r.a.Blocks()) }

// WriteMap draws the memory as text; dots are holes.
func (r *Replay) WriteMap(w io.Writer, width int) error {
	var bars []draw.Bar
	for _, b := range r.Blocks() {
		if b.Used {
			bars = append(bars, draw.Bar{Label: b.Name, Start: b.Start, End: b.End()})
		} else {
			bars = append(bars, draw.Bar{Label: ".", Start: b.Start, End: b.End(), Fill: true})
		}
	}
	return draw.Bars(w, bars, width)
}

// maxRows bounds the rows of a picture.
const maxRows = 200

// SVG draws the memory after each step, one row a step; ops are carried out on r, which must be fresh.
func SVG(r *Replay, ops []Op, title string) *draw.Picture {
	const left, top, row, chart = 190, 50, 34, 760
	shown := min(len(ops), maxRows)
	p := &draw.Picture{Width: left + chart + 40, Height: float64(top + row*(shown+1) + 50)}
	p.Text(left, 28, "start", 15, draw.Ink, title)
	start := r.Blocks()
	end := float64(start[len(start)-1].End())
	colours := map[string]int{}
	line := func(i int, words string, colour string) {
		y := float64(top + row*i)
		p.Text(left-8, y+20, "end", 12, colour, words)
		last := -1e9
		for _, b := range r.Blocks() {
			x, w := left+float64(b.Start)/end*chart, max(0.5, float64(b.Size)/end*chart)
			if !b.Used {
				p.Box(x, y+4, w, row-14, draw.Empty, "")
			} else {
				if _, ok := colours[b.Name]; !ok {
					colours[b.Name] = len(colours)
				}
				p.Box(x, y+4, w, row-14, draw.Colour(colours[b.Name]), b.Name)
			}
			if x > last+float64(7*len(fmt.Sprint(b.Start))) {
				p.Text(x, y+row-1, "start", 9, draw.Faint, fmt.Sprint(b.Start))
				last = x
			}
		}
	}
	line(0, "empty", draw.Ink)
	for i, op := range ops[:shown] {
		s := r.Do(op)
		words, colour := strings.TrimSpace(op.Verb+" "+op.Name), draw.Ink
		if op.Verb == "allocate" {
			words += fmt.Sprintf(" %d", op.Size)
		}
		if s.Err != nil {
			words, colour = words+": fails", draw.Alarm
		}
		line(i+1, words, colour)
	}
	s := r.Stats()
	p.Text(left, p.Height-16, "start", 12, draw.Ink, fmt.Sprintf("free %d in %d holes, largest %d; external fragmentation %.1f%%, internal %.1f%%",
		s.Free, s.Holes, s.LargestHole, 100*s.External, 100*s.Internal))
	if shown < len(ops) {
		p.Text(left+chart, 28, "end", 12, draw.Alarm, fmt.Sprintf("the first %d of %d steps", shown, len(ops)))
	}
	return p
}
