package fuse

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// Places in a listing, as the kernel keeps them: 0 is the start, 1 is behind ".", 2 behind "..", and everything
// above is a cursor, which is never that small.
const (
	behindDot    = 1
	behindDotDot = 2
)

const (
	entryBytes = 128 + 32 // what an entry takes in a READDIRPLUS reply, about
	nameBytes  = 24 + 16  // in a READDIR reply
)

func (r *raw) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	h, err := r.fs.Opendir(ctx, meta.Ino(in.NodeId))
	out.Fh = uint64(h)
	return status(err)
}

func (r *raw) ReleaseDir(in *fuse.ReleaseIn) { r.fs.Release(vfs.Handle(in.Fh)) }

// FsyncDir brings what was done to names into the synced log, where it is not yet.
func (r *raw) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(r.fs.Fsyncdir(background, vfs.Handle(in.Fh)))
}

func (r *raw) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return r.list(in, nameBytes, false, out.AddDirEntry, func(e fuse.DirEntry, _ *vfs.Listed) bool {
		return out.AddDirEntry(e)
	})
}

func (r *raw) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	dot := func(e fuse.DirEntry) bool { return out.AddDirLookupEntry(e) != nil }
	return r.list(in, entryBytes, true, dot, func(e fuse.DirEntry, l *vfs.Listed) bool {
		x := out.AddDirLookupEntry(e)
		if x == nil {
			return false
		}
		if l.Full { // otherwise inode 0: the kernel looks the name up when it needs it
			r.fillEntry(x, &l.Entry)
		}
		return true
	})
}

// list emits entries from in.Offset on until one does not fit. each is about how many bytes one takes.
func (r *raw) list(in *fuse.ReadIn, each int, plus bool, dot func(fuse.DirEntry) bool, add func(fuse.DirEntry, *vfs.Listed) bool) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	dir, at := meta.Ino(in.NodeId), in.Offset
	if at < behindDot && !dot(fuse.DirEntry{Name: ".", Ino: uint64(dir), Mode: formats[meta.Dir], Off: behindDot}) {
		return fuse.OK
	}
	if at < behindDotDot {
		parent, err := r.fs.Parent(ctx, dir)
		if err != nil {
			return status(err)
		}
		if !dot(fuse.DirEntry{Name: "..", Ino: uint64(parent), Mode: formats[meta.Dir], Off: behindDotDot}) {
			return fuse.OK
		}
		at = 0
	}
	if at <= behindDotDot {
		at = 0
	}
	room := int(in.Size)
	for room > 0 {
		want := room/each + 1
		ls, err := r.fs.Readdir(ctx, dir, meta.Cursor(at), want, plus, &r.refs)
		if err != nil {
			return status(err)
		}
		for i := range ls {
			l := &ls[i]
			e := fuse.DirEntry{Name: l.Name, Ino: uint64(l.Inode.Ino), Mode: formats[l.Inode.Type], Off: uint64(l.Cursor)}
			if !add(e, l) {
				r.unlist(ls[i:])
				return fuse.OK
			}
			at = uint64(l.Cursor)
			room -= each
		}
		if len(ls) < want {
			return fuse.OK
		}
	}
	return fuse.OK
}

// unlist takes back the references of entries that do not fit.
func (r *raw) unlist(ls []vfs.Listed) {
	for i := range ls {
		if ls[i].Full {
			r.refs.Drop(ls[i].Inode.Ino)
		}
	}
}
