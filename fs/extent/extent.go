// Package extent does the arithmetic of a file's map: which span of which extent holds which bytes. It is pure.
//
// An extent never changes; only what a file shows of it does. So every method answers with new values: pieces are
// clipped at block boundaries, and what is no longer shown is handed back to be freed.
package extent

import (
	"dfs/blockstore"
	"dfs/cluster/placement"
)

// Extent is one piece of a file and the span that holds it. Invariants: Off is a multiple of blockstore.Size;
// 0 <= Off; 1 <= Span.Count; 0 <= Tail < blockstore.Size.
type Extent struct {
	Off    int64
	Span   blockstore.Span
	Layout placement.Layout

	// Tail, unless 0, is how many bytes of the LAST block count: a truncation cut the file there. What follows
	// them in that block reads as zeros, whatever the store holds.
	Tail uint16
}

// End returns the offset after the extent's last byte.
func (e Extent) End() int64 { return e.Off + e.Span.Bytes() }

// Shown returns the offset after the last byte that counts: End, or where the Tail ends.
func (e Extent) Shown() int64 {
	if e.Tail == 0 {
		return e.End()
	}
	return e.End() - blockstore.Size + int64(e.Tail)
}

// Clip returns the part of e within [off, end), widened to whole blocks, and whether there is any.
func (e Extent) Clip(off, end int64) (Extent, bool) {
	from := max(e.Off, floor(off))
	to := min(e.End(), ceil(end))
	if from >= to || off >= end {
		return Extent{}, false
	}
	c := e
	c.Off = from
	c.Span.First += uint32((from - e.Off) / blockstore.Size)
	c.Span.Count = uint32((to - from) / blockstore.Size)
	if to != e.End() {
		c.Tail = 0
	}
	return c, true
}

// Block returns the one-block span that holds the block at off, which e must contain.
func (e Extent) Block(off int64) blockstore.Span {
	s := e.Span
	s.First += uint32((off - e.Off) / blockstore.Size)
	s.Count = 1
	return s
}

// Same reports whether two records are equal, the order of their peers included.
func (e Extent) Same(o Extent) bool {
	if e.Off != o.Off || e.Span != o.Span || e.Tail != o.Tail || e.Layout.Data != o.Layout.Data ||
		e.Layout.Parity != o.Layout.Parity || len(e.Layout.Peers) != len(o.Layout.Peers) {
		return false
	}
	for i, p := range e.Layout.Peers {
		if p != o.Layout.Peers[i] {
			return false
		}
	}
	return true
}

func floor(off int64) int64 { return off &^ (blockstore.Size - 1) }

// ceil rounds up to a block boundary; what would overflow stays at the highest one.
func ceil(off int64) int64 {
	const top = int64(^uint64(0)>>1) &^ (blockstore.Size - 1)
	if off > top {
		return top
	}
	return floor(off + blockstore.Size - 1)
}
