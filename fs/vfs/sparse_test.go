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
