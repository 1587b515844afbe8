// Package extent does the arithmetic of a file's map: which span of which extent holds which bytes. It is pure.
package extent

import (
	"dfs/blockstore"
	"dfs/cluster/placement"
)

// Extent is one piece of a file and the span that holds it. Invariants: Off is a multiple of blockstore.Size;
// 0 <= Off; 1 <= Span.Count.
type Extent struct {
	Off    int64
	Span   blockstore.Span
	Layout placement.Layout
}

// End returns the offset after the extent's last byte.
func (e Extent) End() int64 { return e.Off + e.Span.Bytes() }

// Map is a file's extents: sorted by Off, disjoint; a gap is a hole and reads as zeros. A Map is a value:
// methods return new maps and leave the receiver alone.
type Map []Extent
