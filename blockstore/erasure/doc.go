// Package erasure will turn sealed extents of a directory whose layout says ec=k+m into k data and m parity shards, and
// back; it is the only importer of reedsolomon. Nothing is in it yet: such a layout is refused.
package erasure
