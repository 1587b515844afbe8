package fstest

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// Paths shows a vfs.FS as a Tree, resolving paths as a kernel without any cache would.
func Paths(fs *vfs.FS) Tree { return paths{fs} }

type paths struct{ fs *vfs.FS }

var ctx = context.Background()

// walk returns the entry that p names; without following a final symbolic link, and refusing others.
func (t paths) walk(p string) (meta.Inode, error) {
	a, err := t.fs.Getattr(ctx, meta.Root)
	at := a.Inode
	for _, name := range strings.Split(strings.Trim(p, "/"), "/") {
		if name == "" || err != nil {
			continue
		}
		if at.Type != meta.Dir {
			return at, fault.New("walk", fault.NotDir, "%s", p)
		}
		var e vfs.Entry
		e, err = t.fs.Lookup(ctx, at.Ino, name, nil)
		if err == nil && e.Inode.Ino == 0 {
			err = fault.New("walk", fault.NotExist, "%s", p)
		}
		at = e.Inode
	}
	return at, err
}

// parent returns the directory of p and its last name.
func (t paths) parent(p string) (meta.Ino, string, error) {
	dir, name := path.Split(strings.Trim(p, "/"))
	st, err := t.walk(dir)
	if err == nil && st.Type != meta.Dir {
		err = fault.New("walk", fault.NotDir, "%s", dir)
	}
	return st.Ino, name, err
}

func (t paths) Open(p string, f Flags) (File, error) {
	m := vfs.Mode{Read: f.Read, Write: f.Write, Append: f.Append, Trunc: f.Trunc, Excl: f.Excl}
	st, err := t.walk(p)
	if errors.Is(err, fault.NotExist) && f.Create {
		dir, name, err := t.parent(p)
		if err != nil {
			return nil, err
		}
		e, o, err := t.fs.Create(ctx, vfs.Caller{}, dir, name, 0o644, m, nil)
		return &pathFile{t.fs, o.Handle, e.Inode.Ino, f.Append}, err
	}
	switch {
	case err != nil:
		return nil, err
	case f.Create && f.Excl:
		return nil, fault.New("open", fault.Exist, "%s", p)
	case st.Type == meta.Dir && f.Write:
		return nil, fault.New("open", fault.IsDir, "%s", p)
	}
	o, err := t.fs.Open(ctx, st.Ino, m)
	return &pathFile{t.fs, o.Handle, st.Ino, f.Append}, err
}

func (t paths) Mkdir(p string) error {
	dir, name, err := t.parent(p)
	if err == nil {
		_, err = t.fs.Mkdir(ctx, vfs.Caller{}, dir, name, 0o755, nil)
	}
	return err
}

func (t paths) Symlink(target, p string) error {
	dir, name, err := t.parent(p)
	if err == nil {
		_, err = t.fs.Symlink(ctx, vfs.Caller{}, dir, name, target, nil)
	}
	return err
}

func (t paths) Readlink(p string) (string, error) {
	st, err := t.walk(p)
	if err != nil {
		return "", err
	}
	return t.fs.Readlink(ctx, st.Ino)
}

func (t paths) Link(old, p string) error {
	st, err := t.walk(old)
	if err != nil {
		return err
	}
	dir, name, err := t.parent(p)
	if err == nil {
		_, err = t.fs.Link(ctx, st.Ino, dir, name, nil)
	}
	return err
}

func (t paths) Remove(p string) error {
	dir, name, err := t.parent(p)
	if err == nil {
		err = t.fs.Unlink(ctx, dir, name)
	}
	return err
}

func (t paths) Rmdir(p string) error {
	dir, name, err := t.parent(p)
	if err == nil {
		err = t.fs.Rmdir(ctx, dir, name)
	}
	return err
}

func (t paths) Rename(old, p string) error {
	from, oldName, err := t.parent(old)
	if err != nil {
		return err
	}
	to, name, err := t.parent(p)
	if err == nil {
		err = t.fs.Rename(ctx, from, oldName, to, name, 0)
	}
	return err
}

func (t paths) set(p string, s meta.SetAttr) error {
	st, err := t.walk(p)
	if err != nil {
		return err
	}
	if s.Mask&meta.SetSize != 0 && st.Type == meta.Dir {
		return fault.New("truncate", fault.IsDir, "%s", p)
	}
	_, err = t.fs.Setattr(ctx, st.Ino, s)
	return err
}

func (t paths) Truncate(p string, size int64) error {
	return t.set(p, meta.SetAttr{Mask: meta.SetSize, Size: size, Time: 1})
}

func (t paths) Chmod(p string, perm uint32) error {
	return t.set(p, meta.SetAttr{Mask: meta.SetMode, Mode: perm, Time: 1})
}

func (t paths) Chtimes(p string, mtime int64) error {
	return t.set(p, meta.SetAttr{Mask: meta.SetMtime | meta.SetAtime, Mtime: meta.Time(mtime), Atime: meta.Time(mtime), Time: 1})
}

func (t paths) Stat(p string) (Stat, error) {
	st, err := t.walk(p)
	return statOf(st), err
}

func statOf(st meta.Inode) Stat {
	return Stat{
		Ino: uint64(st.Ino), Dir: st.Type == meta.Dir, Link: st.Type == meta.Symlink, Perm: st.Mode,
		Nlink: st.Nlink, Size: st.Size, Blocks: st.Blocks, Mtime: int64(st.Mtime),
	}
}

func (t paths) List(p string) ([]string, error) {
	st, err := t.walk(p)
	if err != nil {
		return nil, err
	}
	h, err := t.fs.Opendir(ctx, st.Ino)
	if err != nil {
		return nil, err
	}
	defer t.fs.Release(h)
	var names []string
	for at := meta.Cursor(0); ; {
		ls, err := t.fs.Readdir(ctx, st.Ino, at, 100, true, nil)
		for _, l := range ls {
			names = append(names, l.Name)
			at = l.Cursor
		}
		if err != nil || len(ls) < 100 {
			return names, err
		}
	}
}

type pathFile struct {
	fs     *vfs.FS
	h      vfs.Handle
	ino    meta.Ino
	append bool
}

func (f *pathFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.fs.Read(ctx, f.h, off, p)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *pathFile) WriteAt(p []byte, off int64) (int, error) {
	return f.fs.Write(ctx, f.h, off, p, false)
}

func (f *pathFile) Append(p []byte) error {
	_, err := f.fs.Write(ctx, f.h, 0, p, false)
	return err
}

func (f *pathFile) Truncate(size int64) error {
	_, err := f.fs.Setattr(ctx, f.ino, meta.SetAttr{Mask: meta.SetSize, Size: size, Time: 1})
	return err
}

func (f *pathFile) Stat() (Stat, error) {
	a, err := f.fs.Getattr(ctx, f.ino)
	return statOf(a.Inode), err
}

func (f *pathFile) Sync() error { return f.fs.Fsync(ctx, f.h) }

func (f *pathFile) Close() error {
	err := f.fs.Flush(ctx, f.h)
	f.fs.Release(f.h)
	return err
}
