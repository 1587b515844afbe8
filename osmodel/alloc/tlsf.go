package alloc

import "math/bits"

// twoLevel is TLSF, two-level segregated fit (Masmano, Ripoll, Crespo, Real 2004): free blocks hang in lists by their size,
// a power of two and one of 16 parts of it; a bitmap a level says which lists hold something, so that allocation and
// freeing take a constant number of steps. A request is rounded up to a list whose blocks all fit; a block in the list
// below is not looked at, even where it would fit.
type twoLevel struct {
	size   int64
	first  uint64     // bit f: some list of row f is not empty
	second [64]uint16 // bit s of row f: list f, s is not empty
	lists  [64][16]*piece
	pieces map[int64]*piece // by address, used and free
	ledger
}

// piece is a block with its neighbours in memory and, while free, in its list.
type piece struct {
	Block
	below, above *piece // in order of addresses
	prev, next   *piece // in the list
}

var _ Allocator = (*twoLevel)(nil)

func newTLSF(size int64) *twoLevel {
	t := &twoLevel{size: size, pieces: map[int64]*piece{}, ledger: newLedger()}
	p := &piece{Block: Block{Size: size}}
	t.pieces[0] = p
	t.insert(p)
	return t
}

// class returns the list for blocks of size: sizes below 16 have a list each in row 0.
func class(size int64) (f, s int) {
	if size < 16 {
		return 0, int(size)
	}
	log := bits.Len64(uint64(size)) - 1
	return log - 3, int(size>>(log-4)) & 15
}

// roundUp returns the smallest size at or above which every list holds only blocks that fit.
func roundUp(size int64) int64 {
	if size < 16 {
		return size
	}
	step := int64(1) << (bits.Len64(uint64(size)) - 1 - 4)
	return (size + step - 1) / step * step
}

func (t *twoLevel) insert(p *piece) {
	f, s := class(p.Size)
	p.Used, p.prev, p.next = false, nil, t.lists[f][s]
	if p.next != nil {
		p.next.prev = p
	}
	t.lists[f][s] = p
	t.second[f] |= 1 << s
	t.first |= 1 << f
}

func (t *twoLevel) remove(p *piece) {
	f, s := class(p.Size)
	if p.next != nil {
		p.next.prev = p.prev
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else if t.lists[f][s] = p.next; p.next == nil {
		if t.second[f] &^= 1 << s; t.second[f] == 0 {
			t.first &^= 1 << f
		}
	}
	p.prev, p.next = nil, nil
}

// find returns a free piece of a list at or above the class of size.
func (t *twoLevel) find(size int64) *piece {
	f, s := class(roundUp(size))
	if row := t.second[f] >> s << s; row != 0 {
		return t.lists[f][bits.TrailingZeros16(row)]
	}
	rows := t.first >> (f + 1) << (f + 1)
	if rows == 0 {
		return nil
	}
	f = bits.TrailingZeros64(rows)
	return t.lists[f][bits.TrailingZeros16(t.second[f])]
}

// Allocate implements Allocator.
func (t *twoLevel) Allocate(size int64) (Grant, error) {
	if err := check(size, t.size); err != nil {
		return Grant{}, err
	}
	p := t.find(size)
	if p == nil {
		return Grant{}, ErrNoSpace
	}
	hole := p.Size
	t.remove(p)
	if p.Size > size {
		rest := &piece{Block: Block{Start: p.Start + size, Size: p.Size - size}, below: p, above: p.above}
		if p.above != nil {
			p.above.below = rest
		}
		p.above, p.Size = rest, size
		t.pieces[rest.Start] = rest
		t.insert(rest)
	}
	p.Used = true
	t.grant(p.Start, Block{Start: p.Start, Size: size, Requested: size})
	return Grant{Address: p.Start, Hole: hole, Block: size}, nil
}

// Free implements Allocator.
func (t *twoLevel) Free(address int64) (int64, error) {
	b, err := t.free(address)
	if err != nil {
		return 0, err
	}
	p := t.pieces[address]
	if o := p.above; o != nil && !o.Used {
		t.remove(o)
		t.join(p, o)
	}
	if o := p.below; o != nil && !o.Used {
		t.remove(o)
		t.join(o, p)
		p = o
	}
	t.insert(p)
	return b.Size, nil
}

// join makes one piece of low and the one right above it.
func (t *twoLevel) join(low, high *piece) {
	delete(t.pieces, high.Start)
	low.Size += high.Size
	if low.above = high.above; low.above != nil {
		low.above.below = low
	}
}

// Blocks implements Allocator.
func (t *twoLevel) Blocks() []Block {
	var holes []Block
	for p := t.pieces[0]; p != nil; p = p.above {
		if !p.Used {
			holes = append(holes, p.Block)
		}
	}
	return t.blocks(holes)
}
