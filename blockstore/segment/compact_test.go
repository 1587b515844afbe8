package segment

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

// Writers, readers and deleters work while segment after segment is compacted; nothing live is ever missed.
func TestCompactionUnderLoad(t *testing.T) {
	s := open(t, "", Options{Disk: disk.NewMemory(), KV: mem.New(), SegmentBytes: 64 << 10})
	stop := make(chan struct{})
	var compactions int
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			did, err := s.Compact(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			if did {
				compactions++
			}
		}
	})
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() {
			rng := storetest.Rand(t)
			mine := map[blockstore.ID]blockstore.Batch{}
			p := make([]byte, 20*blockstore.Size)
			for i := range 400 {
				b := storetest.Extent(uint64(w)<<40|uint64(i)<<20|rng.Uint64N(1<<20), 1+rng.IntN(20))
				if err := s.Put(ctx, b); err != nil {
					t.Error(err)
					return
				}
				mine[b.ID] = b
				for id, old := range mine {
					if err := s.Get(ctx, blockstore.Span{Extent: id, Count: uint32(len(old.Sums))}, p[:len(old.Data)]); err != nil ||
						!bytes.Equal(p[:len(old.Data)], old.Data) {
						t.Errorf("%v: %v", id, err)
						return
					}
					if len(mine) > 12 {
						if err := s.Delete(ctx, blockstore.Span{Extent: id, Count: blockstore.MaxBlocks}); err != nil {
							t.Error(err)
							return
						}
						delete(mine, id)
					}
				}
			}
		})
	}
	work.Wait()
	close(stop)
	wg.Wait()
	if compactions < 5 {
		t.Errorf("only %d compactions", compactions)
	}
}

// Space comes back: of many segments with a tenth alive, what stays is about what lives.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentBytes: 1 << 20})
	var kept []blockstore.Batch
	for i := range uint64(100) {
		b := storetest.Extent(i+1, 200)
		ok(t, s.Put(ctx, b))
		if i%10 == 0 {
			kept = append(kept, b)
			continue
		}
		ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, Count: 200}))
	}
	half := kept[0]
	ok(t, s.Delete(ctx, blockstore.Span{Extent: half.ID, First: 50, Count: 100}))
	for {
		did, err := s.Compact(ctx)
		ok(t, err)
		if !did {
			break
		}
	}
	u := s.Usage()
	var files int64
	names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	for _, n := range names {
		i, err := os.Stat(n)
		ok(t, err)
		files += i.Size()
	}
	if u.Disk != files || u.Disk > 4*u.Live {
		t.Fatalf("usage %+v, files %d", u, files)
	}
	for _, b := range kept[1:] {
		ok(t, s.Get(ctx, blockstore.Span{Extent: b.ID, Count: 200}, make([]byte, len(b.Data))))
	}
	ok(t, s.Get(ctx, blockstore.Span{Extent: half.ID, First: 150, Count: 50}, make([]byte, 50*512)))
	err := s.Get(ctx, blockstore.Span{Extent: half.ID, First: 149, Count: 1}, make([]byte, 512))
	if fault.KindOf(err) != fault.NotExist {
		t.Fatalf("a dead block: %v", err)
	}
}

// Rot is not laundered: a rotten block is rotten after compaction, and its neighbours are fine.
func TestCompactionKeepsRot(t *testing.T) {
	d := disk.NewMemory()
	s := open(t, "", Options{Disk: d, KV: mem.New(), SegmentBytes: 8 << 10})
	b := storetest.Extent(1, 8)
	filler := storetest.Extent(2, 20)
	ok(t, s.Put(ctx, b, filler))
	h := header{held: 8}
	d.Flip(segmentName(1), h.dataAt()+3*512, 0)
	ok(t, s.Put(ctx, storetest.Extent(3, 1))) // the next segment
	ok(t, s.Delete(ctx, blockstore.Span{Extent: filler.ID, Count: 20}))
	if did, err := s.Compact(ctx); !did || err != nil {
		t.Fatal(did, err)
	}
	if exists(t, d, segmentName(1)) {
		t.Fatal("the segment is still there")
	}
	for i := range uint32(8) {
		err := s.Get(ctx, blockstore.Span{Extent: b.ID, First: i, Count: 1}, make([]byte, 512))
		if rotten := fault.KindOf(err) == fault.Corrupt; rotten != (i == 3) || !rotten && err != nil {
			t.Errorf("block %d: %v", i, err)
		}
	}
}

// A segment whose records cannot be read is left where it is.
func TestCompactionLeavesTheUnreadable(t *testing.T) {
	d := disk.NewMemory()
	s := open(t, "", Options{Disk: d, KV: mem.New(), SegmentBytes: 8 << 10})
	b, filler := storetest.Extent(1, 4), storetest.Extent(2, 20)
	ok(t, s.Put(ctx, b, filler))
	d.Flip(segmentName(1), 80, 0) // b's header
	ok(t, s.Put(ctx, storetest.Extent(3, 1)))
	ok(t, s.Delete(ctx, blockstore.Span{Extent: filler.ID, Count: 20}))
	if _, err := s.Compact(ctx); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("%v, want corrupt", err)
	}
	if did, err := s.Compact(ctx); did || err != nil {
		t.Fatalf("again: %v, %v", did, err)
	}
	if !exists(t, d, segmentName(1)) {
		t.Fatal("the segment is gone")
	}
}

// Run syncs what waits and compacts what is dead, on its clock's word only, and ends with its context.
func TestRun(t *testing.T) {
	tick := make(chan time.Time)
	s := open(t, "", Options{Disk: disk.NewMemory(), KV: mem.New(), SegmentBytes: 8 << 10,
		After: func(time.Duration) <-chan time.Time { return tick }})
	for i := range uint64(20) {
		b := storetest.Extent(i+1, 8)
		ok(t, s.Put(ctx, b))
		ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, Count: 8}))
	}
	before := s.Usage().Disk
	run, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- s.Run(run) }()
	for s.SyncedThrough() < s.Mark() || s.Usage().Disk >= before {
		tick <- time.Time{}
	}
	cancel()
	ok(t, <-done)
}

// Concurrent syncs share disk syncs.
func TestGroupCommit(t *testing.T) {
	entered, release := make(chan struct{}, 100), make(chan struct{})
	var on atomic.Bool
	gate := disk.Faulty(disk.NewMemory(), func(op disk.Op, _ string) error {
		if op == disk.Sync && on.Load() {
			entered <- struct{}{}
			<-release
		}
		return nil
	})
	s := open(t, "", Options{Disk: gate, KV: mem.New()})
	ok(t, s.Put(ctx, storetest.Extent(1, 1)))
	on.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { ok(t, s.Sync(ctx)) })
	<-entered // the first is syncing
	ok(t, s.Put(ctx, storetest.Extent(2, 1)))
	for range 20 {
		wg.Go(func() { ok(t, s.Sync(ctx)) })
	}
	close(release)
	wg.Wait()
	if n := 1 + len(entered); n != 2 {
		t.Fatalf("%d disk syncs for 21 callers, want 2", n)
	}
}
