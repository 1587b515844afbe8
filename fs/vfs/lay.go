package vfs

import (
	"context"
	"math"
	"slices"
	"sync/atomic"

	"dfs/fs/extent"
	"dfs/fs/meta"
)

// What this mount has written lies over the committed state until that has it, and no longer: a batch that lay over its own
// commit would hide what another mount committed after it, and the kernel would keep that page. But a view may also be older than
// a commit of ours, while a foreign one before it is being taken in. So every commit leaves behind what it was (settled)
// until it is released, and lies over views of smaller indexes only.

// A commit that this mount carried out by itself, where it is alone, has no index, and a view could be opened before it and laid over after it: neither
// would have the bytes. So such commits are counted: who finds that there was one while it looked looks again.

// heres counts the commits of files that were carried out here, of many files together.
type heres [64]atomic.Uint64

// of is how many there were. Ask before the view is opened, and after what lies over it was looked at.
func (h *heres) of(ino meta.Ino) uint64 { return h[ino%meta.Ino(len(h))].Load() }

func (h *heres) add(ino meta.Ino) { h[ino%meta.Ino(len(h))].Add(1) }

// asking is an op under way: nobody knows yet at which index it is, if at all. Views up to over are without it.
type asking struct {
	over  uint64
	known chan struct{} // closed when it is no longer under way
}

// settled is what one applied and unreleased op committed. Immutable.
type settled struct {
	index   uint64
	written []scope
	extents extent.Map
	end     int64 // byte after the last one; 0 none
	mtime   meta.Time
	attrs   meta.SetAttr
}

// scope is [off, end) of a file.
type scope struct{ off, end int64 }

// layer is what this mount has written to a range and a view has not: read over, in this order, what is committed.
type layer struct {
	settled []*settled
	own     []run
	end     int64 // that all of it, in the range or not, gives the file
}

// askingLocked returns what to wait for if it cannot be told whether a state that last changed at changed has a batch under way.
func (n *node) askingLocked(changed uint64) <-chan struct{} {
	for _, b := range n.inflight {
		if b.asking != nil && changed > b.asking.over {
			return b.asking.known
		}
	}
	return nil
}

// layLocked returns what lies over [off, off+size) of the view at, in which the bytes last changed at written, or what to wait for.
func (n *node) layLocked(at, written uint64, off, size int64) (l layer, wait <-chan struct{}) {
	if wait := n.askingLocked(written); wait != nil {
		return layer{}, wait
	}
	l.end = n.endLocked()
	for _, s := range n.settled {
		if s.index > at {
			l.settled = append(l.settled, s)
			l.end = max(l.end, s.end)
		}
	}
	for _, b := range n.inflight {
		for _, r := range b.runs {
			if c, ok := r.clip(max(off, b.from), off+size); ok {
				l.own = append(l.own, c) // immutable while under way, and then the reader's
				b.lent = true
			}
		}
	}
	l.own = append(l.own, n.dirty.overlap(off, size)...)
	return l, nil
}

// ask says that an op of b is about to be proposed, which no view up to over has.
func (n *node) ask(b *batch, over uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b.asking = &asking{over: over, known: make(chan struct{})}
}

// answer says how that ended: err, or with op applied, and with it all that b has below from.
func (f *FS) answer(n *node, b *batch, op *meta.Commit, res meta.Result, from int64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(b.asking.known)
	b.asking = nil
	if err != nil {
		return
	}
	if res.Index == 0 {
		f.here.add(n.ino) // before anybody sees that the batch lies over nothing any more
	}
	if f.o.Crowded != nil {
		for _, off := range n.crowdLocked(op.Extents, f.o.CrowdMax) {
			f.o.Crowded(n.ino, off)
		}
	}
	s := &settled{index: res.Index, extents: op.Extents, end: op.End, mtime: op.Mtime, attrs: op.Attrs}
	for _, r := range b.runs {
		if c, ok := r.clip(b.from, from); ok {
			s.written = append(s.written, scope{c.off, c.end()})
		}
	}
	if op.Append {
		s.written = append(s.written, scope{op.AppendAt, op.End})
	}
	b.from = from
	if n.granted {
		n.base = max(n.base, res.Inode.Size)
	}
	if f.early == nil { // released as well
		n.dropped = max(n.dropped, res.Index)
		return
	}
	n.settled = append(n.settled, s)
}

// ended is a context that waits for nothing.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// forgetReleased drops what need not lie over anything any more: what is released here is in every view to come.
func (f *FS) forgetReleased(n *node) {
	for {
		n.mu.Lock()
		if len(n.settled) == 0 {
			n.mu.Unlock()
			return
		}
		s := n.settled[0]
		n.mu.Unlock()
		if f.early.Released(ended, s.index) != nil {
			return
		}
		n.mu.Lock()
		if len(n.settled) > 0 && n.settled[0] == s {
			n.settled = slices.Delete(n.settled, 0, 1)
			n.dropped = max(n.dropped, s.index)
		}
		n.mu.Unlock()
	}
}

// everything is behind every byte a batch can have.
const everything = math.MaxInt64

// layOver puts l over p, which begins at off.
func (f *FS) layOver(ctx context.Context, ino meta.Ino, l layer, off int64, p []byte) error {
	end := off + int64(len(p))
	for _, s := range l.settled {
		for _, w := range s.written {
			if w.end <= off || w.off >= end {
				continue
			}
			for _, e := range s.extents {
				from, to := max(off, w.off, e.Off), min(end, w.end, e.End())
				if from >= to {
					continue
				}
				if err := f.readExtent(ctx, ino, e, from, p[from-off:to-off]); err != nil {
					return err
				}
			}
		}
	}
	for _, r := range l.own {
		if c, ok := r.clip(off, end); ok {
			copy(p[c.off-off:], c.data)
		}
	}
	return nil
}

// overlayLocked lays what the view at has not yet over its attributes st, Blocks excepted (blocks.go), and reports whether it changed
// anything.
func (n *node) overlayLocked(st *meta.Inode, at uint64) (changed bool) {
	for _, s := range n.settled {
		if s.index <= at {
			continue
		}
		changed = true
		st.Size = max(st.Size, s.end)
		applyAttrs(st, s.attrs)
		laterTime(st, s.mtime)
	}
	if !n.unflushedLocked() {
		return changed
	}
	st.Size = max(st.Size, n.endLocked()) + int64(len(n.tail))
	for _, b := range n.inflight {
		if b.from == everything {
			continue
		}
		st.Size += int64(len(b.tail))
		applyAttrs(st, b.attrs)
		laterTime(st, b.mtime)
	}
	applyAttrs(st, n.pending)
	laterTime(st, n.mtime)
	return true
}

// overlay lays this mount's uncommitted state over the attributes in the view at. Such an answer may not be kept.
func (f *FS) overlay(a Attr, at uint64) Attr {
	for {
		over, wait := f.tryOverlay(a, at)
		if wait == nil {
			return over
		}
		<-wait // bounded by the flush's time
	}
}

// tryOverlay is overlay, or returns what to wait for first.
func (f *FS) tryOverlay(a Attr, at uint64) (Attr, <-chan struct{}) {
	a, wait := f.tryOverlayWritten(a, at)
	f.accessed.over(&a.Inode) // may be kept: it is what the state will say
	return a, wait
}

func (f *FS) tryOverlayWritten(a Attr, at uint64) (Attr, <-chan struct{}) {
	n := f.known(a.Inode.Ino)
	if n == nil {
		return a, nil
	}
	defer f.unpin(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if wait := n.askingLocked(a.Inode.Changed); wait != nil {
		return a, wait
	}
	if n.overlayLocked(&a.Inode, at) {
		a.Until = 0
	}
	return a, nil
}
