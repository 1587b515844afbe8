package alloc

import (
	"cmp"
	"math/bits"
	"slices"
)

// Restore makes the allocator that has these blocks in use: those of Blocks that are Used. rover is what Rover gave. What
// was freed before is forgotten: freeing it again is ErrBadAddress. TLSF's lists come to be in order of addresses.
// ErrBadAddress: the blocks overlap, or are none that this allocator makes.
func Restore(n Name, size int64, used []Block, rover int64) (Allocator, error) {
	a, err := New(n, size)
	if err != nil {
		return nil, err
	}
	used = slices.Clone(used)
	slices.SortFunc(used, func(a, b Block) int { return cmp.Compare(a.Start, b.Start) })
	at := int64(0)
	for _, b := range used {
		if b.Start < at || b.Size < 1 || b.Size > size-b.Start || b.Requested < 1 || b.Requested > b.Size {
			return nil, ErrBadAddress
		}
		at = b.End()
	}
	switch a := a.(type) {
	case *Fit:
		a.holes, a.rover = gaps(used, size), rover
		for _, b := range used {
			a.grant(b.Start, b)
		}
	case *twoLevel:
		a.restore(used)
	case *buddySystem:
		for _, b := range used {
			if !a.take(b) {
				return nil, ErrBadAddress
			}
		}
	}
	return a, nil
}

// Rover returns where next fit goes on looking; 0 for every other allocator.
func Rover(a Allocator) int64 {
	if f, ok := a.(*Fit); ok {
		return f.rover
	}
	return 0
}

// gaps returns the holes between blocks, which are in order.
func gaps(used []Block, size int64) (holes []Block) {
	at := int64(0)
	for _, b := range append(slices.Clone(used), Block{Start: size}) {
		if b.Start > at {
			holes = append(holes, Block{Start: at, Size: b.Start - at})
		}
		at = b.End()
	}
	return holes
}

// restore divides a fresh memory into used blocks and the holes between them.
func (t *twoLevel) restore(used []Block) {
	t.remove(t.pieces[0])
	t.pieces = map[int64]*piece{}
	all := append(slices.Clone(used), gaps(used, t.size)...)
	slices.SortFunc(all, func(a, b Block) int { return cmp.Compare(a.Start, b.Start) })
	var below *piece
	for _, b := range all {
		p := &piece{Block: Block{Start: b.Start, Size: b.Size}, below: below}
		if below != nil {
			below.above = p
		}
		t.pieces[b.Start], below = p, p
		if b.Requested > 0 {
			p.Used = true
			t.grant(b.Start, b)
		} else {
			t.insert(p)
		}
	}
}

// take splits free blocks until b is one, and takes it.
func (b *buddySystem) take(used Block) bool {
	order := bits.Len64(uint64(used.Size)) - 1
	if used.Size != 1<<order || used.Start&(used.Size-1) != 0 {
		return false
	}
	for k := order; k < len(b.free); k++ {
		at := used.Start &^ (1<<k - 1)
		i, free := slices.BinarySearch(b.free[k], at)
		if !free {
			continue
		}
		b.free[k] = slices.Delete(b.free[k], i, i+1)
		for k > order {
			k--
			half := used.Start &^ (1<<k - 1)
			b.insert(k, half^1<<k)
		}
		b.grant(used.Start, used)
		return true
	}
	return false
}
