//go:build windows || (linux && cgo && fuse3)

package winfsp

import (
	"bytes"

	"github.com/winfsp/cgofuse/fuse"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Extended attributes, on Linux: those of Windows have names of another kind, and few programs know of them. There the answer is
// ENOSYS, with which WinFsp says that this file system has none.

// xattrErrnos are numbers of failures that mean something else about extended attributes than elsewhere.
var xattrErrnos = map[fault.Kind]int{
	fault.NotExist:    fuse.ENODATA,
	fault.TooBig:      fuse.E2BIG,
	fault.NameTooLong: fuse.ERANGE,
}

func xattrErrc(err error) int {
	if no, ok := xattrErrnos[fault.KindOf(err)]; ok && err != nil {
		return -no
	}
	return errc(err)
}

// onXattrs calls fn with the inode of a path whose extended attributes can be had.
func (h *host) onXattrs(path string, fn func(ino meta.Ino) error) int {
	if h.windows {
		return -fuse.ENOSYS
	}
	p, err := h.existing(path)
	if err != nil {
		return errc(err)
	}
	return xattrErrc(fn(p.node.Ino))
}

func (h *host) Getxattr(path, name string) (errc int, value []byte) {
	errc = h.onXattrs(path, func(ino meta.Ino) (err error) {
		value, err = h.fs.Getxattr(h.ctx, ino, name)
		return err
	})
	return errc, value
}

func (h *host) Setxattr(path, name string, value []byte, flags int) int {
	return h.onXattrs(path, func(ino meta.Ino) error {
		return h.fs.Setxattr(h.ctx, caller(), ino, meta.SetXattr{Name: name, Value: bytes.Clone(value), Flags: uint32(flags)})
	})
}

func (h *host) Removexattr(path, name string) int {
	return h.onXattrs(path, func(ino meta.Ino) error { return h.fs.Removexattr(h.ctx, ino, name) })
}

func (h *host) Listxattr(path string, add func(name string) bool) int {
	full := false
	no := h.onXattrs(path, func(ino meta.Ino) error {
		names, err := h.fs.Listxattr(h.ctx, caller(), ino)
		for _, name := range names {
			full = full || !add(name)
		}
		return err
	})
	if full && no == 0 {
		return -fuse.ERANGE
	}
	return no
}
