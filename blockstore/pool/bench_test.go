package pool

import (
	"testing"

	"dfs/blockstore"
	"dfs/cluster/placement"
)

// BenchmarkWrite4MiB writes 4 MiB to two of five stores in memory, as one extent and as 8,192.
func BenchmarkWrite4MiB(b *testing.B) {
	for name, unit := range map[string]uint32{"unit=4M": 0, "unit=512": 1} {
		b.Run(name, func(b *testing.B) {
			r := newRig(5, 1)
			data := blocks(8192, 1)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				pieces, err := r.Write(b.Context(), data, blockstore.Note{}, placement.Wish{UnitBlocks: unit})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				for _, x := range pieces {
					for _, peer := range x.Layout.Peers {
						delete(r.at(peer).extents, x.Span.Extent)
						delete(r.at(peer).notes, x.Span.Extent)
					}
				}
				b.StartTimer()
			}
		})
	}
}
