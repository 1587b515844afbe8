package vfs_test

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/fs/fstest"
	"dfs/fs/vfs"
)

// Small reads that come back to a megabyte of another peer's again and again have it fetched, once; of this peer's own, and where
// they come back seldom, nothing is fetched.
func TestScatteredReadsFetchWhatIsHot(t *testing.T) {
	const size, chunk = 8 << 20, 4096
	data := make([]byte, size)
	src := rand.NewChaCha8([32]byte{1})
	src.Read(data)
	for _, c := range []struct {
		name         string
		self         bool
		stride       int
		small, large int64 // gets; small 0: every read is one
	}{
		{"hot", false, 9 * chunk, 8 * 16, 8},
		{"seldom", false, 20 * chunk, 0, 0},
		{"own", true, 9 * chunk, 0, 0},
	} {
		var small, large atomic.Int64
		d := fstest.NewDrive(t, vfs.Options{})
		d.Blocks.OnRead = func(s blockstore.Span) error {
			if s.Bytes() == chunk {
				small.Add(1)
			} else {
				large.Add(1)
			}
			return nil
		}
		ino, h := create(t, d.FS, "f")
		_, err := d.FS.Write(bg, h, 0, data, false)
		must(t, err)
		must(t, d.FS.Flush(bg, h))
		o := vfs.Options{Self: cluster.PeerID{99}}
		if c.self {
			o.Self = d.Blocks.Peer
		}
		fs := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, o)
		running(t, fs)
		open, err := fs.Open(bg, ino, vfs.Mode{Read: true})
		must(t, err)
		p := make([]byte, chunk)
		for c.large > 0 && large.Load() == 0 { // until Run has begun
			_, err := fs.Read(bg, open.Handle, size-chunk, p)
			must(t, err)
		}
		if c.large > 0 {
			c.small, c.large = c.small-16, c.large-1
		}
		small.Store(0)
		large.Store(0)
		reads := int64(0)
		for off := size - chunk; off >= 0; off -= c.stride { // backwards is not in sequence
			n, err := fs.Read(bg, open.Handle, int64(off), p)
			must(t, err)
			if n != chunk || !bytes.Equal(p, data[off:off+chunk]) {
				t.Fatalf("%s: other bytes at %d", c.name, off)
			}
			reads++
		}
		if c.small == 0 {
			c.small = reads
		}
		if small.Load() != c.small || large.Load() != c.large {
			t.Errorf("%s: %d reads were %d small gets and %d large ones, want %d and %d", c.name, reads, small.Load(), large.Load(), c.small, c.large)
		}
		fs.Release(open.Handle)
	}
}
