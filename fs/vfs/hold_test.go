package vfs_test

import (
	"errors"
	"slices"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// holds is a Coherence that notes which directories are held exclusively.
type holds struct {
	vfs.Alone
	held, all []meta.Ino
}

func (h *holds) Hold(exclusive bool, dirs ...meta.Ino) func() {
	if !exclusive {
		return func() {}
	}
	h.held = append(h.held, dirs...)
	h.all = append(h.all, dirs...)
	return func() { h.held = h.held[:len(h.held)-len(dirs)] }
}

// What holds a directory's lock in the kernel says so: a directory that is moved, replaced, removed or changed is locked too.
func TestDirectoriesAreHeld(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	h := &holds{Alone: vfs.Alone{Store: d.Meta}}
	fs := vfs.New(d.Meta, d.Blocks, h, vfs.Options{Session: d.Meta.Session()})
	mkdir := func(in meta.Ino, name string) meta.Ino {
		e, err := fs.Mkdir(bg, vfs.Caller{}, in, name, 0o755, nil)
		must(t, err)
		return e.Inode.Ino
	}
	a, b := mkdir(meta.Root, "a"), mkdir(meta.Root, "b")
	moved, replaced := mkdir(a, "x"), mkdir(b, "y")
	check := func(what string, err error, want ...meta.Ino) {
		t.Helper()
		must(t, err)
		slices.Sort(h.all)
		slices.Sort(want)
		if !slices.Equal(h.all, want) || len(h.held) != 0 {
			t.Errorf("%s held %v, want %v; still held: %v", what, h.all, want, h.held)
		}
		h.all = nil
	}
	h.all = nil
	check("rename", fs.Rename(bg, a, "x", b, "y", 0), a, b, moved, replaced)
	check("rename in place", fs.Rename(bg, b, "y", b, "z", 0), b, moved)
	_, err := fs.Setattr(bg, a, meta.SetAttr{Mask: meta.SetMode, Mode: 0o700, Time: 1})
	check("chmod", err, a)
	check("rmdir", fs.Rmdir(bg, b, "z"), b, moved)
}

// late is a store whose newest view is not what ops will find.
type late struct {
	*meta.Local
	at uint64
}

func (l *late) At(index uint64) (meta.View, error) {
	if index == 0 {
		index = l.at
	}
	return l.Local.At(index)
}

// Whether a name exists is the log's to say, not the applied state's.
func TestTheLogDecidesAboutNames(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	v, err := d.Meta.At(0)
	must(t, err)
	before := v.Index()
	v.Close()
	ino, _ := create(t, d.FS, "f")
	fs := vfs.New(&late{d.Meta, before}, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
	must(t, fs.Rename(bg, meta.Root, "f", meta.Root, "g", 0))
	_, err = fs.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetSize, Size: 700, Time: 1})
	must(t, err)
	if err := fs.Rename(bg, meta.Root, "f", meta.Root, "h", 0); !errors.Is(err, fault.NotExist) {
		t.Fatalf("there is no such name: %v", err)
	}
}
