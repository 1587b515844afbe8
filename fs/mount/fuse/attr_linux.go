package fuse

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// formats is st_mode's type bits.
var formats = map[meta.Type]uint32{
	meta.File: syscall.S_IFREG, meta.Dir: syscall.S_IFDIR, meta.Symlink: syscall.S_IFLNK, meta.Fifo: syscall.S_IFIFO,
	meta.Socket: syscall.S_IFSOCK, meta.CharDev: syscall.S_IFCHR, meta.BlockDev: syscall.S_IFBLK,
}

// typeOf is the inverse of formats; 0 for bits that are no type. mknod(2): no bits mean a regular file.
func typeOf(mode uint32) meta.Type {
	if mode&syscall.S_IFMT == 0 {
		return meta.File
	}
	for t, f := range formats {
		if f == mode&syscall.S_IFMT {
			return t
		}
	}
	return 0
}

const ioSize = 1 << 20 // st_blksize: what programs are told to read and write at once

func fillAttr(a *fuse.Attr, st *meta.Inode) {
	a.Ino = uint64(st.Ino)
	a.Size = uint64(st.Size)
	a.Blocks = st.Blocks
	a.Atime, a.Atimensec = split(st.Atime)
	a.Mtime, a.Mtimensec = split(st.Mtime)
	a.Ctime, a.Ctimensec = split(st.Ctime)
	a.Mode = formats[st.Type] | st.Mode&07777
	a.Nlink = st.Nlink
	a.Uid, a.Gid = st.UID, st.GID
	a.Rdev = st.Rdev
	a.Blksize = ioSize
	switch st.Type {
	case meta.Dir:
		a.Size = 4096
	case meta.Symlink:
		a.Size = uint64(len(st.Target))
	}
}

// split turns a time into the kernel's seconds, which are signed in an unsigned field, and nanoseconds.
func split(t meta.Time) (sec uint64, nsec uint32) {
	s, ns := int64(t)/1e9, int64(t)%1e9
	if ns < 0 {
		s, ns = s-1, ns+1e9
	}
	return uint64(s), uint32(ns)
}

// join is the inverse.
func join(sec uint64, nsec uint32) meta.Time { return meta.TimeAt(int64(sec), int64(nsec)) }

// fillEntry answers a lookup. A name that does not exist is inode 0, which the kernel keeps like any other.
func (r *raw) fillEntry(out *fuse.EntryOut, e *vfs.Entry) {
	out.NodeId = uint64(e.Inode.Ino)
	out.SetEntryTimeout(r.fs.Left(e.EntryUntil))
	if e.Inode.Ino != 0 {
		fillAttr(&out.Attr, &e.Inode)
		out.SetAttrTimeout(r.fs.Left(e.AttrUntil))
	}
}

func (r *raw) fillAttrOut(out *fuse.AttrOut, a *vfs.Attr) {
	fillAttr(&out.Attr, &a.Inode)
	out.SetTimeout(r.fs.Left(a.Until))
}

// changes turns a SETATTR into what the metadata understands.
func changes(in *fuse.SetAttrIn, now time.Time) meta.SetAttr {
	t := meta.Time(now.UnixNano())
	s := meta.SetAttr{Time: t}
	if in.Valid&fuse.FATTR_MODE != 0 {
		s.Mask |= meta.SetMode
		s.Mode = in.Mode & 07777
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		s.Mask |= meta.SetUID
		s.UID = in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		s.Mask |= meta.SetGID
		s.GID = in.Gid
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		s.Mask |= meta.SetSize
		s.Size = int64(in.Size)
	}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		s.Mask |= meta.SetAtime
		s.Atime = join(in.Atime, in.Atimensec)
		if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
			s.Atime = t
		}
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		s.Mask |= meta.SetMtime
		s.Mtime = join(in.Mtime, in.Mtimensec)
		if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
			s.Mtime = t
		}
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		s.Mask |= meta.SetCtime
		s.Ctime = join(in.Ctime, in.Ctimensec)
	}
	return s
}

func fillStatx(out *fuse.StatxOut, st *meta.Inode) {
	var a fuse.Attr
	fillAttr(&a, st)
	stamp := func(t meta.Time) (x fuse.SxTime) {
		sec, nsec := split(t)
		x.Sec, x.Nsec = sec, nsec
		return x
	}
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Blksize, out.Nlink, out.Uid, out.Gid, out.Mode = a.Blksize, a.Nlink, a.Uid, a.Gid, uint16(a.Mode)
	out.Ino, out.Size, out.Blocks = a.Ino, a.Size, a.Blocks
	out.Statx.Atime, out.Statx.Btime, out.Statx.Ctime, out.Statx.Mtime = stamp(st.Atime), stamp(st.Btime), stamp(st.Ctime), stamp(st.Mtime)
	out.RdevMajor, out.RdevMinor = unix.Major(uint64(a.Rdev)), unix.Minor(uint64(a.Rdev))
}

// modeOf turns open(2) flags into what vfs understands. Which writes go to the end is said with each: fcntl(2) may change it.
func modeOf(flags uint32) vfs.Mode {
	acc := flags & syscall.O_ACCMODE
	return vfs.Mode{
		Read:    acc != syscall.O_WRONLY,
		Write:   acc != syscall.O_RDONLY,
		NoAtime: flags&unix.O_NOATIME != 0,
		Trunc:   flags&syscall.O_TRUNC != 0,
		Excl:    flags&syscall.O_EXCL != 0,
		Sync:    flags&syscall.O_DSYNC != 0,
	}
}
