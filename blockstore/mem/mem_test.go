package mem_test

import (
	"context"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) blockstore.Store { return mem.New() })
}

func TestCapacity(t *testing.T) {
	ctx := context.Background()
	s := &mem.Store{Capacity: 10 * blockstore.Size}
	a, b := storetest.Extent(1, 8), storetest.Extent(2, 3)
	if err := s.Put(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, b); fault.KindOf(err) != fault.NoSpace {
		t.Fatalf("%v, want no space", err)
	}
	if err := s.Delete(ctx, blockstore.Span{Extent: a.ID, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, b); err != nil {
		t.Fatal(err)
	}
}

func TestCrashTakesBackWhatWasNotSynced(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	a, b := storetest.Extent(1, 2), storetest.Extent(2, 2)
	for _, err := range []error{s.Put(ctx, a), s.Sync(ctx), s.Put(ctx, b), s.Delete(ctx, blockstore.Span{Extent: a.ID, Count: 2})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.Mark() != 2 || s.SyncedThrough() != 1 {
		t.Fatalf("mark %d, synced through %d", s.Mark(), s.SyncedThrough())
	}
	s.Crash()
	p := make([]byte, 2*blockstore.Size)
	if err := s.Get(ctx, blockstore.Span{Extent: a.ID, Count: 2}, p); err != nil {
		t.Fatalf("synced and then deleted without a sync: %v", err)
	}
	if err := s.Get(ctx, blockstore.Span{Extent: b.ID, Count: 2}, p); fault.KindOf(err) != fault.NotExist {
		t.Fatalf("never synced: %v, want not exist", err)
	}
}

func TestRotIsFound(t *testing.T) {
	ctx := context.Background()
	s := mem.New()
	a := storetest.Extent(1, 4)
	if err := s.Put(ctx, a); err != nil {
		t.Fatal(err)
	}
	s.Rot(a.ID, 2)
	p := make([]byte, 2*blockstore.Size)
	if err := s.Get(ctx, blockstore.Span{Extent: a.ID, First: 2, Count: 2}, p); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("%v, want corrupt", err)
	}
	if err := s.Get(ctx, blockstore.Span{Extent: a.ID, First: 0, Count: 2}, p); err != nil {
		t.Fatal(err)
	}
}
