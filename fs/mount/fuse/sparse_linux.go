package fuse

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"dfs/fs/vfs"
)

// Fallocate gets what the kernel lets through: it answers collapsing, inserting and unsharing by itself, with EOPNOTSUPP, and drops its
// pages of what was punched or zeroed when this has returned.
func (r *raw) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	what, known := map[uint32]vfs.Alloc{
		0:                         vfs.Allocate,
		unix.FALLOC_FL_PUNCH_HOLE: vfs.Punch,
		unix.FALLOC_FL_ZERO_RANGE: vfs.Zero,
	}[in.Mode&^unix.FALLOC_FL_KEEP_SIZE]
	keep := in.Mode&unix.FALLOC_FL_KEEP_SIZE != 0
	switch {
	case !known || what == vfs.Punch && !keep:
		return fuse.Status(unix.EOPNOTSUPP)
	case in.Offset > 1<<63-1 || in.Length > 1<<63-1:
		return fuse.Status(unix.EFBIG)
	}
	err := r.fs.Fallocate(ctx, vfs.Handle(in.Fh), what, int64(in.Offset), int64(in.Length), keep, in.Uid != 0)
	return status(err)
}

// CopyFileRange copies within the drive; the kernel has checked the ranges, and drops its pages of what was copied when this has returned. Its
// 64-bit form is not known to go-fuse, and the kernel then asks for this one.
func (r *raw) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	if in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	if in.OffIn > 1<<63-1 || in.OffOut > 1<<63-1 {
		return 0, fuse.Status(unix.EOVERFLOW)
	}
	size := int64(min(in.Len, 1<<30)) // what is answered has 32 bits
	n, err := r.fs.CopyRange(ctx, vfs.Handle(in.FhIn), int64(in.OffIn), vfs.Handle(in.FhOut), int64(in.OffOut), size, in.Uid != 0)
	return uint32(n), status(err)
}
