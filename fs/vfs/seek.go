package vfs

import (
	"context"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// Seek returns the first offset at or behind off that is data, or with hole set a hole; the end of the file is a
// hole. fault.NotExist where there is none. What is dirty is flushed first, so that the map is all there is.
func (f *FS) Seek(ctx context.Context, id Handle, off int64, hole bool) (int64, error) {
	h, err := f.handle(id)
	if err != nil {
		return 0, err
	}
	if h.n == nil || off < 0 {
		return 0, fault.New("vfs seek", fault.Invalid, "offset %d", off)
	}
	if err := f.flush(ctx, h.n, how{early: true}); err != nil {
		return 0, err
	}
	const step = 1 << 30
	for at := off; ; at += step {
		var st meta.Inode
		var m extent.Map
		_, err := f.coh.Read(ctx, coherence.Bytes(h.n.ino), func(v meta.View) (err error) {
			if st, err = v.Stat(h.n.ino); err != nil || at >= st.Size {
				return err
			}
			m, err = v.Extents(h.n.ino, at, min(step, st.Size-at))
			return err
		})
		if err != nil {
			return 0, stale(err)
		}
		if at >= st.Size {
			if hole && off < st.Size {
				return st.Size, nil
			}
			return 0, fault.New("vfs seek", fault.NotExist, "offset %d", off)
		}
		if found, ok := find(m, at, min(at+step, st.Size), hole); ok {
			return found, nil
		}
	}
}

// find returns the first data or hole of [off, end).
func find(m extent.Map, off, end int64, hole bool) (int64, bool) {
	for _, e := range m {
		if e.End() <= off {
			continue
		}
		if !hole {
			return max(off, e.Off), max(off, e.Off) < end
		}
		if e.Off > off {
			return off, true
		}
		off = e.End()
	}
	return off, hole && off < end
}
