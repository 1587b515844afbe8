package segment

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

// Each test here is about one rule of recovery, which random histories break too rarely.

func all(b blockstore.Batch) blockstore.Span {
	return blockstore.Span{Extent: b.ID, Count: uint32(len(b.Sums))}
}

func get(s *Store, b blockstore.Batch) error { return s.Get(ctx, all(b), make([]byte, len(b.Data))) }

// A delete that failed after all of it had been written is no delete, even where a later, shorter write leaves a part of
// it behind the end of the stream: the sequence numbers there go back.
func TestLeftOversOfAFailedWrite(t *testing.T) {
	m := disk.NewMemory()
	fail := false
	d := disk.Faulty(m, func(op disk.Op, _ string) error {
		if fail && op == disk.Write {
			return syscall.ENOSPC
		}
		return nil
	})
	index := mem.New()
	for range 4 { // of the four sizes that a failed write can have, one is the whole
		s := open(t, "", Options{Disk: d, KV: index})
		var spans []blockstore.Span
		var kept blockstore.Batch
		for i := range 20 {
			kept = storetest.Extent(rand.Uint64(), 1+i%2)
			ok(t, s.Put(ctx, kept))
			spans = append(spans, all(kept))
		}
		fail = true
		if err := s.Delete(ctx, spans...); fault.KindOf(err) != fault.NoSpace {
			t.Fatal(err)
		}
		fail = false
		ok(t, s.Put(ctx, storetest.Extent(rand.Uint64(), 1))) // over some of the first tombstones
		ok(t, s.Sync(ctx))
		ok(t, get(s, kept))
		m.Cut(nil)
		s = open(t, "", Options{Disk: d, KV: index})
		if err := get(s, kept); err != nil {
			t.Fatalf("an extent whose delete had failed, after a restart: %v", err)
		}
		ok(t, s.Close())
	}
}

// A compaction that was interrupted is finished before any other begins, also after a restart: what it had moved and
// was then deleted is still in the old segment, and the tombstone that says so goes with the new one.
func TestInterruptedCompactionComesFirst(t *testing.T) {
	for name, restart := range map[string]bool{"running": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			m, index := disk.NewMemory(), mem.New()
			o := Options{Disk: m, KV: index, SegmentBytes: 16 << 10}
			s := open(t, "", o)
			// The victim: a little alive of much.
			moved, stays, filler := storetest.Extent(1, 3), storetest.Extent(2, 10), storetest.Extent(3, 20)
			ok(t, s.Put(ctx, moved, stays, filler))
			ok(t, s.nextSegment())
			ok(t, s.Delete(ctx, all(filler)))
			stop := errors.New("stop")
			if _, err := s.compact(ctx, func(context.Context, int64) error { return stop }); !errors.Is(err, stop) {
				t.Fatal(err)
			}
			if restart {
				ok(t, s.Sync(ctx))
				m.Cut(nil)
				index = index.CloneAt(0) // lost: the stream tells of the interruption
				o.KV = index
				s = open(t, "", o)
			}
			ok(t, s.Delete(ctx, all(moved)))
			// Two segments without anything alive: where it was moved to, and where the tombstone is.
			for range 2 {
				ok(t, s.nextSegment())
			}
			for range 2 {
				if did, err := s.Compact(ctx); !did || err != nil {
					t.Fatal(did, err)
				}
			}
			ok(t, s.Sync(ctx))
			m.Cut(nil)
			o.KV = mem.New()
			s = open(t, "", o)
			if err := get(s, moved); fault.KindOf(err) != fault.NotExist {
				t.Fatalf("a deleted extent is back: %v", err)
			}
			ok(t, get(s, stays))
		})
	}
}

// A segment is on disk before the next begins: a sync of the last one is a sync of all.
func TestSyncAtTheRoll(t *testing.T) {
	m, index := disk.NewMemory(), mem.New()
	o := Options{Disk: m, KV: index, SegmentBytes: 8 << 10}
	s := open(t, "", o)
	first, second := storetest.Extent(1, 30), storetest.Extent(2, 1)
	ok(t, s.Put(ctx, first))
	ok(t, s.Put(ctx, second))
	ok(t, s.Sync(ctx))
	m.Cut(rand.New(rand.NewPCG(1, 1)))
	s = open(t, "", o)
	ok(t, get(s, first))
	ok(t, get(s, second))
}

// A process was killed before the name of its new segment was safe. The next one makes sure of it before it says that
// anything in the segment is.
func TestNameOfANewSegment(t *testing.T) {
	for seed := range uint64(10) {
		m, index := disk.NewMemory(), mem.New()
		armed := false
		d := disk.Faulty(m, func(op disk.Op, _ string) error {
			if op == disk.SyncDir && armed {
				return syscall.EIO
			}
			return nil
		})
		o := Options{Disk: d, KV: index, SegmentBytes: 8 << 10}
		s := open(t, "", o)
		armed = true
		b := storetest.Extent(1, 1)
		if err := s.Put(ctx, b); fault.KindOf(err) != fault.ReadOnly {
			t.Fatal(err)
		}
		armed = false
		m.Cut(nil)
		s = open(t, "", o)
		ok(t, s.Put(ctx, b))
		ok(t, s.Sync(ctx))
		m.Cut(rand.New(rand.NewPCG(seed, 1)))
		s = open(t, "", o)
		ok(t, get(s, b))
	}
}
