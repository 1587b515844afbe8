package extent

import (
	"fmt"
	"slices"
	"sort"

	"dfs/blockstore"
)

// Map is a file's extents: sorted by Off, disjoint; a gap is a hole and reads as zeros. A Map is a value:
// methods return new maps and leave the receiver alone.
type Map []Extent

// Insert puts e over what lies under it. Hidden is what e covers: pieces, clipped to it, in order.
func (m Map) Insert(e Extent) (next Map, hidden []Extent) {
	next, hidden = m.Remove(e.Off, e.Span.Bytes())
	i := next.at(e.Off)
	return slices.Insert(next, i, e), hidden
}

// Remove makes a hole of every block that [off, off+n) touches and returns what was there, clipped, in order.
func (m Map) Remove(off, n int64) (next Map, removed []Extent) {
	next = make(Map, 0, len(m)+2)
	if n <= 0 {
		return append(next, m...), nil
	}
	from, to := floor(off), ceil(end(off, n))
	for _, e := range m {
		if left, ok := e.Clip(e.Off, min(from, e.End())); ok {
			next = append(next, left)
		}
		if mid, ok := e.Clip(from, to); ok {
			removed = append(removed, mid)
		}
		if right, ok := e.Clip(max(to, e.Off), e.End()); ok {
			next = append(next, right)
		}
	}
	return next, removed
}

// Slice returns the part of m within [off, off+n), widened to whole blocks.
func (m Map) Slice(off, n int64) Map {
	if n <= 0 {
		return nil
	}
	var s Map
	to := end(off, n)
	for _, e := range m[m.at(off):] {
		if e.Off >= to {
			break
		}
		if c, ok := e.Clip(off, to); ok {
			s = append(s, c)
		}
	}
	return s
}

// Split returns m with no piece crossing off, which is rounded down to a block boundary.
func (m Map) Split(off int64) Map {
	off = floor(off)
	i := m.at(off)
	if i == len(m) || m[i].Off >= off {
		return slices.Clone(m)
	}
	left, _ := m[i].Clip(m[i].Off, off)
	right, _ := m[i].Clip(off, m[i].End())
	next := make(Map, 0, len(m)+1)
	next = append(next, m[:i]...)
	next = append(next, left, right)
	return append(next, m[i+1:]...)
}

// Bytes returns how many bytes the pieces hold, holes not counted.
func (m Map) Bytes() int64 {
	var n int64
	for _, e := range m {
		n += e.Span.Bytes()
	}
	return n
}

// Find returns the piece that holds the byte at off.
func (m Map) Find(off int64) (Extent, bool) {
	i := m.at(off)
	if i == len(m) || m[i].Off > off {
		return Extent{}, false
	}
	return m[i], true
}

// Check returns an error that names the first broken invariant. For bytes from a peer or a disk, and for tests.
func (m Map) Check() error {
	for i, e := range m {
		switch {
		case e.Off < 0 || e.Off%blockstore.Size != 0:
			return fmt.Errorf("extent %d at offset %d", i, e.Off)
		case e.Span.Count == 0 || e.Span.Count > blockstore.MaxBlocks || e.Span.First > blockstore.MaxBlocks-e.Span.Count:
			return fmt.Errorf("extent %d: blocks %d+%d", i, e.Span.First, e.Span.Count)
		case e.Tail >= blockstore.Size:
			return fmt.Errorf("extent %d: tail %d", i, e.Tail)
		case e.End() < e.Off:
			return fmt.Errorf("extent %d ends beyond all offsets", i)
		case i > 0 && m[i-1].End() > e.Off:
			return fmt.Errorf("extent %d overlaps the one before it", i)
		}
	}
	return nil
}

// at returns the index of the first piece that ends after off.
func (m Map) at(off int64) int {
	return sort.Search(len(m), func(i int) bool { return m[i].End() > off })
}

// end returns off+n without overflow.
func end(off, n int64) int64 {
	if s := off + n; s >= off {
		return s
	}
	return int64(^uint64(0) >> 1)
}
