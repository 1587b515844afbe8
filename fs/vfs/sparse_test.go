package vfs_test

import (
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/vfs"
)

// TestHoles runs the contract of holes with nothing in the background, with buffers so small that writes keep flushing, and on a store that
// can answer before a release.
func TestHoles(t *testing.T) {
	for name, o := range map[string]vfs.Options{"plain": {}, "small buffers": {DirtyBytes: 16 << 10, FileBytes: 8 << 10}} {
		t.Run(name, func(t *testing.T) {
			fstest.RunSparse(t, 512, false, func(t *testing.T) fstest.Tree { return fstest.Paths(fstest.NewDrive(t, o).FS) })
		})
	}
	t.Run("early", func(t *testing.T) {
		fstest.RunSparse(t, 512, false, func(t *testing.T) fstest.Tree {
			fs, _, _, _ := two(t, vfs.Options{DirtyBytes: 64 << 10, FileBytes: 32 << 10})
			running(t, fs)
			return fstest.Paths(fs)
		})
	})
}

// TestCopies runs the contract of copies likewise.
func TestCopies(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		fstest.RunCopies(t, func(t *testing.T) fstest.Tree { return fstest.Paths(fstest.NewDrive(t, vfs.Options{}).FS) })
	})
	t.Run("early", func(t *testing.T) {
		fstest.RunCopies(t, func(t *testing.T) fstest.Tree {
			fs, _, _, _ := two(t, vfs.Options{DirtyBytes: 1 << 20, FileBytes: 512 << 10})
			running(t, fs)
			return fstest.Paths(fs)
		})
	})
}

// A copy of whole blocks moves none of them.
func TestCopyMovesNothing(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	tree := fstest.Paths(d.FS)
	const size = 64<<20 + 1000
	src, err := tree.Open("src", fstest.Fresh)
	must(t, err)
	_, err = src.WriteAt(fstest.Bytes(1, size), 0)
	must(t, err)
	must(t, src.Sync())
	writes, reads := d.Blocks.Counts()
	dst, err := tree.Open("dst", fstest.Fresh)
	must(t, err)
	if n, err := src.(fstest.Copier).CopyTo(dst, 0, 0, size); n != size || err != nil {
		t.Fatal(n, err)
	}
	must(t, dst.Close())
	if w, r := d.Blocks.Counts(); w != writes || r != reads {
		t.Errorf("%d writes and %d reads", w-writes, r-reads)
	}
	st, err := tree.Stat("dst")
	must(t, err)
	if st.Size != size || st.Blocks != (size+511)/512 {
		t.Errorf("%+v", st)
	}
}

// Holes, allocations and copies of whole blocks are seen everywhere when they return, and not before: they wait for the release.
func TestRangesWaitForTheRelease(t *testing.T) {
	fs, other, s, _ := two(t, vfs.Options{})
	const size = 256 << 10
	_, from := create(t, fs, "from")
	put(t, fs, from, 0, string(fstest.Bytes(1, size)))
	must(t, fs.Flush(bg, from)) // and the grant is given up
	ino, to := create(t, fs, "to")
	put(t, fs, to, 0, "x")
	must(t, fs.Flush(bg, to))
	for name, do := range map[string]func() error{
		"punch":    func() error { return fs.Fallocate(bg, to, vfs.Punch, 0, 4096, true, false) },
		"zero":     func() error { return fs.Fallocate(bg, to, vfs.Zero, 0, 8192, false, false) },
		"allocate": func() error { return fs.Fallocate(bg, to, vfs.Allocate, 0, 3*size, false, false) },
		"copy": func() error {
			_, err := fs.CopyRange(bg, from, 0, to, 4096, size, false)
			return err
		},
	} {
		put(t, fs, to, 0, "x")
		must(t, fs.Flush(bg, to))
		s.shut()
		done := begin(do)
		<-s.waits
		select {
		case err := <-done:
			t.Fatalf("%s returned before the release: %v", name, err)
		default:
		}
		s.open()
		must(t, <-done)
		for len(s.waits) > 0 {
			<-s.waits
		}
	}
	a, err := other.Getattr(bg, ino)
	if err != nil || a.Inode.Size != 3*size {
		t.Fatalf("%+v, %v", a.Inode, err)
	}
}
