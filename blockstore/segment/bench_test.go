package segment

import (
	"encoding/binary"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/storetest"
)

func benchPut(b *testing.B, blocks int) {
	s := open(b, b.TempDir(), Options{})
	x := storetest.Extent(1, blocks)
	b.SetBytes(int64(len(x.Data)))
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		binary.BigEndian.PutUint64(x.ID[:], n)
		if err := s.Put(ctx, x); err != nil {
			b.Fatal(err)
		}
		if n%4096 == 0 || blocks > 1000 && n%64 == 0 { // keep the disk small
			if err := s.Delete(ctx, listed(s)...); err != nil {
				b.Fatal(err)
			}
			for did := true; did; {
				var err error
				if did, err = s.Compact(ctx); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}

func listed(s *Store) (all []blockstore.Span) {
	_ = s.List(ctx, blockstore.ID{}, func(id blockstore.ID, _ uint32) bool {
		all = append(all, blockstore.Span{Extent: id, Count: blockstore.MaxBlocks})
		return true
	})
	return all
}

func BenchmarkPut4MiB(b *testing.B) { benchPut(b, 8192) }
func BenchmarkPut4KiB(b *testing.B) { benchPut(b, 8) }

func benchGet(b *testing.B, extents, blocks int) {
	s := open(b, b.TempDir(), Options{})
	var all []blockstore.Batch
	for i := range extents {
		x := storetest.Extent(uint64(i+1), blocks)
		if err := s.Put(ctx, x); err != nil {
			b.Fatal(err)
		}
		all = append(all, x)
	}
	if err := s.Sync(ctx); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		span := blockstore.Span{Extent: all[n*7%extents].ID, First: uint32(n*8) % uint32(blocks), Count: 8}
		if err := s.Get(ctx, span, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet4KiB(b *testing.B)        { benchGet(b, 2000, 8) }
func BenchmarkGet4KiBOfLarge(b *testing.B) { benchGet(b, 8, 8192) }
