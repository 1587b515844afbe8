package meta

import (
	"context"
	"fmt"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/kv"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/mem"
	"dfs/cluster/placement"
	"dfs/fs/extent"
)

// BenchmarkSmallFile is what a small file costs the machine: a create with a grant, a commit of one extent that
// ends it. Two entries of one proposal each.
func BenchmarkSmallFile(b *testing.B) {
	b.Run("mem", func(b *testing.B) { smallFiles(b, mem.New()) })
	b.Run("badger", func(b *testing.B) {
		s, err := badger.Open(b.TempDir(), badger.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		smallFiles(b, s)
	})
}

func smallFiles(b *testing.B, s kv.Store) {
	l, err := NewLocal(s, LocalOptions{Peers: 2})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r, err := l.Apply(ctx, Create{Dir: Root, Name: fmt.Sprint(i), Type: File, Mode: 0o644, Time: Time(i), Grant: true})
		if err != nil {
			b.Fatal(err)
		}
		e := extent.Extent{Layout: placement.Layout{Data: 1, Peers: l.peers}, Span: blockstore.Span{Count: 8}}
		be(e.Span.Extent[:0], uint64(i))
		_, err = l.Apply(ctx, Commit{Ino: r.Inode.Ino, Extents: []extent.Extent{e}, End: 4096, Mtime: 1, EndGrant: true, Time: Time(i)})
		if err != nil {
			b.Fatal(err)
		}
		s.SetFloor(l.index)
	}
}

func BenchmarkLookup(b *testing.B) {
	s, err := badger.Open(b.TempDir(), badger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l, err := NewLocal(s, LocalOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := l.Apply(context.Background(), Create{Dir: Root, Name: fmt.Sprint(i), Type: File}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v, _ := l.At(0)
		if _, err := v.Lookup(Root, fmt.Sprint(i%1000)); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}
