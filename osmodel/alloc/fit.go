package alloc

import (
	"fmt"
	"slices"
)

// Options shape the blocks of a Fit.
type Options struct {
	Align  int64 // addresses and sizes are multiples of it: a power of two, default 1
	Header int64 // units in front of each block for the allocator itself, default 0
}

// Fit allocates from an address-ordered list of holes.
type Fit struct {
	name    Name
	o       Options
	regions []Block // as built; they do not touch
	holes   []Block // in order of addresses; no two touch
	rover   int64   // next fit: where the last allocation ended
	ledger
}

var _ Allocator = (*Fit)(nil)

// NewFit makes a memory of one or more regions, laid out in order from address 0 and one unit apart, so that they never
// merge. One region is an ordinary memory.
func NewFit(n Name, regions []int64, o Options) (*Fit, error) {
	if !slices.Contains([]Name{First, Best, Worst, Next}, n) {
		return nil, fmt.Errorf("alloc: %q is no fit", n)
	}
	if o.Align == 0 {
		o.Align = 1
	}
	if o.Align < 0 || o.Align > MaxSize || o.Align&(o.Align-1) != 0 {
		return nil, fmt.Errorf("alloc: an alignment of %d is no power of two", o.Align)
	}
	if o.Header < 0 || o.Header > MaxSize {
		return nil, fmt.Errorf("alloc: a header of %d", o.Header)
	}
	f := &Fit{name: n, o: o, ledger: newLedger()}
	var at int64
	for _, size := range regions {
		if size < 1 || size > MaxSize-at {
			return nil, fmt.Errorf("alloc: a hole of %d units, want at least 1 and %d in all", size, int64(MaxSize))
		}
		f.regions = append(f.regions, Block{Start: at, Size: size})
		at += size + 1
	}
	f.holes = slices.Clone(f.regions)
	return f, nil
}

// place returns where in hole h a request would begin and how much it takes; false if it does not fit.
func (f *Fit) place(h Block, size int64) (start, need int64, ok bool) {
	align := f.o.Align
	address := (h.Start + f.o.Header + align - 1) / align * align
	start = address - f.o.Header
	need = (f.o.Header + size + align - 1) / align * align
	return start, need, start+need <= h.End()
}

// choose returns the index of the hole that the policy takes, -1 if none is large enough.
func (f *Fit) choose(size int64) int {
	chosen := -1
	for k := range f.holes {
		i := k
		if f.name == Next { // from the first hole that ends beyond the rover, and around
			first, _ := slices.BinarySearchFunc(f.holes, f.rover+1, func(h Block, at int64) int { return int(min(1, max(-1, h.End()-at))) })
			i = (first + k) % len(f.holes)
		}
		if _, _, ok := f.place(f.holes[i], size); !ok {
			continue
		}
		switch {
		case f.name == First || f.name == Next:
			return i
		case chosen < 0,
			f.name == Best && f.holes[i].Size < f.holes[chosen].Size,
			f.name == Worst && f.holes[i].Size > f.holes[chosen].Size:
			chosen = i
		}
	}
	return chosen
}

// Allocate implements Allocator. Where alignment skips units at the low end of a hole, they stay a hole.
func (f *Fit) Allocate(size int64) (Grant, error) {
	var limit int64
	for _, r := range f.regions {
		limit = max(limit, r.Size-f.o.Header)
	}
	if err := check(size, limit); err != nil {
		return Grant{}, err
	}
	i := f.choose(size)
	if i < 0 {
		return Grant{}, ErrNoSpace
	}
	h := f.holes[i]
	start, need, _ := f.place(h, size)
	var rest []Block
	if start > h.Start {
		rest = append(rest, Block{Start: h.Start, Size: start - h.Start})
	}
	if start+need < h.End() {
		rest = append(rest, Block{Start: start + need, Size: h.End() - start - need})
	}
	f.holes = slices.Replace(f.holes, i, i+1, rest...)
	f.rover = start + need
	f.grant(start+f.o.Header, Block{Start: start, Size: need, Requested: size})
	return Grant{Address: start + f.o.Header, Hole: h.Size, Block: need}, nil
}

// Free implements Allocator.
func (f *Fit) Free(address int64) (int64, error) {
	b, err := f.free(address)
	if err != nil {
		return 0, err
	}
	size := b.Size
	hole := Block{Start: b.Start, Size: b.Size}
	i, _ := slices.BinarySearchFunc(f.holes, hole.Start, func(h Block, at int64) int { return int(min(1, max(-1, h.Start-at))) })
	low, high := i, i
	if i > 0 && f.holes[i-1].End() == hole.Start {
		low--
		hole = Block{Start: f.holes[low].Start, Size: f.holes[low].Size + hole.Size}
	}
	if i < len(f.holes) && hole.End() == f.holes[i].Start {
		hole.Size += f.holes[i].Size
		high++
	}
	f.holes = slices.Replace(f.holes, low, high, hole)
	return size, nil
}

// Blocks implements Allocator.
func (f *Fit) Blocks() []Block { return f.blocks(f.holes) }

// Move is one step of a compaction, in addresses of users.
type Move struct{ From, To, Size int64 }

// Compact slides the blocks of each region to its low end, in order, and returns what moved. Addresses that were freed
// before are bad addresses afterwards.
func (f *Fit) Compact() []Move {
	var moves []Move
	blocks := f.Blocks()
	f.holes, f.freed, f.rover = nil, map[int64]bool{}, 0
	for _, r := range f.regions {
		at := r.Start
		for _, b := range blocks {
			if !b.Used || b.Start < r.Start || b.Start >= r.End() {
				continue
			}
			// Sizes are multiples of the alignment, so a block that follows another at once is aligned too.
			start, _, _ := f.place(Block{Start: at, Size: r.End() - at}, b.Requested)
			if start > at {
				f.holes = append(f.holes, Block{Start: at, Size: start - at})
			}
			if start != b.Start {
				from := b.Start + f.o.Header
				moves = append(moves, Move{from, start + f.o.Header, b.Size})
				delete(f.used, from)
				b.Start = start
				f.used[start+f.o.Header] = b
			}
			at = b.End()
		}
		if at < r.End() {
			f.holes = append(f.holes, Block{Start: at, Size: r.End() - at})
		}
	}
	return moves
}
