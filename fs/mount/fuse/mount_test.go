//go:build linux

package fuse

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// mounted mounts a fresh drive for the length of a test. Where there is no /dev/fuse, or it may not be used, the test is
// skipped.
func mounted(t *testing.T, o Options) (*Server, *fstest.Drive) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("needs /dev/fuse: %v", err)
	} else {
		f.Close()
	}
	point := filepath.Join(t.TempDir(), "drive")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	d := fstest.NewDrive(t, vfs.Options{})
	s, err := Mount(context.Background(), point, d.FS, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- d.FS.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if at, _ := mount.At(point); at != nil {
			t.Errorf("still mounted: %+v", at)
		}
	})
	return s, d
}

// TestContract runs the contract through the kernel.
func TestContract(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		s, _ := mounted(t, Options{})
		return fstest.Dir(s.Point())
	})
}
