package segment

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/runs"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

// patchOf is what of b is in set.
func patchOf(b blockstore.Batch, set runs.Set) blockstore.Patch {
	p := blockstore.Patch{ID: b.ID, Blocks: uint32(len(b.Sums)), Set: set, Note: b.Note}
	for _, r := range set {
		p.Data = append(p.Data, b.Data[r.First*blockstore.Size:r.End*blockstore.Size]...)
		p.Sums = append(p.Sums, b.Sums[r.First:r.End]...)
	}
	return p
}

// Whatever bit of a live record flips, header, runs, sums or blocks, Examine finds it, names exactly the blocks it costs, and
// a patch of those makes the extent whole: at once, after a restart, and after the loss of the index.
func TestEveryFlipIsFoundAndMended(t *testing.T) {
	flips := 300
	if os.Getenv("DFS_SOAK") != "" {
		flips = 20_000
	}
	rng := storetest.Rand(t)
	d := disk.NewMemory()
	index := mem.New()
	s := open(t, "", Options{Disk: d, KV: index, SegmentBytes: 1 << 20})
	batches := map[blockstore.ID]blockstore.Batch{}
	var ids []blockstore.ID
	for i := range 40 {
		b := storetest.Extent(uint64(i+1), 1+rng.IntN(64))
		ok(t, s.Put(ctx, b))
		batches[b.ID], ids = b, append(ids, b.ID)
	}
	dead := map[blockstore.ID]runs.Set{}
	for _, id := range ids[:20] { // some have dead blocks
		if n := uint32(len(batches[id].Sums)); n > 4 {
			first := rng.Uint32N(n - 3)
			ok(t, s.Delete(ctx, blockstore.Span{Extent: id, First: first, Count: 3}))
			dead[id] = runs.Of(first, 3)
		}
	}
	for n := range flips {
		id := ids[rng.IntN(len(ids))]
		b := batches[id]
		e, err := s.lookup(id)
		ok(t, err)
		wantBad := flip(t, rng, d, e)
		c, err := s.Examine(ctx, id)
		ok(t, err)
		live := runs.Of(0, uint32(len(b.Sums))).Minus(dead[id])
		if !slices.Equal(c.Live, live) || !slices.Equal(c.Bad, wantBad) {
			t.Fatalf("flip %d of %v: live %v, bad %v; want %v, %v", n, id, c.Live, c.Bad, live, wantBad)
		}
		ok(t, s.Mend(ctx, patchOf(b, c.Bad)))
		whole := func(what string) {
			t.Helper()
			if c, err := s.Examine(ctx, id); err != nil || len(c.Bad) > 0 || !slices.Equal(c.Live, live) || !c.Noted || c.Note != b.Note {
				t.Fatalf("flip %d, %s: %+v, %v", n, what, c, err)
			}
			for _, r := range live {
				p := make([]byte, (r.End-r.First)*blockstore.Size)
				if err := s.Get(ctx, blockstore.Span{Extent: id, First: r.First, Count: r.End - r.First}, p); err != nil ||
					!bytes.Equal(p, b.Data[r.First*blockstore.Size:r.End*blockstore.Size]) {
					t.Fatalf("flip %d, %s: %v", n, what, err)
				}
			}
		}
		whole("mended")
		if n%25 == 0 {
			ok(t, s.Close())
			if n%50 == 0 {
				index = mem.New() // the index is lost
			}
			s = open(t, "", Options{Disk: d, KV: index, SegmentBytes: 1 << 20})
			whole("after a restart")
		}
		for did := true; did && n%40 == 0; { // space comes back, and nothing is lost
			did, err = s.Compact(ctx)
			ok(t, err)
		}
	}
	for _, id := range ids {
		if c, err := s.Examine(ctx, id); err != nil || len(c.Bad) > 0 || len(c.Live) == 0 {
			t.Fatalf("%v in the end: %+v, %v", id, c, err)
		}
	}
}

// flip inverts one bit of what of e's record can be read, and returns the blocks that costs.
func flip(t *testing.T, rng *rand.Rand, d *disk.Memory, e *entry) (bad runs.Set) {
	t.Helper()
	h, live := e.header(), e.alive()
	at := rng.Int64N(headerSize + int64(h.metaLen()))
	bad = live
	if rng.IntN(3) > 0 {
		i := rng.Uint32N(live.Len())
		for _, r := range live {
			if n := r.End - r.First; i >= n {
				i -= n
				continue
			}
			bad = runs.Of(r.First+i, 1)
			at = h.dataAt() + int64(e.held().Rank(r.First+i))*blockstore.Size + rng.Int64N(blockstore.Size)
			break
		}
	}
	d.Flip(segmentName(e.segment), e.offset+at, uint(rng.IntN(8)))
	return bad
}

// A block that a disk wrote elsewhere, or an old one where a new one should be, is as rotten as one whose bits flipped.
func TestMisdirectedAndStaleBlocksAreFound(t *testing.T) {
	d := disk.NewMemory()
	s := open(t, "", Options{Disk: d, KV: mem.New()})
	a, b := storetest.Extent(1, 4), storetest.Extent(2, 4)
	ok(t, s.Put(ctx, a, b))
	f, err := d.Open(segmentName(1), false)
	ok(t, err)
	misdirect := func(to, from, n int64) {
		p := make([]byte, n)
		_, err := f.ReadAt(p, from)
		ok(t, err)
		ok(t, f.WriteAll(to, p))
	}
	h := header{held: 4}
	misdirect(h.size()+h.dataAt(), h.dataAt(), 512) // a's first block over b's
	c, err := s.Examine(ctx, b.ID)
	if ok(t, err); !slices.Equal(c.Bad, runs.Of(0, 1)) {
		t.Fatalf("a misdirected block: %+v", c)
	}
	misdirect(h.size(), 0, h.size()) // a's whole record where b's is
	c, err = s.Examine(ctx, b.ID)
	if ok(t, err); !slices.Equal(c.Bad, runs.Of(0, 4)) || c.Noted {
		t.Fatalf("a misdirected record: %+v", c)
	}
	ok(t, s.Mend(ctx, patchOf(b, c.Bad)))
	if err := s.Get(ctx, blockstore.Span{Extent: b.ID, Count: 4}, make([]byte, 4*512)); err != nil {
		t.Fatal(err)
	}
}

// An extent that is lost without a trace comes back as the patch says; what was deleted does not.
func TestMendBringsBackTheLostAndNotTheDeleted(t *testing.T) {
	s := open(t, "", Options{Disk: disk.NewMemory(), KV: mem.New()})
	b := storetest.Extent(1, 8)
	ok(t, s.Mend(ctx, patchOf(b, runs.Of(2, 4))))
	c, err := s.Examine(ctx, b.ID)
	if ok(t, err); !slices.Equal(c.Live, runs.Of(2, 4)) || c.Blocks != 8 || c.Note != b.Note {
		t.Fatalf("%+v", c)
	}
	ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, First: 3, Count: 1}))
	ok(t, s.Mend(ctx, patchOf(b, runs.Of(0, 8))))
	c, err = s.Examine(ctx, b.ID)
	if ok(t, err); !slices.Equal(c.Live, runs.Of(0, 8).Minus(runs.Of(3, 1))) {
		t.Fatalf("%+v", c)
	}
	bad := patchOf(b, runs.Of(0, 1))
	bad.Data[0] ^= 1
	if err := s.Mend(ctx, bad); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("a patch that is rotten itself: %v", err)
	}
}

// A segment that compaction had to leave because of rot is compacted once that was mended; compaction says what it
// could not read.
func TestMendFreesAStuckSegment(t *testing.T) {
	d := disk.NewMemory()
	var told []blockstore.ID
	s := open(t, "", Options{Disk: d, KV: mem.New(), SegmentBytes: 8 << 10, OnBad: func(id blockstore.ID) { told = append(told, id) }})
	b, filler := storetest.Extent(1, 4), storetest.Extent(2, 20)
	ok(t, s.Put(ctx, b, filler))
	d.Flip(segmentName(1), 80, 0) // b's header
	ok(t, s.Put(ctx, storetest.Extent(3, 1)))
	ok(t, s.Delete(ctx, blockstore.Span{Extent: filler.ID, Count: 20}))
	if _, err := s.Compact(ctx); fault.KindOf(err) != fault.Corrupt || !slices.Equal(told, []blockstore.ID{b.ID}) {
		t.Fatalf("%v, told %v", err, told)
	}
	ok(t, s.Mend(ctx, patchOf(b, runs.Of(0, 4))))
	if did, err := s.Compact(ctx); !did || err != nil || exists(t, d, segmentName(1)) {
		t.Fatal(did, err)
	}
	if err := s.Get(ctx, blockstore.Span{Extent: b.ID, Count: 4}, make([]byte, 4*512)); err != nil {
		t.Fatal(err)
	}
}
