package fstest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// RunCore plays the conformance cases on fs, in this process. Cases with calls that only a kernel has are left out, and those with an
// exception for place "core" are skipped.
func RunCore(t *testing.T, fs *vfs.FS) {
	for i, s := range scripts(t) {
		dir := fmt.Sprint("case", i)
		p := &player{calls: core{paths{fs}, dir}}
		if p.lacks(s) != "" || slices.ContainsFunc(s.steps, func(st step) bool { return st.as != nil }) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if why := s.skips("core"); why != "" {
				t.Skip(why)
			}
			ok(t, "mkdir", paths{fs}.Mkdir(dir))
			if err := p.play(s); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// core is the calls of a vfs.FS, as a kernel that keeps nothing and allows everything would make them. It follows no symbolic links.
type core struct {
	paths
	dir string // where paths begin
}

var _ calls = core{}

func (c core) at(p string) string { return path.Join(c.dir, p) }

// names of types in scripts.
var typeNames = map[meta.Type]string{
	meta.File: "file", meta.Dir: "dir", meta.Symlink: "link", meta.Fifo: "fifo", meta.Socket: "socket", meta.CharDev: "char", meta.BlockDev: "block",
}

func (c core) open(p string, flags []string, mode uint32) (file, error) {
	has := func(f string) bool { return slices.Contains(flags, f) }
	m := vfs.Mode{
		Read: !has("wronly"), Write: has("wronly") || has("rdwr"), Append: has("append"), Trunc: has("trunc"), Excl: has("excl"),
		Sync: has("sync") || has("dsync"),
	}
	st, err := c.walk(c.at(p))
	if errors.Is(err, fault.NotExist) && has("creat") {
		dir, name, err := c.parent(c.at(p))
		if err != nil {
			return nil, err
		}
		e, o, err := c.fs.Create(ctx, vfs.Caller{}, dir, name, mode, m, nil)
		return c.file(o, e.Inode.Ino, m), err
	}
	switch {
	case err != nil:
		return nil, err
	case has("creat") && has("excl"):
		return nil, fault.New("open", fault.Exist, "%s", p)
	case st.Type == meta.Dir && (m.Write || has("creat")):
		return nil, fault.New("open", fault.IsDir, "%s", p)
	case st.Type != meta.Dir && has("directory"):
		return nil, fault.New("open", fault.NotDir, "%s", p)
	}
	o, err := c.fs.Open(ctx, st.Ino, m)
	return c.file(o, st.Ino, m), err
}

func (c core) file(o vfs.Opened, ino meta.Ino, m vfs.Mode) file {
	return &coreFile{pathFile: pathFile{c.fs, o.Handle, ino, m.Append}}
}

func (c core) mkdir(p string, mode uint32) error {
	dir, name, err := c.parent(c.at(p))
	if err == nil {
		_, err = c.fs.Mkdir(ctx, vfs.Caller{}, dir, name, mode, nil)
	}
	return err
}

func (c core) mknod(p, kind string, mode, dev uint32) error {
	dir, name, err := c.parent(c.at(p))
	if err != nil {
		return err
	}
	for t, n := range typeNames {
		if n == kind {
			_, err = c.fs.Mknod(ctx, vfs.Caller{}, dir, name, t, mode, dev, nil)
			return err
		}
	}
	return errUsage("type %s", kind)
}

func (c core) link(old, p string) error          { return c.Link(c.at(old), c.at(p)) }
func (c core) symlink(target, p string) error    { return c.Symlink(target, c.at(p)) }
func (c core) readlink(p string) (string, error) { return c.Readlink(c.at(p)) }
func (c core) unlink(p string) error             { return c.Remove(c.at(p)) }
func (c core) rmdir(p string) error              { return c.Rmdir(c.at(p)) }
func (c core) list(p string) ([]string, error)   { return c.List(c.at(p)) }
func (c core) truncate(p string, size int64) error {
	return c.setNow(p, meta.SetAttr{Mask: meta.SetSize, Size: size})
}
func (c core) chmod(p string, mode uint32) error {
	return c.setNow(p, meta.SetAttr{Mask: meta.SetMode, Mode: mode})
}
func (c core) setNow(p string, s meta.SetAttr) error {
	s.Time = meta.Time(time.Now().UnixNano())
	return c.set(c.at(p), s)
}

func (c core) rename(old, p string, flags []string) error {
	from, oldName, err := c.parent(c.at(old))
	if err != nil {
		return err
	}
	to, name, err := c.parent(c.at(p))
	if err != nil {
		return err
	}
	bits := uint32(0)
	for _, f := range flags {
		bits |= map[string]uint32{"noreplace": meta.RenameNoReplace, "exchange": meta.RenameExchange, "whiteout": 4}[f]
	}
	return c.fs.Rename(ctx, from, oldName, to, name, bits)
}

func (c core) chown(p string, uid, gid int64) error {
	var s meta.SetAttr
	if uid >= 0 {
		s.Mask, s.UID = s.Mask|meta.SetUID, uint32(uid)
	}
	if gid >= 0 {
		s.Mask, s.GID = s.Mask|meta.SetGID, uint32(gid)
	}
	return c.setNow(p, s)
}

func (c core) utimens(p string, atime, mtime stamp) error {
	now := time.Now()
	var s meta.SetAttr
	set := func(x stamp, bit uint32, at *meta.Time) {
		if x.now {
			x.at = now
		}
		if !x.omit {
			s.Mask |= bit
			*at = meta.Time(x.at.UnixNano())
		}
	}
	set(atime, meta.SetAtime, &s.Atime)
	set(mtime, meta.SetMtime, &s.Mtime)
	s.Time = meta.Time(now.UnixNano())
	return c.set(c.at(p), s)
}

func (c core) stat(p string, _ bool) (attrs, error) {
	st, err := c.walk(c.at(p))
	return attrsOf(st), err
}

func attrsOf(st meta.Inode) attrs {
	at := func(t meta.Time) time.Time { return time.Unix(0, int64(t)) }
	return attrs{
		kind: typeNames[st.Type], mode: st.Mode, nlink: uint64(st.Nlink), uid: st.UID, gid: st.GID, rdev: uint64(st.Rdev), size: st.Size,
		blocks: st.Blocks, ino: uint64(st.Ino), atime: at(st.Atime), mtime: at(st.Mtime), ctime: at(st.Ctime), bt: at(st.Btime),
	}
}

func (c core) tick(after time.Time) {
	for !time.Now().After(after) {
	}
}

// coreFile is a handle of a vfs.FS with the place that the kernel keeps for it.
type coreFile struct {
	pathFile
	at int64
}

func (f *coreFile) pread(n int, off int64) ([]byte, error) {
	p := make([]byte, n)
	got, err := f.fs.Read(ctx, f.h, off, p)
	return p[:got], err
}

func (f *coreFile) pwrite(p []byte, off int64) (int, error) { return f.WriteAt(p, off) }

func (f *coreFile) write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *coreFile) truncate(size int64) error {
	_, err := f.fs.Setattr(ctx, f.ino, meta.SetAttr{Mask: meta.SetSize, Size: size, Time: meta.Time(time.Now().UnixNano())})
	return err
}

func (f *coreFile) stat() (attrs, error) {
	a, err := f.fs.Getattr(ctx, f.ino)
	return attrsOf(a.Inode), err
}

func (f *coreFile) sync() error  { return f.Sync() }
func (f *coreFile) close() error { return f.Close() }

func (f *coreFile) seek(off int64, whence string) (int64, error) {
	switch whence {
	case "data", "hole":
		return f.fs.Seek(ctx, f.h, off, whence == "hole")
	case "set":
		f.at = off
	case "cur":
		f.at += off
	case "end":
		a, err := f.fs.Getattr(ctx, f.ino)
		if err != nil {
			return 0, err
		}
		f.at = a.Inode.Size + off
	}
	return f.at, nil
}
