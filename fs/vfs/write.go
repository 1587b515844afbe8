package vfs

import (
	"context"
	"errors"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// AtEnd as the offset of a Write means the end of the file as it is when the write becomes visible.
const AtEnd = int64(-1)

// Write copies p into the file's buffer at off, or to the end if the handle appends or off is AtEnd. It waits only for room in the buffer,
// never for another mount; what may fail later is reported by Flush and Fsync. KillPriv says that the writer
// may not keep the file's setuid and setgid bits.
func (f *FS) Write(ctx context.Context, id Handle, off int64, p []byte, killPriv bool) (int, error) {
	h, err := f.handle(id)
	if err != nil {
		return 0, err
	}
	n := h.n
	if n == nil || !h.mode.Write {
		return 0, fault.New("vfs write", fault.Invalid, "handle %d is not open for writing", id)
	}
	if h.lost.Load() {
		return 0, lockLost(n.ino)
	}
	if h.mode.Append {
		off = AtEnd
	}
	if off != AtEnd && (off < 0 || off > meta.SizeMax-int64(len(p))) {
		return 0, fault.New("vfs write", fault.TooBig, "%d bytes at %d", len(p), off)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.o.CutOff(); err != nil {
		return 0, err
	}
	if killPriv || off == AtEnd {
		if err := f.killPriv(ctx, n, killPriv); err != nil {
			return 0, err
		}
	}
	for at := 0; at < len(p); {
		// What is larger than a buffer goes through it in parts.
		part := p[at:min(int64(len(p)), int64(at)+max(f.o.FileBytes/2, 1))]
		place := off
		if off != AtEnd {
			place += int64(at)
		}
		if err := f.put(ctx, h.n, place, part); err != nil {
			if at > 0 {
				return at, nil
			}
			return 0, err
		}
		at += len(part)
	}
	if h.mode.Sync {
		if err := f.Fsync(ctx, id); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// put makes room for p and puts it at off, or AtEnd.
func (f *FS) put(ctx context.Context, n *node, off int64, p []byte) error {
	err := f.room(ctx, n, int64(len(p))+runCost)
	if err != nil {
		return err
	}
	if off == AtEnd {
		err = f.append(ctx, n, p)
	} else {
		err = f.writeAt(ctx, n, off, p)
	}
	if err == nil {
		f.kick(n)
	}
	return err
}

func (f *FS) writeAt(ctx context.Context, n *node, off int64, p []byte) error {
	n.mu.Lock()
	for len(n.tail) > 0 {
		n.mu.Unlock()
		if err := f.flush(ctx, n, how{early: true}); err != nil {
			return err
		}
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	f.putLocked(n, off, p)
	return nil
}

// putLocked puts bytes into the buffer and accounts for them.
func (f *FS) putLocked(n *node, off int64, p []byte) {
	before := n.dirty.cost
	n.dirty.write(off, p)
	f.dirty.Add(n.dirty.cost - before)
	f.touchLocked(n)
}

func (f *FS) touchLocked(n *node) {
	n.mtime = max(f.now(), n.mtime+1)
	n.pending.Mask &^= meta.SetMtime // one that was set before
	n.touched = f.o.Now()
	n.queued = false
}

// append puts p at the end of the file. Where the end is can be known only for a file that is this mount's alone;
// otherwise the bytes wait in the tail, and their place is decided when their commit applies.
func (f *FS) append(ctx context.Context, n *node, p []byte) error {
	for {
		n.mu.Lock()
		if n.granted {
			f.putLocked(n, max(n.base, n.endLocked()), p)
			n.mu.Unlock()
			return nil
		}
		if n.dirty.empty() && len(n.inflight) == 0 && n.extend == 0 && len(n.tail)+len(p) <= max(tailMax, len(p)) {
			n.tail = append(n.tail, p...)
			f.dirty.Add(int64(len(p)))
			f.touchLocked(n)
			n.mu.Unlock()
			return nil
		}
		n.mu.Unlock()
		if err := f.flush(ctx, n, how{early: true}); err != nil {
			return err
		}
	}
}

// killPriv drops what a program may not keep when its bytes change: its capabilities, and with modes setuid, and setgid where the group
// may execute, with the commit that the write will need anyway. Before writes into its cache the kernel removes capabilities by
// itself.
func (f *FS) killPriv(ctx context.Context, n *node, modes bool) error {
	st, err := f.own(n)
	if err != nil {
		return err
	}
	if st.Special&meta.HasCapability != 0 {
		_, err := f.applied(ctx, meta.RemoveXattr{Ino: n.ino, Name: meta.Capability, Time: f.now()})
		if err != nil && !errors.Is(err, fault.NotExist) {
			return err
		}
	}
	if !modes {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if mode := WithoutPriv(st.Mode); mode != st.Mode {
		n.pending = mergeAttrs(n.pending, meta.SetAttr{Ino: n.ino, Mask: meta.SetMode, Mode: mode, Time: f.now()})
	}
	return nil
}

// WithoutPriv returns mode without setuid, and without setgid where the group may execute: what a write by somebody
// unprivileged leaves of it.
func WithoutPriv(mode uint32) uint32 {
	mode &^= 04000
	if mode&010 != 0 {
		mode &^= 02000
	}
	return mode
}
