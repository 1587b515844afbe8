package pool

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/segment"
	"dfs/cluster"
	"dfs/cluster/placement"
)

// TestDisksFailUnderOneOfThree fails each disk call of one peer's store in turn, for once or for good: with I/O errors, a full
// disk, short writes and syncs that forget. Writes and syncs go on through the others, and what was synced is there, also
// after that peer's power was cut on top.
func TestDisksFailUnderOneOfThree(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, forGood := range []bool{false, true} {
			calls := failingDisk(t, 1<<30, errno, false) // without any fault
			if calls < 40 {
				t.Errorf("only %d calls", calls)
			}
			for n := range calls {
				if failingDisk(t, n+1, errno, forGood); t.Failed() {
					t.Fatalf("%v at call %d, for good: %v", errno, n+1, forGood)
				}
			}
		}
	}
}

// failingDisk returns how many calls were made.
func failingDisk(t *testing.T, failAt int64, errno error, forGood bool) int64 {
	t.Helper()
	var calls atomic.Int64
	var armed atomic.Bool
	memory := disk.NewMemory()
	bad := disk.Faulty(memory, func(disk.Op, string) error {
		if !armed.Load() {
			return nil
		}
		if n := calls.Add(1); n == failAt || forGood && n > failAt {
			return errno
		}
		return nil
	})
	stores := map[cluster.PeerID]blockstore.Store{}
	r := newRig(3, 1, func(o *Options) {
		o.Store = func(id cluster.PeerID) blockstore.Store { return stores[id] }
	})
	open := func(d disk.Disk, index *mem.Store) *segment.Store {
		s, err := segment.Open("", segment.Options{Disk: d, KV: index, SegmentBytes: 32 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	index := mem.New()
	stores[r.ids[0]] = open(bad, index)
	stores[r.ids[1]] = open(disk.NewMemory(), mem.New())
	stores[r.ids[2]] = open(disk.NewMemory(), mem.New())
	armed.Store(true)
	type written struct {
		data   []byte
		pieces []Piece
	}
	var all []written
	for i := range 25 {
		data := blocks(1+i%20, uint64(i))
		pieces, err := r.Write(t.Context(), data, blockstore.Note{}, placement.Wish{Copies: 3})
		if err != nil {
			t.Errorf("write %d: %v", i, err)
			return 0
		}
		var layouts []placement.Layout
		for _, p := range pieces {
			layouts = append(layouts, p.Layout)
		}
		if _, err := r.SyncLayouts(t.Context(), layouts); err != nil {
			t.Errorf("sync %d: %v", i, err)
			return 0
		}
		all = append(all, written{data, pieces})
	}
	made := calls.Load()
	armed.Store(false)
	memory.Cut(nil)
	stores[r.ids[0]] = open(bad, index)
	for i, w := range all {
		if got := r.whole(t, w.pieces); !bytes.Equal(got, w.data) {
			t.Errorf("write %d has other bytes", i)
		}
	}
	return made
}
