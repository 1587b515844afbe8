package vfs_test

import (
	"context"
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/vfs"
)

// TestContract runs the contract with nothing in the background.
func TestContract(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		return fstest.Paths(fstest.NewDrive(t, vfs.Options{}).FS)
	})
}

// TestContractRunning runs the contract while the background works.
func TestContractRunning(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		d := fstest.NewDrive(t, vfs.Options{})
		running(t, d.FS)
		return fstest.Paths(d.FS)
	})
}

// TestContractSmallBuffers runs the contract with buffers so small that writes keep flushing.
func TestContractSmallBuffers(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		d := fstest.NewDrive(t, vfs.Options{DirtyBytes: 16 << 10, FileBytes: 8 << 10})
		return fstest.Paths(d.FS)
	})
}

// TestContractEarly runs the contract on a store that can answer before a release.
func TestContractEarly(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		fs, _, _, _ := two(t, vfs.Options{DirtyBytes: 64 << 10, FileBytes: 32 << 10})
		running(t, fs)
		return fstest.Paths(fs)
	})
}

// running runs fs until the test ends.
func running(t *testing.T, fs *vfs.FS) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- fs.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
