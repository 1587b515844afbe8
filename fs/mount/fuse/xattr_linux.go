package fuse

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Extended attributes. The kernel has checked who may do what, and that names and values are not too long. It asks for a program's
// capabilities before the first write to a file after each refresh of its attributes, and for ACLs where the mode alone does not
// decide; ACLs it keeps with the inode until an invalidation or the end of the attributes' validity.

// xattrErrnos says what a program sees of failures that mean something else about extended attributes than elsewhere.
var xattrErrnos = map[fault.Kind]syscall.Errno{
	fault.NotExist:    syscall.ENODATA,
	fault.TooBig:      syscall.E2BIG,
	fault.NameTooLong: syscall.ERANGE,
}

func xattrStatus(err error) fuse.Status {
	if no, ok := xattrErrnos[fault.KindOf(err)]; ok && err != nil {
		return fuse.Status(no)
	}
	return status(err)
}

// fill answers with data, or with its size where there is no room.
func fill(dest, data []byte) (uint32, fuse.Status) {
	if len(data) > len(dest) {
		return uint32(len(data)), fuse.ERANGE // no failure where the size was asked for
	}
	return uint32(copy(dest, data)), fuse.OK
}

func (r *raw) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	ctx := r.call(h)
	defer ctx.end()
	value, err := r.fs.Getxattr(ctx, meta.Ino(h.NodeId), name)
	if err != nil {
		return 0, xattrStatus(err)
	}
	return fill(dest, value)
}

func (r *raw) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	ctx := r.call(h)
	defer ctx.end()
	names, err := r.fs.Listxattr(ctx, callerOf(h), meta.Ino(h.NodeId))
	if err != nil {
		return 0, xattrStatus(err)
	}
	var list strings.Builder
	for _, name := range names {
		list.WriteString(name)
		list.WriteByte(0)
	}
	return fill(dest, []byte(list.String()))
}

func (r *raw) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	kill := r.setxattrExt && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0
	err := r.fs.Setxattr(ctx, callerOf(&in.InHeader), meta.Ino(in.NodeId), meta.SetXattr{
		Name: name, Value: value[:min(len(value), int(in.Size))], Flags: in.Flags, KillSetgid: kill,
	})
	return xattrStatus(err)
}

func (r *raw) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	ctx := r.call(h)
	defer ctx.end()
	return xattrStatus(r.fs.Removexattr(ctx, meta.Ino(h.NodeId), name))
}
