package segment

import (
	"os"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

// gauged is Options whose disk has as much room as the test says.
func gauged(free *int64) Options {
	return Options{Free: func() (int64, error) { return *free, nil }, Reserve: 2 << 20, Spare: 1 << 20, SegmentBytes: 1 << 20}
}

// On a full disk puts are refused, deletes and syncs are not, although the index has to wait; the space that deletes give
// back is used again by the same store. What was synced meanwhile survives the process.
func TestFullDisk(t *testing.T) {
	free := int64(1 << 30)
	dir, left := t.TempDir(), t.TempDir()
	s := open(t, dir, gauged(&free))
	var all []blockstore.Batch
	for i := range uint64(20) {
		all = append(all, storetest.Extent(i+1, 500))
		ok(t, s.Put(ctx, all[i]))
	}
	free = 1 << 19
	if err := s.Put(ctx, storetest.Extent(99, 1)); fault.KindOf(err) != fault.NoSpace {
		t.Fatalf("a put on a full disk: %v", err)
	}
	ok(t, s.checkpoint(ctx))
	if s.SyncedThrough() != s.Mark() || s.Failed() != nil {
		t.Fatalf("synced through %d of %d, %v", s.SyncedThrough(), s.Mark(), s.Failed())
	}
	for _, b := range all[:15] {
		ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, Count: 500}))
	}
	ok(t, s.checkpoint(ctx))
	ok(t, os.CopyFS(left, os.DirFS(dir)))
	before := s.Usage().Disk
	for {
		did, err := s.Compact(ctx) // of what has nothing alive: there is no room to copy anything
		ok(t, err)
		if !did {
			break
		}
	}
	if s.Usage().Disk >= before {
		t.Error("no space came back")
	}
	for _, b := range all[15:] {
		ok(t, get(s, b))
	}
	free = 1 << 30
	ok(t, s.Put(ctx, storetest.Extent(99, 1)))
	ok(t, s.Sync(ctx))
	found := open(t, left, Options{SegmentBytes: 1 << 20})
	for i, b := range all {
		if err := get(found, b); (err == nil) != (i >= 15) {
			t.Errorf("after the process ended, extent %d: %v", i, err)
		}
	}
}

// A segment whose living blocks do not fit beside it is not compacted until they do.
func TestCompactionNeedsRoom(t *testing.T) {
	free := int64(1 << 30)
	s := open(t, t.TempDir(), gauged(&free))
	b, filler := storetest.Extent(1, 800), storetest.Extent(2, 1400)
	ok(t, s.Put(ctx, b, filler))
	ok(t, s.Put(ctx, storetest.Extent(3, 1)))
	ok(t, s.Delete(ctx, blockstore.Span{Extent: filler.ID, Count: 1400}))
	free = 1<<20 + 300<<10
	if did, err := s.Compact(ctx); did || err != nil {
		t.Fatal(did, err)
	}
	free = 1<<20 + 500<<10
	if did, err := s.Compact(ctx); !did || err != nil {
		t.Fatal(did, err)
	}
	ok(t, get(s, b))
}
