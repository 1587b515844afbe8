package vfs

import (
	"context"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Listed is one entry of a listing. Full says that Entry holds attributes which may be handed on with it; otherwise only the
// name, the number and the type are known.
type Listed struct {
	Name   string
	Cursor meta.Cursor // continues behind this entry
	Full   bool
	Entry
}

// Opendir opens a directory. fault.NotDir, Stale.
func (f *FS) Opendir(ctx context.Context, ino meta.Ino) (Handle, error) {
	a, err := f.Getattr(ctx, ino)
	if err != nil {
		return 0, err
	}
	if a.Inode.Type != meta.Dir {
		return 0, fault.New("vfs opendir", fault.NotDir, "inode %d", ino)
	}
	return f.newHandle(&handle{dir: ino}), nil
}

// Readdir returns up to max entries of ino behind after, without "." and ".."; none at the end. With attributes it gives those
// that can be answered without waiting: not of files another mount holds alone, nor where a change is pending.
func (f *FS) Readdir(ctx context.Context, ino meta.Ino, after meta.Cursor, max int, attributes bool) ([]Listed, error) {
	defer f.coh.Hold(false, ino)()
	var ds []meta.Dentry
	valid, err := f.coh.Read(ctx, coherence.List(ino), func(v meta.View) (err error) {
		ds, err = v.List(ino, after, max)
		return err
	})
	if err != nil {
		return nil, stale(err)
	}
	out := make([]Listed, len(ds))
	for i, d := range ds {
		l := Listed{Name: d.Name, Cursor: d.Cursor, Entry: Entry{Inode: d.Inode}}
		// The entries are of one index, the one that List may be answered at. Asked after the view was read, Clean
		// says that each is still so; whatever comes later invalidates it in the kernel.
		if attributes && !f.foreign(d.Inode) &&
			f.coh.Clean(coherence.Entry(ino, d.Name)) && f.coh.Clean(coherence.Attr(d.Inode.Ino)) {
			a := f.overlay(Attr{d.Inode, valid})
			l.Full = true
			l.Entry = Entry{Inode: a.Inode, EntryValid: valid, AttrValid: a.Valid}
		}
		out[i] = l
	}
	return out, nil
}

// Parent returns the directory that holds the directory ino.
func (f *FS) Parent(ctx context.Context, ino meta.Ino) (meta.Ino, error) {
	a, err := f.Getattr(ctx, ino)
	if err != nil {
		return 0, err
	}
	if a.Inode.Parent == 0 {
		return ino, nil
	}
	return a.Inode.Parent, nil
}

// Fsyncdir returns at once: names are in the synced log when the operation that made them returns.
func (f *FS) Fsyncdir(Handle) error { return nil }

// Space is a file system in numbers.
type Space struct {
	Total, Free int64 // bytes
	Inodes      uint64
}

// Statfs returns what can still be written and how many inodes there are.
func (f *FS) Statfs(context.Context) (Space, error) {
	s := Space{Total: 1 << 40, Free: 1 << 40}
	if f.o.Statfs != nil {
		s.Total, s.Free = f.o.Statfs()
	}
	err := f.newest(func(v meta.View) error {
		u, err := v.Usage()
		s.Inodes = u.Inodes
		return err
	})
	return s, err
}
