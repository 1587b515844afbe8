package segment

import (
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/storetest"
)

// warmDisk notes what it is asked to read ahead.
type warmDisk struct {
	disk.Disk
	warmed *int64
}

type warmFile struct {
	disk.File
	warmed *int64
}

func (d warmDisk) Open(name string, create bool) (disk.File, error) {
	f, err := d.Disk.Open(name, create)
	return warmFile{f, d.warmed}, err
}

func (f warmFile) Warm(_, n int64)   { *f.warmed += n }
func (f warmFile) Begin(_, _ int64)  {}
func (f warmFile) Forget(_, n int64) { *f.warmed -= n }

// What is written in bulk leaves the system's memory when enough has been written behind it, and nothing else does.
func TestBehind(t *testing.T) {
	var kept int64
	s, err := Open("", Options{Disk: warmDisk{newFaults(1), &kept}, KV: mem.New()})
	ok(t, err)
	big := storetest.Extent(1, 8192)
	for i := range 3 * behindBytes / len(big.Data) {
		big.ID[3] = byte(i)
		small := storetest.Extent(uint64(100+i), 8)
		ok(t, s.Put(ctx, big, small))
	}
	if forgot := -kept; forgot < 2*behindBytes || forgot > 2*behindBytes+8<<20 {
		t.Errorf("%d MiB were given up of %d", forgot>>20, 3*behindBytes>>20)
	}
}

// An extent that is read again and again in small pieces is read ahead as a whole, and once more after many more reads; one that is read in large pieces, and
// many that are read now and then, are not.
func TestWarm(t *testing.T) {
	var warmed int64
	s, err := Open("", Options{Disk: warmDisk{newFaults(1), &warmed}, KV: mem.New()})
	ok(t, err)
	read := func(b blockstore.Batch, first, blocks int) {
		t.Helper()
		span := blockstore.Span{Extent: b.ID, First: uint32(first), Count: uint32(blocks)}
		ok(t, s.Get(ctx, span, make([]byte, span.Bytes())))
		for len(s.hot) > 0 {
			s.readAhead(<-s.hot)
		}
	}
	large, small := storetest.Extent(1, 4096), storetest.Extent(2, 8)
	ok(t, s.Put(ctx, large, small))
	for i := range 8 {
		read(large, i*512, 512)
	}
	for range 10 * hotReads {
		read(small, 0, 8)
	}
	if warmed != 0 {
		t.Errorf("%d bytes for large reads, and for a small extent", warmed)
	}
	for i := range 3 * hotReads {
		read(large, i*8, 8)
	}
	if warmed != int64(len(large.Data)) {
		t.Errorf("%d bytes, want the extent's %d once", warmed, len(large.Data))
	}
	for i := range hotAgain {
		read(large, i*8, 8)
	}
	if warmed != 2*int64(len(large.Data)) {
		t.Errorf("%d bytes, want the extent's %d once more, as it may have been forgotten", warmed, len(large.Data))
	}
	h := newHeat()
	for i := range 10 * hotReads * (hotMax + 1) {
		if n := i % (hotMax + 1); h.read(blockstore.ID{byte(n >> 8), byte(n)}) {
			t.Fatal("scattered reads made an extent hot")
		}
	}
	if h.order.Len() != hotMax || len(h.reads) != hotMax {
		t.Errorf("%d extents are counted", h.order.Len())
	}
}
