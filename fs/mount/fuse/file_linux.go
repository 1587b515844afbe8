package fuse

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/fs/meta"
	"dfs/fs/vfs"
)

func (r *raw) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	m := modeOf(in.Flags)
	m.KillPriv = in.OpenFlags&fuse.OPEN_KILL_SUIDGID != 0
	e, o, err := r.fs.Create(ctx, makerOf(&in.InHeader, in.Umask), meta.Ino(in.NodeId), name, in.Mode&07777, m, &r.refs)
	if err != nil {
		return status(err)
	}
	r.fillEntry(&out.EntryOut, &e)
	fillOpen(&out.OpenOut, o, m, in.Flags)
	return fuse.OK
}

// Tmpfile is open(2) with O_TMPFILE. The name the kernel made up for it means nothing.
func (r *raw) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	m := modeOf(in.Flags)
	e, o, err := r.fs.Tmpfile(ctx, makerOf(&in.InHeader, in.Umask), meta.Ino(in.NodeId), in.Mode&07777, m, &r.refs)
	if err != nil {
		return status(err)
	}
	r.fillEntry(&out.EntryOut, &e)
	fillOpen(&out.OpenOut, o, m, in.Flags)
	return fuse.OK
}

func (r *raw) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	m := modeOf(in.Flags)
	m.KillPriv = in.Mode&fuse.OPEN_KILL_SUIDGID != 0
	m.PID = in.Pid
	o, err := r.fs.Open(ctx, meta.Ino(in.NodeId), m)
	if err != nil {
		return status(err)
	}
	fillOpen(out, o, m, in.Flags)
	return fuse.OK
}

// fillOpen answers an open. Where bytes go that are appended is decided here, so the kernel must not keep them where it thinks they
// go.
func fillOpen(out *fuse.OpenOut, o vfs.Opened, m vfs.Mode, flags uint32) {
	out.Fh = uint64(o.Handle)
	if o.Direct || m.Write && flags&syscall.O_APPEND != 0 {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	}
	if o.Keep {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	if o.Quiet {
		out.OpenFlags |= fuse.FOPEN_NOFLUSH
	}
}

func (r *raw) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	n, err := r.fs.Read(ctx, vfs.Handle(in.Fh), int64(in.Offset), buf[:min(len(buf), int(in.Size))])
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (r *raw) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	// Pages that were written through a map go where they were, however the file is open.
	append := in.Flags&syscall.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0
	var n uint32
	for _, p := range data {
		off := int64(in.Offset) + int64(n)
		if append {
			off = vfs.AtEnd
		}
		k, err := r.fs.Write(ctx, vfs.Handle(in.Fh), off, p, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0)
		n += uint32(k)
		if err != nil && n == 0 {
			return 0, status(err)
		}
		if err != nil {
			break
		}
	}
	return n, fuse.OK
}

func (r *raw) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	return status(r.closed(ctx, in, r.fs.Flush(ctx, vfs.Handle(in.Fh))))
}

func (r *raw) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	return status(r.fs.Fsync(ctx, vfs.Handle(in.Fh)))
}

func (r *raw) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { r.fs.Release(vfs.Handle(in.Fh)) }
