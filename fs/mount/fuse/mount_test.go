//go:build linux

package fuse

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// TestMain also plays the helpers that touch and start start.
func TestMain(m *testing.M) {
	fstest.Child()
	if dir := os.Getenv("LOCK_PROGRAM"); dir != "" {
		lockProgram(dir)
		os.Exit(0)
	}
	if at := os.Getenv("TOUCH_MOUNT"); at != "" {
		f, err := os.Open(at)
		if err != nil {
			os.Exit(1)
		}
		f.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// touch has another process open a file of the mount. Go asks the kernel to poll whatever it opens, in a system call that its
// scheduler does not know to be blocking; the answer to the first poll (there is none) lets the kernel never ask again. After
// that this process may use its own mount, though not map its files.
func touch(t *testing.T, point string, fs *vfs.FS) {
	t.Helper()
	ctx := context.Background()
	_, o, err := fs.Create(ctx, vfs.Caller{}, meta.Root, ".touch", 0o644, vfs.Mode{Write: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs.Release(o.Handle)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TOUCH_MOUNT="+filepath.Join(point, ".touch"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("touch %s: %v: %s", point, err, out)
	}
	if err := fs.Unlink(ctx, meta.Root, ".touch"); err != nil {
		t.Fatal(err)
	}
}

// mounted mounts a fresh drive for the length of a test. Where there is no /dev/fuse, or it may not be used, the test is
// skipped.
func mounted(t *testing.T, o Options) (*Server, *fstest.Drive) {
	t.Helper()
	return mountedWith(t, o, func(*fstest.Drive) {})
}

// mountedWith is mounted with a drive that change has changed.
func mountedWith(t *testing.T, o Options, change func(*fstest.Drive)) (*Server, *fstest.Drive) {
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
	change(d)
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
	touch(t, point, d.FS)
	return s, d
}

// TestContract runs the contract through the kernel.
func TestContract(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		s, _ := mounted(t, Options{})
		return fstest.Dir(s.Point())
	})
}
