package winfsp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// tree answers by path what a vfs.FS answers by inode: the front, without the library that calls it. Paths begin with a slash; handles
// are those of vfs, none is noHandle. Safe for concurrent use.
type tree struct {
	fs      *vfs.FS
	ctx     context.Context // of every request: it ends when the mount is given up
	windows bool
	seen    *seen

	mu    sync.Mutex
	opens map[uint64]meta.Ino // by handle
}

// noHandle is what cgofuse gives where a request has none.
const noHandle = ^uint64(0)

func newTree(ctx context.Context, fs *vfs.FS, windows bool) *tree {
	return &tree{fs: fs, ctx: ctx, windows: windows, seen: newSeen(), opens: map[uint64]meta.Ino{}}
}

// place is where a path leads.
type place struct {
	dir   meta.Inode // that holds the name; Ino 0: this is the root
	name  string     // as the drive has it, or would if it were made now
	asked string     // as it would be if it were made as asked
	node  meta.Inode // what it means; Ino 0: nothing yet
	shown string     // the path with every name as it is shown
	never error      // why no such name can be made
}

// walk resolves a path. Where nothing is called so the place is the one where it would be made; fault.NotExist where a directory
// on the way is missing, NotDir where it is none.
func (t *tree) walk(path string) (place, error) {
	a, err := t.fs.Getattr(t.ctx, meta.Root)
	if err != nil {
		return place{}, err
	}
	p := place{node: a.Inode}
	t.seen.add(meta.Root, "/")
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		if p, err = t.step(p, name); err != nil {
			return place{}, err
		}
	}
	if p.shown == "" {
		p.shown = "/"
	}
	if p.node.Ino != 0 {
		t.seen.add(p.node.Ino, p.shown)
	}
	return p, nil
}

// step goes on to one name below p.
func (t *tree) step(p place, name string) (place, error) {
	switch {
	case p.node.Ino == 0:
		return place{}, fault.New("walk", fault.NotExist, "%s", p.shown)
	case p.node.Type != meta.Dir && t.windows:
		// WinFsp looks for symbolic links on the way of a path that is not found, and of no other.
		return place{}, fault.New("walk", fault.NotExist, "%s is no directory", p.shown)
	case p.node.Type != meta.Dir:
		return place{}, fault.New("walk", fault.NotDir, "%s", p.shown)
	}
	next := place{dir: p.node, name: name, asked: name}
	if t.windows {
		real, ok := hide(name)
		if !ok {
			next.shown = p.shown + "/" + name
			next.never = fault.New("name", fault.Invalid, "%q stands for nothing", name)
			return next, nil
		}
		next.name, next.asked = real, real
	}
	err := t.find(&next)
	next.shown = p.shown + "/" + t.shown(next.name)
	return next, err
}

func (t *tree) shown(name string) string {
	if t.windows {
		return show(name)
	}
	return name
}

// findTries bounds how often a name is looked for that was there a moment ago.
const findTries = 8

// find looks up p's name, on Windows as it is spelled if it is not there as asked.
func (t *tree) find(p *place) error {
	for range findTries {
		e, err := t.fs.Lookup(t.ctx, p.dir.Ino, p.name, nil)
		if p.node = e.Inode; err != nil || e.Inode.Ino != 0 || !t.windows {
			return err
		}
		p.name = p.asked
		real, err := t.fs.Spelling(t.ctx, p.dir.Ino, p.asked)
		switch {
		case errors.Is(err, fault.NotExist):
			return nil
		case err != nil:
			return err
		}
		p.name = real
	}
	return fault.New("walk", fault.Busy, "%q comes and goes", p.asked)
}

// existing is walk to what must be there. fault.NotExist.
func (t *tree) existing(path string) (place, error) {
	p, err := t.walk(path)
	if err == nil && p.node.Ino == 0 {
		err = fault.New("walk", fault.NotExist, "%s", path)
	}
	return p, err
}

// vacant is walk to a name that is to be made. fault.Exist, Invalid.
func (t *tree) vacant(path string) (place, error) {
	p, err := t.walk(path)
	switch {
	case err != nil:
	case p.never != nil:
		err = p.never
	case p.node.Ino != 0:
		err = fault.New("make", fault.Exist, "%s", path)
	}
	return p, err
}

// inode returns what a request is about: that of its handle, else that of its path.
func (t *tree) inode(path string, fh uint64) (meta.Ino, error) {
	if fh != noHandle {
		t.mu.Lock()
		ino := t.opens[fh]
		t.mu.Unlock()
		if ino != 0 {
			return ino, nil
		}
	}
	p, err := t.existing(path)
	return p.node.Ino, err
}

// owner returns on whose behalf something is made. On Windows owners are nothing that other systems know: what is made belongs to
// who owns the directory.
func (t *tree) owner(c vfs.Caller, p place) vfs.Caller {
	if t.windows {
		return vfs.Caller{UID: p.dir.UID, GID: p.dir.GID}
	}
	return c
}

// permissions of what is made; WinFsp derives them from access control lists that other systems do not know.
func (t *tree) permissions(mode, usual uint32) uint32 {
	if t.windows {
		return usual
	}
	return mode & 0o7777
}

func (t *tree) opened(h vfs.Handle, ino meta.Ino) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opens[uint64(h)] = ino
	return uint64(h)
}

// stat returns a file's attributes.
func (t *tree) stat(path string, fh uint64) (meta.Inode, error) {
	if fh == noHandle {
		p, err := t.existing(path)
		return p.node, err
	}
	ino, err := t.inode(path, fh)
	if err != nil {
		return meta.Inode{}, err
	}
	a, err := t.fs.Getattr(t.ctx, ino)
	return a.Inode, err
}

// realPath returns path as its names are spelled.
func (t *tree) realPath(path string) (string, error) {
	p, err := t.existing(path)
	return p.shown, err
}

func (t *tree) mknod(c vfs.Caller, path string, typ meta.Type, mode, rdev uint32) error {
	p, err := t.vacant(path)
	if err == nil {
		_, err = t.fs.Mknod(t.ctx, t.owner(c, p), p.dir.Ino, p.name, typ, t.permissions(mode, 0o644), rdev, nil)
	}
	return err
}

func (t *tree) mkdir(c vfs.Caller, path string, mode uint32) error {
	p, err := t.vacant(path)
	if err == nil {
		_, err = t.fs.Mkdir(t.ctx, t.owner(c, p), p.dir.Ino, p.name, t.permissions(mode, 0o755), nil)
	}
	return err
}

func (t *tree) unlink(path string) error {
	p, err := t.existing(path)
	if err == nil && p.dir.Ino == 0 {
		err = fault.New("unlink", fault.IsDir, "the root")
	}
	if err == nil {
		err = t.fs.Unlink(t.ctx, p.dir.Ino, p.name)
	}
	return err
}

func (t *tree) rmdir(path string) error {
	p, err := t.existing(path)
	if err == nil && p.dir.Ino == 0 {
		err = fault.New("rmdir", fault.Busy, "the root")
	}
	if err == nil {
		err = t.fs.Rmdir(t.ctx, p.dir.Ino, p.name)
	}
	return err
}

// rename moves a name, by meta.Rename's rules and flags. Onto a name that is there in another spelling, that spelling stays; a name
// that is moved onto itself gets the spelling that is asked for.
func (t *tree) rename(from, to string, flags uint32) error {
	a, err := t.existing(from)
	if err != nil {
		return err
	}
	b, err := t.walk(to)
	switch {
	case err != nil:
		return err
	case b.never != nil:
		return b.never
	case a.dir.Ino == 0 || b.dir.Ino == 0:
		return fault.New("rename", fault.Busy, "the root")
	}
	if a.dir.Ino == b.dir.Ino && a.name == b.name {
		b.name = b.asked
	}
	return t.fs.Rename(t.ctx, a.dir.Ino, a.name, b.dir.Ino, b.name, flags)
}

func (t *tree) link(old, path string) error {
	a, err := t.existing(old)
	if err != nil {
		return err
	}
	p, err := t.vacant(path)
	if err == nil {
		_, err = t.fs.Link(t.ctx, a.node.Ino, p.dir.Ino, p.name, nil)
	}
	return err
}

func (t *tree) symlink(c vfs.Caller, target, path string) error {
	p, err := t.vacant(path)
	if err != nil {
		return err
	}
	if t.windows {
		names := strings.Split(target, "/")
		for i, name := range names {
			real, ok := hide(name)
			if !ok {
				return fault.New("symlink", fault.Invalid, "%q stands for nothing", name)
			}
			names[i] = real
		}
		target = strings.Join(names, "/")
	}
	_, err = t.fs.Symlink(t.ctx, t.owner(c, p), p.dir.Ino, p.name, target, nil)
	return err
}

func (t *tree) readlink(path string) (string, error) {
	p, err := t.existing(path)
	if err != nil {
		return "", err
	}
	target, err := t.fs.Readlink(t.ctx, p.node.Ino)
	if err != nil || !t.windows {
		return target, err
	}
	names := strings.Split(target, "/")
	for i, name := range names {
		if name != "." && name != ".." {
			names[i] = show(name)
		}
	}
	return strings.Join(names, "/"), nil
}

// set changes attributes; s.Time is set here.
func (t *tree) set(path string, fh uint64, s meta.SetAttr) error {
	ino, err := t.inode(path, fh)
	if err == nil {
		s.Time = now()
		_, err = t.fs.Setattr(t.ctx, ino, s)
	}
	return err
}

// dots returns the attributes of a directory itself in its listing, and those of the one above; nil where they are not to be had.
func (t *tree) dots(ino meta.Ino) (self, above *meta.Inode) {
	a, err := t.fs.Getattr(t.ctx, ino)
	if err != nil {
		return nil, nil
	}
	up, err := t.fs.Parent(t.ctx, ino)
	if err != nil {
		return &a.Inode, nil
	}
	b, err := t.fs.Getattr(t.ctx, up)
	if err != nil {
		return &a.Inode, nil
	}
	return &a.Inode, &b.Inode
}

func now() meta.Time { return meta.Time(time.Now().UnixNano()) }

// truncate sets a file's size. KillPriv says that who does it may not keep the file's setuid and setgid bits.
func (t *tree) truncate(path string, fh uint64, size int64, killPriv bool) error {
	s := meta.SetAttr{Mask: meta.SetSize, Size: size}
	if killPriv {
		st, err := t.stat(path, fh)
		if err != nil {
			return err
		}
		if mode := vfs.WithoutPriv(st.Mode); mode != st.Mode {
			s.Mask, s.Mode = s.Mask|meta.SetMode, mode
		}
	}
	if fh == noHandle {
		p, err := t.existing(path)
		if err != nil {
			return err
		}
		if p.node.Type == meta.Dir {
			return fault.New("truncate", fault.IsDir, "%s", path)
		}
	}
	return t.set(path, fh, s)
}

// create makes a file and opens it. If the name is taken that file is opened, unless m.Excl.
func (t *tree) create(c vfs.Caller, path string, mode uint32, m vfs.Mode) (uint64, vfs.Opened, error) {
	p, err := t.walk(path)
	switch {
	case err != nil:
		return noHandle, vfs.Opened{}, err
	case p.never != nil:
		return noHandle, vfs.Opened{}, p.never
	case p.dir.Ino == 0:
		return noHandle, vfs.Opened{}, fault.New("create", fault.IsDir, "the root")
	}
	e, o, err := t.fs.Create(t.ctx, t.owner(c, p), p.dir.Ino, p.name, t.permissions(mode, 0o644), m, nil)
	if err != nil {
		return noHandle, vfs.Opened{}, err
	}
	return t.opened(o.Handle, e.Inode.Ino), o, nil
}

func (t *tree) open(path string, m vfs.Mode) (uint64, vfs.Opened, error) {
	p, err := t.existing(path)
	if err == nil && p.node.Type == meta.Dir && m.Write {
		err = fault.New("open", fault.IsDir, "%s", path)
	}
	if err != nil {
		return noHandle, vfs.Opened{}, err
	}
	o, err := t.fs.Open(t.ctx, p.node.Ino, m)
	if err != nil {
		return noHandle, vfs.Opened{}, err
	}
	return t.opened(o.Handle, p.node.Ino), o, nil
}

func (t *tree) opendir(path string) (uint64, error) {
	p, err := t.existing(path)
	if err != nil {
		return noHandle, err
	}
	h, err := t.fs.Opendir(t.ctx, p.node.Ino)
	if err != nil {
		return noHandle, err
	}
	return t.opened(h, p.node.Ino), nil
}

// release ends a handle of a file or directory.
func (t *tree) release(fh uint64) {
	t.mu.Lock()
	delete(t.opens, fh)
	t.mu.Unlock()
	t.fs.Release(vfs.Handle(fh))
}

// Places in a listing: 0 is the start, 1 is behind ".", 2 behind "..", and everything above is a cursor, which is never that small.
const (
	behindDot    = 1
	behindDotDot = 2
	listStep     = 256 // entries asked for at once
)

// list calls fill for the entries behind at until it says that there is no more room. st is nil where attributes are not at hand, on
// Linux it has number and type then.
func (t *tree) list(path string, fh uint64, at int64, fill func(name string, st *meta.Inode, next int64) bool) error {
	ino, err := t.inode(path, fh)
	if err != nil {
		return err
	}
	if at < behindDotDot {
		self, above := t.dots(ino)
		if at < behindDot && !fill(".", self, behindDot) || !fill("..", above, behindDotDot) {
			return nil
		}
	}
	after := meta.Cursor(0)
	if at > behindDotDot {
		after = meta.Cursor(at)
	}
	for {
		ls, err := t.fs.Readdir(t.ctx, ino, after, listStep, true, nil)
		if err != nil {
			return err
		}
		for i := range ls {
			l := &ls[i]
			st := &l.Inode
			if !l.Full && t.windows {
				st = nil
			}
			if !fill(t.shown(l.Name), st, int64(l.Cursor)) {
				return nil
			}
			after = l.Cursor
		}
		if len(ls) < listStep {
			return nil
		}
	}
}
