package vfs_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"dfs/blockstore"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

const window = blockstore.MaxBlocks * blockstore.Size

func mapOf(t *testing.T, d *fstest.Drive, ino meta.Ino) extent.Map {
	t.Helper()
	v, err := d.Meta.At(0)
	must(t, err)
	defer v.Close()
	m, err := v.Extents(ino, 0, meta.SizeMax)
	must(t, err)
	return m
}

func whole(t *testing.T, fs *vfs.FS, ino meta.Ino, size int) []byte {
	t.Helper()
	o, err := fs.Open(bg, ino, vfs.Mode{Read: true})
	must(t, err)
	defer fs.Release(o.Handle)
	p := make([]byte, size)
	n, err := fs.Read(bg, o.Handle, 0, p)
	must(t, err)
	return p[:n]
}

// Scattered small writes leave as one put a window, whatever the file's unit, and read back as written.
func TestScatteredWritesAreGathered(t *testing.T) {
	for _, unit := range []uint32{0, 64, 100} {
		d := fstest.NewDrive(t, vfs.Options{DirtyBytes: 1 << 30})
		ino, h := create(t, d.FS, "f")
		_, err := d.FS.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetWish, Wish: placement.Wish{UnitBlocks: unit}})
		must(t, err)
		want := make([]byte, 2*window)
		rng := rand.New(rand.NewPCG(1, uint64(unit)))
		write := func(off, n int) {
			p := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, n)
			copy(want[off:], p)
			_, err := d.FS.Write(bg, h, int64(off), p, false)
			must(t, err)
		}
		write(0, 2*window)
		must(t, d.FS.Flush(bg, h))
		before, _ := d.Blocks.Counts()
		for range 60 {
			write(rng.IntN(2*window/4096)*4096, 4096)
		}
		must(t, d.FS.Flush(bg, h))
		if after, _ := d.Blocks.Counts(); after-before != 2 {
			t.Errorf("unit %d: %d puts for two windows", unit, after-before)
		}
		for range 40 { // ragged ones too
			write(rng.IntN(2*window-9000), 1+rng.IntN(9000))
		}
		must(t, d.FS.Flush(bg, h))
		if !bytes.Equal(whole(t, d.FS, ino, len(want)), want) {
			t.Errorf("unit %d: other bytes than were written", unit)
		}
		must(t, mapOf(t, d, ino).Check())
	}
}

// A gathered extent of which one block was completed from what has changed meanwhile is written again as a whole: none
// stays of which the map names some blocks only.
func TestAConflictPlacesTheGatheredAgain(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	ino, h := create(t, d.FS, "f")
	_, err := d.FS.Write(bg, h, 0, make([]byte, 1<<20), false)
	must(t, err)
	must(t, d.FS.Flush(bg, h))
	oo, err := other.Open(bg, ino, update)
	must(t, err)
	put(t, d.FS, h, 0, "1") // ragged
	_, err = d.FS.Write(bg, h, 8192, bytes.Repeat([]byte{7}, 4096), false)
	must(t, err)
	put(t, other, oo.Handle, 7, "2")
	first := true
	d.Blocks.OnWrite = func([]byte) error {
		if first {
			first = false
			return other.Flush(bg, oo.Handle)
		}
		return nil
	}
	must(t, d.FS.Flush(bg, h))
	got := whole(t, other, ino, 1<<20)
	if got[0] != '1' || got[7] != '2' || got[8192] != 7 {
		t.Fatalf("got %q %q %d", got[0], got[7], got[8192])
	}
	m := mapOf(t, d, ino)
	a, _ := m.Find(0)
	b, _ := m.Find(8192)
	if a.Span.Extent != b.Span.Extent {
		t.Errorf("half of the first extent stayed: %v %v", a.Span, b.Span)
	}
}

// An fsync of what is one put has that put synced in the same request, and asks for no sync besides.
func TestAnFsyncIsOneRequest(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	_, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "a")
	must(t, d.FS.Fsync(bg, h))
	syncs := 0
	d.Blocks.OnSync = func([]placement.Layout) { syncs++ }
	hard := d.Blocks.Hard()
	for i := range 5 {
		put(t, d.FS, h, int64(i)*4096, "b")
		must(t, d.FS.Fsync(bg, h))
	}
	if n := d.Blocks.Hard() - hard; n != 5 || syncs != 5 {
		t.Errorf("%d puts were synced, with %d syncs in all", n, syncs)
	}
}
