package vfs_test

import (
	"context"
	"errors"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

func TestSpelling(t *testing.T) {
	ctx := context.Background()
	f := fstest.NewDrive(t, vfs.Options{}).FS
	for _, name := range []string{"One", "Two", "two"} {
		if _, err := f.Mkdir(ctx, vfs.Caller{}, meta.Root, name, 0o755, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"ONE": "One", "One": "One", "Two": "Two", "two": "two", "three": ""} {
		real, err := f.Spelling(ctx, meta.Root, name)
		if real != want || (want == "") != errors.Is(err, fault.NotExist) {
			t.Errorf("%s: %q, %v", name, real, err)
		}
	}
}

// Flags and birth time of a file that is this mount's and open are kept for its commit like its other attributes.
func TestFlagsOfAnOpenFile(t *testing.T) {
	ctx := context.Background()
	f := fstest.NewDrive(t, vfs.Options{}).FS
	e, o, err := f.Create(ctx, vfs.Caller{}, meta.Root, "f", 0o644, vfs.Mode{Write: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := meta.SetAttr{Mask: meta.SetFlags | meta.SetBtime, Flags: meta.System, Btime: 77, Time: 1e18}
	check := func(a vfs.Attr, err error) {
		t.Helper()
		if err != nil || a.Inode.Flags != meta.System || a.Inode.Btime != 77 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	check(f.Setattr(ctx, e.Inode.Ino, set))
	if _, err := f.Write(ctx, o.Handle, 0, []byte("bytes"), false); err != nil {
		t.Fatal(err)
	}
	check(f.Getattr(ctx, e.Inode.Ino))
	if err := f.Flush(ctx, o.Handle); err != nil {
		t.Fatal(err)
	}
	f.Release(o.Handle)
	check(f.Getattr(ctx, e.Inode.Ino))
}
