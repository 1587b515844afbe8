package vfs

import (
	"context"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Alloc is what Fallocate does to a range.
type Alloc uint8

const (
	Allocate Alloc = iota // promise room for it
	Punch                 // make it a hole
	Zero                  // make it read as zeros; here that is a hole too, which costs nothing
)

// Fallocate is fallocate(2) on [off, off+size). With keep the file's size stays; otherwise it grows to the range's end, if that lies beyond
// (not for Punch, which never changes it). When it returns every mount sees what it did, a file that is this mount's alone excepted.
//
// An overwrite goes to new blocks, so nothing could be set aside that a later write would use: Allocate promises no more than that there is
// room for the range now. It takes no blocks, and the range stays a hole.
//
// fault.Invalid: an empty range, or a handle that cannot write; TooBig; NoSpace, from Allocate and Zero.
func (f *FS) Fallocate(ctx context.Context, id Handle, what Alloc, off, size int64, keep, killPriv bool) error {
	h, err := f.handle(id)
	if err != nil {
		return err
	}
	n := h.n
	switch {
	case n == nil || !h.mode.Write:
		return fault.New("vfs fallocate", fault.Invalid, "handle %d is not open for writing", id)
	case off < 0 || size <= 0:
		return fault.New("vfs fallocate", fault.Invalid, "%d bytes at %d", size, off)
	case off > meta.SizeMax-size:
		return fault.New("vfs fallocate", fault.TooBig, "%d bytes at %d", size, off)
	}
	if err := f.o.CutOff(); err != nil {
		return err
	}
	if what != Punch {
		if err := f.roomIn(n.ino, off, off+size); err != nil {
			return err
		}
	}
	if err := f.killPriv(ctx, n, killPriv); err != nil {
		return err
	}
	if what != Allocate {
		err = f.zero(ctx, n, off, off+size)
	}
	if err == nil && what != Punch {
		err = f.grow(ctx, n, off+size, keep)
	}
	if err == nil && h.mode.Sync {
		err = f.Fsync(ctx, id)
	}
	return err
}

// roomIn reports with fault.NoSpace that the drive has no room for what is not there yet of a range of ino.
func (f *FS) roomIn(ino meta.Ino, off, end int64) error {
	if f.o.Statfs == nil {
		return nil
	}
	_, free := f.o.Statfs()
	need := end - off
	const step = 1 << 30
	for at := off; need > free && at < end; at += step { // what is there already needs no room
		err := f.newest(func(v meta.View) error {
			m, err := v.Extents(ino, at, min(step, end-at))
			need -= m.Slice(at, min(step, end-at)).Bytes()
			return err
		})
		if err != nil {
			return stale(err)
		}
	}
	if need > free {
		return fault.New("vfs fallocate", fault.NoSpace, "%d bytes, and room for %d", need, free)
	}
	return nil
}

// grow makes the file reach to end at least, unless its size is kept, and dates it. What is this mount's alone waits for its commit.
func (f *FS) grow(ctx context.Context, n *node, end int64, keep bool) error {
	n.mu.Lock()
	for len(n.tail) > 0 {
		n.mu.Unlock()
		if err := f.flush(ctx, n, how{early: true}); err != nil {
			return err
		}
		n.mu.Lock()
	}
	if !keep && (!n.granted || end > max(n.base, n.endLocked())) {
		n.extend = max(n.extend, end)
	}
	f.touchLocked(n)
	granted := n.granted
	n.mu.Unlock()
	if granted {
		return nil
	}
	return f.flush(ctx, n, how{})
}

// zero makes [off, end) read as zeros: whole blocks go, and of those at its ends the part that lies in it is overwritten.
func (f *FS) zero(ctx context.Context, n *node, off, end int64) error {
	if err := f.flush(ctx, n, how{early: true}); err != nil { // then the map is all there is
		return err
	}
	edges, err := f.raggedOf(n.ino, off, end)
	if err != nil {
		return err
	}
	for _, e := range edges {
		if err := f.writeAt(ctx, n, e.off, make([]byte, e.end-e.off)); err != nil {
			return err
		}
	}
	from, to := up(off), down(end)
	if len(edges) > 0 || from >= to { // in a hole it is no more than a date
		if err := f.grow(ctx, n, 0, true); err != nil {
			return err
		}
	}
	for more := from < to; more; {
		res, err := f.store.Apply(ctx, meta.Punch{Ino: n.ino, Off: from, N: to - from, Mtime: f.now(), Time: f.now()})
		if err != nil {
			return stale(err)
		}
		more = res.More
	}
	return nil
}

// raggedOf returns those parts of [off, end) that are less than a block and not in a hole.
func (f *FS) raggedOf(ino meta.Ino, off, end int64) (edges []scope, err error) {
	parts := []scope{{off, min(up(off), end)}, {max(down(end), up(off)), end}}
	err = f.newest(func(v meta.View) error {
		st, err := v.Stat(ino)
		if err != nil {
			return err
		}
		for _, p := range parts {
			p.end = min(p.end, st.Size)
			if p.off >= p.end {
				continue
			}
			m, err := v.Extents(ino, down(p.off), blockstore.Size)
			if err != nil {
				return err
			}
			if len(m) > 0 {
				edges = append(edges, p)
			}
		}
		return nil
	})
	return edges, stale(err)
}
