package fuse

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// raw answers the kernel's requests. Each method runs in a goroutine of go-fuse's. None obeys cancel, which any signal
// causes; see call.
type raw struct {
	fuse.RawFileSystem // answers ENOSYS to what is not here: ioctl
	fs                 *vfs.FS
	refs               refs
	calls              calls
	setxattrExt        bool // SETXATTR comes with flags of its own
}

var _ fuse.RawFileSystem = (*raw)(nil)

func newRaw(fs *vfs.FS) *raw {
	return &raw{RawFileSystem: fuse.NewDefaultRawFileSystem(), fs: fs}
}

func (r *raw) String() string { return Subtype }

// background is the context of requests that never wait.
var background = context.Background()

func callerOf(h *fuse.InHeader) vfs.Caller { return vfs.Caller{UID: h.Uid, GID: h.Gid} }

// makerOf is callerOf with the umask, which the kernel leaves to us.
func makerOf(h *fuse.InHeader, umask uint32) vfs.Caller {
	return vfs.Caller{UID: h.Uid, GID: h.Gid, Umask: umask & 0o777}
}

// newEntry answers a request that made something.
func (r *raw) newEntry(out *fuse.EntryOut, e vfs.Entry, err error) fuse.Status {
	if err != nil {
		return status(err)
	}
	r.fillEntry(out, &e)
	return fuse.OK
}

func (r *raw) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx := r.call(h)
	defer ctx.end()
	dir := meta.Ino(h.NodeId)
	if name == "." || name == ".." {
		return r.lookupDot(ctx, dir, name, out)
	}
	e, err := r.fs.Lookup(ctx, dir, name, &r.refs)
	if err != nil {
		return status(err)
	}
	r.fillEntry(out, &e)
	return fuse.OK
}

// lookupDot serves NFS export, which asks for "." and ".." by number.
func (r *raw) lookupDot(ctx context.Context, dir meta.Ino, name string, out *fuse.EntryOut) fuse.Status {
	ino, err := dir, error(nil)
	if name == ".." {
		if ino, err = r.fs.Parent(ctx, dir); err != nil {
			return status(err)
		}
	}
	r.refs.Add(ino)
	a, err := r.fs.Getattr(ctx, ino)
	if err != nil {
		r.refs.Drop(ino)
	}
	return r.newEntry(out, vfs.Entry{Inode: a.Inode}, err)
}

func (r *raw) Forget(nodeid, n uint64) { r.refs.forget(meta.Ino(nodeid), n) }

func (r *raw) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	a, err := r.fs.Getattr(ctx, meta.Ino(in.NodeId))
	if err != nil {
		return status(err)
	}
	r.fillAttrOut(out, &a)
	return fuse.OK
}

// Statx is GetAttr with the time a file was made, which the kernel asks for only where a program does.
func (r *raw) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	a, err := r.fs.Getattr(ctx, meta.Ino(in.NodeId))
	if err != nil {
		return status(err)
	}
	fillStatx(out, &a.Inode)
	out.SetTimeout(r.fs.Left(a.Until))
	return fuse.OK
}

func (r *raw) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	s := changes(in, time.Now())
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 && s.Mask&meta.SetMode == 0 {
		a, err := r.fs.Getattr(ctx, meta.Ino(in.NodeId))
		if err != nil {
			return status(err)
		}
		if mode := vfs.WithoutPriv(a.Inode.Mode); mode != a.Inode.Mode {
			s.Mask |= meta.SetMode
			s.Mode = mode
		}
	}
	a, err := r.fs.Setattr(ctx, meta.Ino(in.NodeId), s)
	if err != nil {
		return status(err)
	}
	a.Until = 0
	r.fillAttrOut(out, &a)
	return fuse.OK
}

func (r *raw) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	t := typeOf(in.Mode)
	if t == 0 || t == meta.Dir || t == meta.Symlink {
		return fuse.EINVAL
	}
	e, err := r.fs.Mknod(ctx, makerOf(&in.InHeader, in.Umask), meta.Ino(in.NodeId), name, t, in.Mode&07777, in.Rdev, &r.refs)
	return r.newEntry(out, e, err)
}

func (r *raw) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	e, err := r.fs.Mkdir(ctx, makerOf(&in.InHeader, in.Umask), meta.Ino(in.NodeId), name, in.Mode&07777, &r.refs)
	return r.newEntry(out, e, err)
}

func (r *raw) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	ctx := r.call(h)
	defer ctx.end()
	e, err := r.fs.Symlink(ctx, callerOf(h), meta.Ino(h.NodeId), name, target, &r.refs)
	return r.newEntry(out, e, err)
}

func (r *raw) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	ctx := r.call(h)
	defer ctx.end()
	target, err := r.fs.Readlink(ctx, meta.Ino(h.NodeId))
	return []byte(target), status(err)
}

func (r *raw) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	e, err := r.fs.Link(ctx, meta.Ino(in.Oldnodeid), meta.Ino(in.NodeId), name, &r.refs)
	return r.newEntry(out, e, err)
}

func (r *raw) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	ctx := r.call(h)
	defer ctx.end()
	return status(r.fs.Unlink(ctx, meta.Ino(h.NodeId), name))
}

func (r *raw) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	ctx := r.call(h)
	defer ctx.end()
	return status(r.fs.Rmdir(ctx, meta.Ino(h.NodeId), name))
}

func (r *raw) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	if in.Flags&^uint32(meta.RenameNoReplace|meta.RenameExchange) != 0 {
		return fuse.EINVAL // no whiteouts
	}
	err := r.fs.Rename(ctx, meta.Ino(in.NodeId), oldName, meta.Ino(in.Newdir), newName, in.Flags)
	return status(err)
}

// Access is never asked: the kernel checks permissions by itself.
func (r *raw) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

func (r *raw) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := r.fs.Statfs(background)
	if err != nil {
		return status(err)
	}
	const block = 4096
	out.Bsize, out.Frsize, out.NameLen = block, block, meta.NameMax
	out.Blocks = uint64(s.Total) / block
	out.Bfree = uint64(max(0, s.Free)) / block
	out.Bavail = out.Bfree
	out.Ffree = 1 << 32 // inodes are bounded by space only
	out.Files = s.Inodes + out.Ffree
	return fuse.OK
}

func (r *raw) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	off, err := r.fs.Seek(ctx, vfs.Handle(in.Fh), int64(in.Offset), in.Whence == 4)
	if fault.KindOf(err) == fault.NotExist {
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = uint64(off)
	return status(err)
}
