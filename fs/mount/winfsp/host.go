//go:build windows || (linux && cgo && fuse3)

package winfsp

import (
	"runtime"
	"time"

	"github.com/winfsp/cgofuse/fuse"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// host is a tree as cgofuse calls it: results are zero, or an error's number made negative.
type host struct {
	fuse.FileSystemBase
	*tree
	up   func() // called before the first request
	down func() // after the last
}

var (
	_ fuse.FileSystemInterface  = (*host)(nil)
	_ fuse.FileSystemOpenEx     = (*host)(nil)
	_ fuse.FileSystemGetpath    = (*host)(nil)
	_ fuse.FileSystemChflags    = (*host)(nil)
	_ fuse.FileSystemSetcrtime  = (*host)(nil)
	_ fuse.FileSystemSetchgtime = (*host)(nil)
	_ fuse.FileSystemChmod3     = (*host)(nil)
	_ fuse.FileSystemChown3     = (*host)(nil)
	_ fuse.FileSystemUtimens3   = (*host)(nil)
	_ fuse.FileSystemRename3    = (*host)(nil)
)

// errc is what cgofuse is told of err.
func errc(err error) int { return -number(err, runtime.GOOS == "windows") }

// caller is on whose behalf the request in hand is made.
func caller() vfs.Caller {
	uid, gid, _ := fuse.Getcontext()
	return vfs.Caller{UID: uid, GID: gid}
}

// killPriv reports whether who makes the request in hand may not keep the setuid and setgid bits of what is changed.
func (h *host) killPriv() bool { return !h.windows && caller().UID != 0 }

func (h *host) Init()    { h.up() }
func (h *host) Destroy() { h.down() }

const blockBytes = 4096 // of what Statfs counts

func (h *host) Statfs(_ string, out *fuse.Statfs_t) int {
	s, err := h.fs.Statfs(h.ctx)
	if err != nil {
		return errc(err)
	}
	free := uint64(max(0, s.Free)) / blockBytes
	const files = 1 << 32 // inodes are bounded by space only
	*out = fuse.Statfs_t{
		Bsize: blockBytes, Frsize: blockBytes, Blocks: uint64(s.Total) / blockBytes, Bfree: free, Bavail: free,
		Files: s.Inodes + files, Ffree: files, Favail: files, Namemax: meta.NameMax,
	}
	return 0
}

func (h *host) Getattr(path string, out *fuse.Stat_t, fh uint64) int {
	st, err := h.stat(path, fh)
	if err == nil {
		fill(out, &st)
	}
	return errc(err)
}

func (h *host) Getpath(path string, _ uint64) (int, string) {
	real, err := h.realPath(path)
	return errc(err), real
}

func (h *host) Mknod(path string, mode uint32, dev uint64) int {
	for typ, bits := range formats {
		if bits == mode&fuse.S_IFMT && typ != meta.Dir && typ != meta.Symlink {
			return errc(h.mknod(caller(), path, typ, mode, uint32(dev)))
		}
	}
	return errc(fault.Invalid)
}

func (h *host) Mkdir(path string, mode uint32) int { return errc(h.mkdir(caller(), path, mode)) }
func (h *host) Unlink(path string) int             { return errc(h.unlink(path)) }
func (h *host) Rmdir(path string) int              { return errc(h.rmdir(path)) }
func (h *host) Link(old, path string) int          { return errc(h.link(old, path)) }

func (h *host) Symlink(target, path string) int { return errc(h.symlink(caller(), target, path)) }

func (h *host) Readlink(path string) (int, string) {
	target, err := h.readlink(path)
	return errc(err), target
}

func (h *host) Rename(from, to string) int { return h.Rename3(from, to, 0) }

func (h *host) Rename3(from, to string, flags uint32) int {
	if flags&^(meta.RenameNoReplace|meta.RenameExchange) != 0 {
		return errc(fault.Invalid) // no whiteouts
	}
	return errc(h.rename(from, to, flags))
}

func (h *host) Chmod(path string, mode uint32) int { return h.Chmod3(path, mode, noHandle) }

func (h *host) Chmod3(path string, mode uint32, fh uint64) int {
	return errc(h.set(path, fh, meta.SetAttr{Mask: meta.SetMode, Mode: mode & 0o7777}))
}

func (h *host) Chown(path string, uid, gid uint32) int { return h.Chown3(path, uid, gid, noHandle) }

// Chown3 does nothing on Windows, whose owners mean nothing elsewhere; WinFsp lets that pass where it only follows from
// something else.
func (h *host) Chown3(path string, uid, gid uint32, fh uint64) int {
	if h.windows {
		return errc(fault.Unsupported)
	}
	var s meta.SetAttr
	if uid != ^uint32(0) {
		s.Mask, s.UID = s.Mask|meta.SetUID, uid
	}
	if gid != ^uint32(0) {
		s.Mask, s.GID = s.Mask|meta.SetGID, gid
	}
	return errc(h.set(path, fh, s))
}

func (h *host) Utimens(path string, ts []fuse.Timespec) int { return h.Utimens3(path, ts, noHandle) }

func (h *host) Utimens3(path string, ts []fuse.Timespec, fh uint64) int {
	var s meta.SetAttr
	if t, ok := given(ts[0]); ok {
		s.Mask, s.Atime = s.Mask|meta.SetAtime, t
	}
	if t, ok := given(ts[1]); ok {
		s.Mask, s.Mtime = s.Mask|meta.SetMtime, t
	}
	if s.Mask == 0 {
		return 0
	}
	return errc(h.set(path, fh, s))
}

// given returns a time to be set, if it is to be set at all.
func given(t fuse.Timespec) (meta.Time, bool) {
	switch t.Nsec {
	case fuse.UTIME_OMIT:
		return 0, false
	case fuse.UTIME_NOW:
		return now(), true
	}
	return join(t), true
}

func (h *host) Setcrtime(path string, t fuse.Timespec) int {
	return errc(h.set(path, noHandle, meta.SetAttr{Mask: meta.SetBtime, Btime: join(t)}))
}

func (h *host) Setchgtime(path string, t fuse.Timespec) int {
	return errc(h.set(path, noHandle, meta.SetAttr{Mask: meta.SetCtime, Ctime: join(t)}))
}

func (h *host) Chflags(path string, flags uint32) int {
	s := meta.SetAttr{Mask: meta.SetFlags}
	for _, f := range dosFlags {
		if flags&f.bit != 0 {
			s.Flags |= f.flag
		}
	}
	return errc(h.set(path, noHandle, s))
}

// Access is asked on Windows whether something may be deleted: a deletion itself is told to nobody when it fails.
func (h *host) Access(path string, mask uint32) int {
	if mask&fuse.DELETE_OK == 0 {
		return -fuse.ENOSYS
	}
	return errc(h.fs.Writable())
}

func (h *host) Create(path string, flags int, mode uint32) (int, uint64) {
	fh, _, err := h.create(caller(), path, mode, h.modeOf(flags))
	return errc(err), fh
}

func (h *host) CreateEx(path string, mode uint32, fi *fuse.FileInfo_t) int {
	fh, o, err := h.create(caller(), path, mode, h.modeOf(fi.Flags))
	fi.Fh, fi.DirectIo, fi.KeepCache = fh, o.Direct, o.Keep
	return errc(err)
}

func (h *host) Open(path string, flags int) (int, uint64) {
	fh, _, err := h.open(path, h.modeOf(flags))
	return errc(err), fh
}

func (h *host) OpenEx(path string, fi *fuse.FileInfo_t) int {
	fh, o, err := h.open(path, h.modeOf(fi.Flags))
	fi.Fh, fi.DirectIo, fi.KeepCache = fh, o.Direct, o.Keep
	return errc(err)
}

func (h *host) Truncate(path string, size int64, fh uint64) int {
	return errc(h.truncate(path, fh, size, h.killPriv()))
}

func (h *host) Read(_ string, p []byte, off int64, fh uint64) int {
	n, err := h.fs.Read(h.ctx, vfs.Handle(fh), off, p)
	if err != nil {
		return errc(err)
	}
	return n
}

func (h *host) Write(_ string, p []byte, off int64, fh uint64) int {
	n, err := h.fs.Write(h.ctx, vfs.Handle(fh), off, p, h.killPriv())
	if err != nil && n == 0 {
		return errc(err)
	}
	return n
}

func (h *host) Flush(_ string, fh uint64) int { return errc(h.fs.Flush(h.ctx, vfs.Handle(fh))) }

func (h *host) Fsync(_ string, _ bool, fh uint64) int {
	return errc(h.fs.Fsync(h.ctx, vfs.Handle(fh)))
}

func (h *host) Release(_ string, fh uint64) int {
	h.release(fh)
	return 0
}

func (h *host) Opendir(path string) (int, uint64) {
	fh, err := h.opendir(path)
	return errc(err), fh
}

func (h *host) Readdir(path string, add func(string, *fuse.Stat_t, int64) bool, at int64, fh uint64) int {
	return errc(h.list(path, fh, at, func(name string, st *meta.Inode, next int64) bool {
		if st == nil {
			return add(name, nil, next)
		}
		var out fuse.Stat_t
		fill(&out, st)
		return add(name, &out, next)
	}))
}

func (h *host) Releasedir(path string, fh uint64) int { return h.Release(path, fh) }

func (h *host) Fsyncdir(_ string, _ bool, fh uint64) int {
	return errc(h.fs.Fsyncdir(h.ctx, vfs.Handle(fh)))
}

// formats is a mode's type bits.
var formats = map[meta.Type]uint32{
	meta.File: fuse.S_IFREG, meta.Dir: fuse.S_IFDIR, meta.Symlink: fuse.S_IFLNK, meta.Fifo: fuse.S_IFIFO,
	meta.Socket: fuse.S_IFSOCK, meta.CharDev: fuse.S_IFCHR, meta.BlockDev: fuse.S_IFBLK,
}

// dosFlags pairs what WinFsp makes of file attributes with what the drive keeps of them.
var dosFlags = []struct {
	bit  uint32
	flag meta.Flags
}{
	{fuse.UF_HIDDEN, meta.Hidden}, {fuse.UF_SYSTEM, meta.System}, {fuse.UF_ARCHIVE, meta.Archive}, {fuse.UF_READONLY, meta.ReadOnly},
}

const ioSize = 1 << 20 // what programs are told to read and write at once

func fill(out *fuse.Stat_t, st *meta.Inode) {
	*out = fuse.Stat_t{
		Ino: uint64(st.Ino), Mode: formats[st.Type] | st.Mode&0o7777, Nlink: st.Nlink, Uid: st.UID, Gid: st.GID, Rdev: uint64(st.Rdev),
		Size: st.Size, Blocks: int64(st.Blocks), Blksize: ioSize,
		Atim: split(st.Atime), Mtim: split(st.Mtime), Ctim: split(st.Ctime), Birthtim: split(st.Btime),
	}
	for _, f := range dosFlags {
		if st.Flags&f.flag != 0 {
			out.Flags |= f.bit
		}
	}
	switch st.Type {
	case meta.Dir:
		out.Size = blockBytes
	case meta.Symlink:
		out.Size = int64(len(st.Target))
	}
}

func split(t meta.Time) fuse.Timespec { return fuse.NewTimespec(time.Unix(0, int64(t))) }

func join(t fuse.Timespec) meta.Time { return meta.TimeAt(t.Sec, t.Nsec) }

// modeOf turns the flags of an open into what vfs understands.
func (h *host) modeOf(flags int) vfs.Mode {
	acc := flags & fuse.O_ACCMODE
	return vfs.Mode{
		Read:   acc != fuse.O_WRONLY,
		Write:  acc != fuse.O_RDONLY,
		Append: flags&fuse.O_APPEND != 0 && acc != fuse.O_RDONLY,
		Trunc:  flags&fuse.O_TRUNC != 0,
		Excl:   flags&fuse.O_EXCL != 0,

		KillPriv: flags&fuse.O_TRUNC != 0 && h.killPriv(),
	}
}
