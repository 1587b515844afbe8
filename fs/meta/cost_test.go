package meta

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/kv"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/extent"
)

// What a map of so many extents costs every peer: bytes of keys and values, and bytes of badger's tables. DESIGN.md quotes
// what `go test -v -run TestMetadataCost ./fs/meta` prints.
func TestMetadataCost(t *testing.T) {
	for _, c := range []struct {
		name   string
		blocks uint32 // of an extent
		most   float64
	}{{"in one go, 4 MiB", 8192, 110}, {"in steps of 4 KiB", 8, 110}, {"unit=512", 1, 110}} {
		const extents = 16 << 10
		bytes := mapBytes(t, mem.New(), c.blocks, extents)
		dir := t.TempDir()
		s, err := badger.Open(dir, badger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		mapBytes(t, s, c.blocks, extents)
		if err := s.Close(); err != nil { // writes the tables
			t.Fatal(err)
		}
		perGiB := float64(1<<30) / (float64(c.blocks) * blockstore.Size)
		one, disk := float64(bytes)/extents, float64(tables(t, dir))/extents
		t.Logf("%-18s %8.0f extents a GiB: %4.0f bytes an extent, %9.0f a GiB; in badger's tables %4.0f, %9.0f a GiB",
			c.name, perGiB, one, one*perGiB, disk, disk*perGiB)
		if one > c.most || disk > 2*c.most {
			t.Errorf("%s: %.0f bytes an extent, %.0f on disk", c.name, one, disk)
		}
	}
}

// mapBytes commits a file of n extents with two copies each, and returns the bytes of the records of its map.
func mapBytes(t *testing.T, s kv.Store, blocks uint32, n int) (bytes int) {
	t.Helper()
	l, err := NewLocal(s, LocalOptions{Peers: 3})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r, err := l.Apply(ctx, Create{Dir: Root, Name: "f", Type: File, Mode: 0o644, Time: 1})
	if err != nil {
		t.Fatal(err)
	}
	ino := r.Inode.Ino
	var id blockstore.ID
	for at, size := 0, int64(0); at < n; {
		op := Commit{Ino: ino, Synced: true}
		for range min(512, n-at) {
			be(id[:0], uint64(at)*0x9E3779B97F4A7C15) // as random as real ones
			be(id[8:8], uint64(at)*0xD1B54A32D192ED03)
			peers := []cluster.PeerID{l.peers[at%3], l.peers[(at+1)%3]}
			op.Extents = append(op.Extents, extent.Extent{Off: size, Span: blockstore.Span{Extent: id, Count: blocks}, Layout: placement.Layout{Data: 1, Peers: peers}})
			size += int64(blocks) * blockstore.Size
			at++
		}
		op.End = size
		if _, err := l.Apply(ctx, op); err != nil {
			t.Fatal(err)
		}
	}
	v := s.At(s.Newest())
	defer v.Close()
	if err := v.Scan(extentsOf(ino), nil, func(k, b []byte) bool {
		bytes += len(k) + len(b)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// tables returns the bytes of badger's tables.
func tables(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sst" {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
