package vfs

import (
	"context"
	"errors"
	"time"

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
// that can be answered without waiting: not of files another mount holds alone, nor where a change is pending. Entries
// that are Full have a reference in refs.
func (f *FS) Readdir(ctx context.Context, ino meta.Ino, after meta.Cursor, max int, attributes bool, refs Refs) ([]Listed, error) {
	defer f.coh.Hold(false, ino)()
	var ds []meta.Dentry
	var st meta.Inode
	until, err := f.read(ctx, coherence.List(ino), func(v meta.View) (err error) {
		if st, err = v.Stat(ino); err != nil {
			return err
		}
		ds, err = v.List(ino, after, max)
		return err
	})
	if err != nil {
		return nil, stale(err)
	}
	f.noteAccess(&st)
	out := make([]Listed, len(ds))
	for i, d := range ds {
		out[i] = Listed{Name: d.Name, Cursor: d.Cursor, Entry: Entry{Inode: d.Inode}}
	}
	if attributes {
		f.addAttributes(ino, out, until, refs)
	}
	return out, nil
}

// addAttributes makes Full what can be. The listing may be of an old index, and what has changed since may be over and released,
// so attributes are read anew, from the newest state, after the inodes are counted. Those that are clean before and after that were
// released as they are, and the kernel will be made to drop them for any later change. Before: a change may be taken in here, when
// the kernel did not know the inode yet, sooner than it is in the state.
func (f *FS) addAttributes(dir meta.Ino, ls []Listed, until time.Duration, refs Refs) {
	clean := func(l *Listed) bool {
		return f.coh.Clean(coherence.Attr(l.Inode.Ino)) && f.coh.Clean(coherence.Entry(dir, l.Name))
	}
	before, here := make([]bool, len(ls)), make([]uint64, len(ls))
	for i := range ls {
		add(refs, ls[i].Inode.Ino)
		before[i], here[i] = clean(&ls[i]), f.here.of(ls[i].Inode.Ino)
	}
	err := f.newest(func(v meta.View) error {
		for i := range ls {
			st, err := v.Lookup(dir, ls[i].Name)
			if err != nil && !errors.Is(err, fault.NotExist) {
				return err
			}
			if err != nil || st.Ino != ls[i].Inode.Ino {
				continue
			}
			if st.Blocks, err = f.blocksOf(v, st); err != nil {
				return err
			}
			a, wait := f.tryOverlay(Attr{st, until}, v.Index())
			ls[i].Full = !f.foreign(st) && wait == nil
			ls[i].Entry = Entry{Inode: a.Inode, EntryUntil: until, AttrUntil: a.Until}
		}
		return nil
	})
	ok := err == nil && f.coh.Clean(coherence.List(dir))
	for i := range ls {
		l := &ls[i]
		l.Full = l.Full && ok && before[i] && clean(l) && here[i] == f.here.of(l.Inode.Ino)
		if !l.Full {
			drop(refs, l.Inode.Ino)
			l.Entry = Entry{Inode: meta.Inode{Ino: l.Inode.Ino, Type: l.Inode.Type}}
		}
	}
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

// Fsyncdir returns when the names of the directory, and all that was done before, are in the synced log.
func (f *FS) Fsyncdir(ctx context.Context, _ Handle) error {
	if f.alone == nil {
		return nil // they are when the operation that made them returns
	}
	return f.alone.Settle(ctx)
}

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
	if f.o.CutOff() != nil {
		s.Free = 0
	}
	err := f.newest(func(v meta.View) error {
		u, err := v.Usage()
		s.Inodes = u.Inodes
		return err
	})
	return s, err
}
