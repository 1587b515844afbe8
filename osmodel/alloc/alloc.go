// Package alloc simulates the ways to divide a memory: first, best, worst and next fit over a list of holes, the buddy
// system, slabs of equal objects, and TLSF.
//
// An Allocator manages addresses only, there are no bytes behind them. Ties go to the lowest address; splitting leaves
// the low part allocated; what is freed merges with free neighbours on both sides at once. Sizes and addresses are in
// units, whole numbers. Nothing here is safe for concurrent use.
package alloc

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// What Allocate and Free can fail with, and nothing else.
var (
	ErrZeroSize   = errors.New("size is not above zero")
	ErrTooBig     = errors.New("larger than any block could ever be")
	ErrNoSpace    = errors.New("no hole is large enough")
	ErrDoubleFree = errors.New("freed already")
	ErrBadAddress = errors.New("no block begins there")
)

// Allocator hands out disjoint blocks of one memory.
type Allocator interface {
	// Allocate takes size units: ErrZeroSize, ErrTooBig, ErrNoSpace. After an error nothing has changed.
	Allocate(size int64) (Grant, error)
	// Free gives back the block whose Grant had this address and returns the block's size. ErrDoubleFree: the
	// address was granted, freed and not granted again. ErrBadAddress: any other that is not granted now.
	Free(address int64) (int64, error)
	// Blocks returns the whole memory, used and free, in order of addresses.
	Blocks() []Block
}

// Grant is a successful request.
type Grant struct {
	Address int64   // for the caller, behind the header
	Hole    int64   // size of the hole that was chosen, before it was split
	Block   int64   // what the request really takes, header and rounding included
	Splits  []int64 // buddy: the sizes that the hole was split into, one after the other
}

// Block is a piece of the memory.
type Block struct {
	Start, Size int64
	Used        bool
	Requested   int64 // of a used block
}

// End returns the address behind b.
func (b Block) End() int64 { return b.Start + b.Size }

// MaxSize bounds every memory and request.
const MaxSize = 1_000_000_000_000

// Stats measure fragmentation.
type Stats struct {
	Total, Free, LargestHole int64
	Holes                    int
	External                 float64 // 1 - largest hole / free; 0 when nothing is free
	Internal                 float64 // units in used blocks that nobody asked for, as a part of them; 0 when none is used
}

// Measure computes the Stats of a memory.
func Measure(blocks []Block) (s Stats) {
	var used, requested int64
	for _, b := range blocks {
		s.Total += b.Size
		if b.Used {
			used += b.Size
			requested += b.Requested
			continue
		}
		s.Free += b.Size
		s.Holes++
		s.LargestHole = max(s.LargestHole, b.Size)
	}
	if s.Free > 0 {
		s.External = 1 - float64(s.LargestHole)/float64(s.Free)
	}
	if used > 0 {
		s.Internal = float64(used-requested) / float64(used)
	}
	return s
}

// Unusable returns the part of the free memory that lies in holes too small for a request of size; 0 when nothing is
// free.
func Unusable(blocks []Block, size int64) float64 {
	var free, small int64
	for _, b := range blocks {
		if !b.Used {
			free += b.Size
			if b.Size < size {
				small += b.Size
			}
		}
	}
	if free == 0 {
		return 0
	}
	return float64(small) / float64(free)
}

// Name names an allocator.
type Name string

// The allocators that New knows. Slabs are made with NewSlab.
const (
	First Name = "first"
	Best  Name = "best"
	Worst Name = "worst"
	Next  Name = "next"
	Buddy Name = "buddy"
	TLSF  Name = "tlsf"
)

// Names lists them.
var Names = []Name{First, Best, Worst, Next, Buddy, TLSF}

// New makes an allocator over size units from address 0.
func New(n Name, size int64) (Allocator, error) {
	if size < 1 || size > MaxSize {
		return nil, fmt.Errorf("alloc: a memory of %d units, want 1 to %d", size, int64(MaxSize))
	}
	switch n {
	case First, Best, Worst, Next:
		return NewFit(n, []int64{size}, Options{})
	case Buddy:
		return newBuddy(size), nil
	case TLSF:
		return newTLSF(size), nil
	}
	return nil, fmt.Errorf("alloc: %q is none of %v", n, Names)
}

// ledger knows the blocks in use by the address their users know, and which addresses were freed.
type ledger struct {
	used  map[int64]Block
	freed map[int64]bool
}

func newLedger() ledger { return ledger{map[int64]Block{}, map[int64]bool{}} }

func (l ledger) grant(address int64, b Block) {
	b.Used = true
	l.used[address] = b
	delete(l.freed, address)
}

func (l ledger) free(address int64) (Block, error) {
	b, ok := l.used[address]
	switch {
	case ok:
		delete(l.used, address)
		l.freed[address] = true
		return b, nil
	case l.freed[address]:
		return b, ErrDoubleFree
	}
	return b, ErrBadAddress
}

// blocks returns the used ones and holes in order.
func (l ledger) blocks(holes []Block) []Block {
	all := slices.AppendSeq(slices.Clone(holes), maps.Values(l.used))
	slices.SortFunc(all, func(a, b Block) int { return cmp.Compare(a.Start, b.Start) })
	return all
}

// check says what is wrong with a size for a memory whose largest block is limit.
func check(size, limit int64) error {
	switch {
	case size <= 0:
		return ErrZeroSize
	case size > limit:
		return ErrTooBig
	}
	return nil
}
