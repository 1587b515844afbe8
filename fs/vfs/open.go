package vfs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Handle names one open of a file or directory. Handles are never reused.
type Handle uint64

// Mode of an open, independent of any system's flag numbers.
type Mode struct {
	Read, Write bool
	Append      bool // every write goes to the end as it is when the write becomes visible
	Trunc       bool
	Excl        bool   // of Create: the name must be new
	Sync        bool   // every write is on disk when it returns
	KillPriv    bool   // with Trunc: the caller may not keep the file's setuid and setgid bits
	PID         uint32 // of the thread that opens; 0 where that is not known
	NoAtime     bool   // reading does not count as access
}

// Opened is what an open answers.
type Opened struct {
	Handle Handle
	Direct bool // the kernel must not cache this open's reads and writes
	Keep   bool // what the kernel has of the file's bytes is valid
	// Quiet says that closing a descriptor of this open need not be told (Flush, Closed): there is nothing to write, and
	// nobody here has locked a range of the file so far. Should that change while it is open, its Release tells enough, but where a
	// process that has locked closes it while another one, to which it was handed on by fork(2), keeps it.
	Quiet bool
}

type handle struct {
	n       *node // nil for a directory
	dir     meta.Ino
	mode    Mode
	errSeen uint64 // guarded by node.mu
	seq     sequence
	quiet   bool        // as Opened.Quiet
	lost    atomic.Bool // locks taken through it went with the mount's session
}

func (f *FS) newHandle(h *handle) Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.handles[f.last] = h
	return f.last
}

func (f *FS) handle(id Handle) (*handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handles[id]
	if h == nil {
		return nil, fault.New("vfs", fault.Invalid, "handle %d is not open", id)
	}
	return h, nil
}

// Open opens a file. Its grant, if another mount holds one, is recalled first. fault.Stale, fault.IsDir.
func (f *FS) Open(ctx context.Context, ino meta.Ino, m Mode) (Opened, error) {
	if m.Write || m.Trunc {
		if err := f.o.CutOff(); err != nil {
			return Opened{}, err
		}
	}
	n := f.pin(ino) // before the look, so that the inode is on record as held
	a, err := f.Getattr(ctx, ino)
	if err != nil {
		f.unpin(n)
		return Opened{}, err
	}
	if m.Trunc {
		s := meta.SetAttr{Mask: meta.SetSize, Time: f.now()}
		if mode := WithoutPriv(a.Inode.Mode); m.KillPriv && mode != a.Inode.Mode {
			s.Mask, s.Mode = s.Mask|meta.SetMode, mode
		}
		if _, err := f.Setattr(ctx, ino, s); err != nil {
			f.unpin(n)
			return Opened{}, err
		}
	}
	o := f.opened(n, m)
	// The kernel is made to drop pages before a change of them is released, and all of them with a lost lease. So what it
	// has is valid wherever an answer about the file may be kept, unless it has bytes that came to nothing.
	o.Keep = !o.Direct && !m.Trunc && f.Left(a.Until) > 0 && f.coh.Clean(coherence.Bytes(ino)) && !f.spoilt.Load()
	return o, nil
}

// opened makes a handle of a pinned node, whose pin goes over to it.
func (f *FS) opened(n *node, m Mode) Opened {
	n.mu.Lock()
	h := &handle{n: n, mode: m, errSeen: n.errSeq, quiet: !m.Write && f.locks.quiet(n.ino)}
	if m.Write {
		n.writers++
	}
	n.mu.Unlock()
	return Opened{Handle: f.newHandle(h), Direct: m.Append, Quiet: h.quiet}
}

// Flush is close(2), once for every descriptor of the handle: what was written is visible everywhere and on the
// promised number of peers when it returns nil, or will be before anybody else can look. A failure of an earlier flush is reported here, once per open.
func (f *FS) Flush(ctx context.Context, id Handle) error {
	h, err := f.handle(id)
	if err != nil || h.n == nil {
		return err
	}
	n := h.n
	if h.mode.Write && f.later(n) {
		return h.report(nil)
	}
	n.mu.Lock()
	clean := !n.unflushedLocked()
	n.mu.Unlock()
	if clean && !h.mode.Write {
		return nil
	}
	if f.lazy(n) {
		return h.report(f.flush(ctx, n, how{early: true}))
	}
	if clean {
		f.queueEnd(n)
	}
	err = f.flush(ctx, n, how{endGrant: true})
	return h.report(err)
}

// Fsync is Flush and, besides, the file's bytes are on disk on their peers, whoever wrote them.
func (f *FS) Fsync(ctx context.Context, id Handle) error {
	h, err := f.handle(id)
	if err != nil || h.n == nil {
		return err
	}
	err = f.flush(ctx, h.n, how{sync: true})
	if err == nil {
		err = f.syncAll(ctx, h.n)
	}
	if err == nil && f.alone != nil {
		err = f.alone.Settle(ctx)
	}
	return h.report(err)
}

// report returns err, or the error of a flush in the background that this handle has not been told of.
func (h *handle) report(err error) error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if err == nil && h.errSeen < h.n.errSeq {
		err = h.n.err
	}
	h.errSeen = h.n.errSeq
	return err
}

// Release ends a handle. What is dirty still (written through a map after the last close) is flushed in the background.
func (f *FS) Release(id Handle) {
	f.mu.Lock()
	h := f.handles[id]
	delete(f.handles, id)
	f.mu.Unlock()
	if h == nil || h.n == nil {
		return
	}
	n := h.n
	defer f.unpin(n)
	f.closeLocks(id, h)
	if h.mode.Write {
		n.mu.Lock()
		n.writers--
		n.mu.Unlock()
		if f.later(n) {
			return
		}
	}
	lazy := f.lazy(n)
	n.mu.Lock()
	owes := n.owesLocked() && n.failed == 0
	n.mu.Unlock()
	if owes {
		f.background(n, func(ctx context.Context) { _ = f.flush(ctx, n, how{endGrant: !lazy, early: lazy}) })
	} else if !lazy {
		f.queueEnd(n)
	}
}

// Opened returns the inodes that are open, directories too.
func (f *FS) Opened() []meta.Ino {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := make(map[meta.Ino]bool, len(f.handles))
	for _, h := range f.handles {
		if h.n != nil {
			open[h.n.ino] = true
		} else {
			open[h.dir] = true
		}
	}
	return slices.Collect(maps.Keys(open))
}

// Held returns the inodes without a name that this mount has open: they must not be reaped yet.
func (f *FS) Held() []meta.Ino {
	var out []meta.Ino
	nodes := f.all()
	_ = f.newest(func(v meta.View) error {
		for _, n := range nodes {
			if st, err := v.Stat(n.ino); err == nil && st.Nlink == 0 {
				out = append(out, n.ino)
			}
		}
		return nil
	})
	for _, n := range nodes {
		f.unpin(n)
	}
	return out
}

// volatiles is implemented by views that know what is not yet on disk.
type volatiles interface {
	Volatile(ino meta.Ino) ([]cluster.PeerID, error)
}

// syncAll puts on disk whatever the committed map of n names and is not known to be there.
func (f *FS) syncAll(ctx context.Context, n *node) error {
	var st meta.Inode
	var at []placement.Layout
	err := f.newest(func(v meta.View) (err error) {
		if st, err = v.Stat(n.ino); err != nil {
			return err
		}
		n.mu.Lock()
		known := n.synced == st.Written && st.Written != 0
		n.mu.Unlock()
		if known || st.Size == 0 {
			return nil
		}
		if i, ok := v.(volatiles); ok {
			if on, err := i.Volatile(n.ino); err != nil || len(on) == 0 {
				return err // all of it is known to be on disk
			}
		}
		const step = 256 << 20 // of the file's range at a time
		for off := int64(0); off < st.Size; off += step {
			m, err := v.Extents(n.ino, off, min(step, st.Size-off))
			if err != nil {
				return err
			}
			at = union(at, layouts([]*part{{extents: m}}))
		}
		return nil
	})
	if errors.Is(err, fault.NotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(at) > 0 {
		if _, err := f.blocks.Sync(ctx, at); err != nil {
			return err
		}
	}
	n.mu.Lock()
	n.synced = max(n.synced, st.Written)
	n.mu.Unlock()
	return nil
}
