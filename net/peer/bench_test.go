package peer

import (
	"context"
	"testing"

	"dfs/cluster"
	"dfs/net/wire"
)

func benchPair(b *testing.B) (from *Net, to cluster.PeerID) {
	nets := newGroup(b, 2, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	nets[1].Serve(wire.KindBlock, wire.KindBlock, empty)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for _, n := range nets {
		go func() { done <- n.Run(ctx) }()
	}
	b.Cleanup(func() { cancel(); <-done; <-done })
	return nets[0], nets[1].self
}

func BenchmarkCall64(b *testing.B) {
	from, to := benchPair(b)
	m := text(make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Call(context.Background(), to, m, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall64By32(b *testing.B) {
	from, to := benchPair(b)
	m := text(make([]byte, 64))
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := from.Call(context.Background(), to, m, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPut1MiB(b *testing.B) { benchPut(b, 1<<20) }
func BenchmarkPut4MiB(b *testing.B) { benchPut(b, 4<<20) }
func BenchmarkPut4KiB(b *testing.B) { benchPut(b, 4<<10) }

func benchPut(b *testing.B, size int) {
	from, to := benchPair(b)
	m := blob{make([]byte, size)}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := from.Call(context.Background(), to, m, nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
