package vfs_test

import (
	"context"
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// Reading moves the atime once for each change, here at once and elsewhere a moment later, and no other time; setting it overrules.
func TestReadsMarkAccess(t *testing.T) {
	bg := context.Background()
	d := fstest.NewDrive(t, vfs.Options{})
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	_, o, err := d.FS.Create(bg, vfs.Caller{}, meta.Root, "f", 0o644, vfs.Mode{Read: true, Write: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.FS.Write(bg, o.Handle, 0, []byte("abc"), false); err != nil {
		t.Fatal(err)
	}
	if err := d.FS.Flush(bg, o.Handle); err != nil {
		t.Fatal(err)
	}
	stat := func(fs *vfs.FS) meta.Inode {
		e, err := fs.Lookup(bg, meta.Root, "f", nil)
		if err != nil {
			t.Fatal(err)
		}
		return e.Inode
	}
	read := func() meta.Inode {
		if _, err := d.FS.Read(bg, o.Handle, 0, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		return stat(d.FS)
	}
	before := stat(d.FS)
	first := read()
	if first.Atime <= before.Mtime || first.Ctime != before.Ctime || first.Mtime != before.Mtime {
		t.Fatalf("read: %+v, before %+v", first, before)
	}
	if again := read(); again.Atime != first.Atime {
		t.Fatalf("read again: %d, was %d", again.Atime, first.Atime)
	}
	d.FS.FlushAll(bg)
	if there := stat(other); there.Atime != first.Atime || there.Ctime != first.Ctime {
		t.Fatalf("elsewhere: %+v, want %+v", there, first)
	}
	if again := read(); again.Atime != first.Atime {
		t.Fatalf("read again: %d, was %d", again.Atime, first.Atime)
	}
	set, err := d.FS.Setattr(bg, first.Ino, meta.SetAttr{Mask: meta.SetAtime, Atime: -5, Time: first.Ctime + 1})
	if err != nil || set.Inode.Atime != -5 {
		t.Fatalf("%+v, %v", set, err)
	}
	if last := read(); last.Atime <= first.Atime {
		t.Fatalf("after it was set: %+v", last)
	}
	d.FS.Release(o.Handle)
}
