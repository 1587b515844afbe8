package segment

import "dfs/blockstore/disk"

const (
	bulkBytes   = 256 << 10 // a record of so many bytes is written in bulk
	behindBytes = 64 << 20  // of such records the system keeps in memory what was written last
)

// behind follows what is written in bulk: each record is begun to be written out at once, so that a sync finds little to do,
// and the memory of those that lie behindBytes back is given up. A peer's replica is there to be safe: what is read again soon is
// read from the memory of the mount that wrote it. appendMu guards it.
type behind struct {
	records []bulk // oldest first
	bytes   int64
}

type bulk struct {
	seg    *segment
	off, n int64
}

// wrote notes a record of n bytes at off.
func (b *behind) wrote(seg *segment, off, n int64) {
	f, can := seg.file.(disk.Hinter)
	if !can || n < bulkBytes {
		return
	}
	f.Begin(off, n)
	b.records = append(b.records, bulk{seg, off, n})
	b.bytes += n
	for b.bytes > behindBytes {
		old := b.records[0]
		b.records = b.records[1:]
		b.bytes -= old.n
		old.seg.file.(disk.Hinter).Forget(old.off, old.n)
	}
}
