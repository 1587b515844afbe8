package vfs

import (
	"context"
	"slices"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// node is what this mount knows of one inode that is open, dirty, granted to it, or just being worked on. What it
// does not hold is in the metadata.
type node struct {
	ino  meta.Ino
	turn chan struct{} // one slot; see the package comment
	refs int           // handles and requests; guarded by FS.mu

	mu       sync.Mutex
	dirty    dirty
	tail     []byte       // bytes of O_APPEND writes whose place is not decided yet; only while dirty and inflight are empty
	inflight []*batch     // placed and committed now, in this order
	settled  []*settled   // committed and not known to be released, in order
	dropped  uint64       // index of the newest commit that was released and is in every view from then on
	read     meta.Time    // when its dirty bytes were last read, as far as that was noted
	extend   int64        // size set here beyond the bytes, on a granted file
	mtime    meta.Time    // of the last write not committed; 0 none
	pending  meta.SetAttr // attributes set here, riding on the next commit
	granted  bool         // the file is this mount's alone
	queued   bool         // its grant is about to be given up in a batch
	base     int64        // committed size of a granted file
	touched  time.Time    // of the last write
	writers  int          // handles open for writing
	late     bool         // it waits in FS.late
	kept     []kept       // what of it is in the journal, in order
	keptAt   time.Time    // touched, when the newest of these was written
	replaced bool         // bytes were truncated away: what comes next is synced before it is committed
	index    uint64       // of the newest commit whose release was not waited for
	synced   uint64       // Inode.Written when the file was last synced by us
	err      error        // of the newest failed flush
	errSeq   uint64       // counts failed flushes
	failed   int          // flushes in a row that failed
	crowds   map[int64]int
}

// pin returns the node of ino, making it if need be. unpin it.
func (f *FS) pin(ino meta.Ino) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[ino]
	if n == nil {
		n = &node{ino: ino, turn: make(chan struct{}, 1)}
		f.nodes[ino] = n
	}
	n.refs++
	return n
}

// known returns the node of ino pinned, or nil.
func (f *FS) known(ino meta.Ino) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[ino]
	if n != nil {
		n.refs++
	}
	return n
}

// unpin undoes pin, and forgets the node when nothing is left to know.
func (f *FS) unpin(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.refs--
	if n.refs > 0 {
		return
	}
	f.ahead.forget(n.ino)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.unflushedLocked() && len(n.settled) == 0 && (!n.granted || f.alone != nil && f.alone.Lazy(n.ino)) {
		delete(f.nodes, n.ino)
	}
}

// all returns the nodes there are, pinned.
func (f *FS) all() []*node {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*node, 0, len(f.nodes))
	for _, n := range f.nodes {
		n.refs++
		out = append(out, n)
	}
	return out
}

// unflushedLocked reports whether a commit is owed or under way.
func (n *node) unflushedLocked() bool { return n.owesLocked() || len(n.inflight) > 0 }

// owesLocked reports whether there is something to take for a commit.
func (n *node) owesLocked() bool {
	return !n.dirty.empty() || len(n.tail) > 0 || n.pending.Mask != 0 || n.extend > 0 || n.mtime != 0
}

// costLocked is what the node's own buffer is charged, batches under way included.
func (n *node) costLocked() int64 {
	cost := n.dirty.cost + int64(len(n.tail))
	for _, b := range n.inflight {
		cost += b.cost
	}
	return cost
}

// endLocked returns the size this mount's own writes give the file, 0 where they do not: those that are not committed.
func (n *node) endLocked() int64 {
	end := max(n.dirty.end(), n.extend)
	for _, b := range n.inflight {
		if b.from != everything {
			end = max(end, b.end)
		}
	}
	return end
}

func laterTime(st *meta.Inode, t meta.Time) {
	if t != 0 {
		st.Mtime, st.Ctime = max(st.Mtime, t), max(st.Ctime, t)
	}
}

// applyAttrs sets in st what a says, as the metadata will.
func applyAttrs(st *meta.Inode, a meta.SetAttr) {
	if a.Mask == 0 {
		return
	}
	switch {
	case a.Mask&meta.SetMode != 0:
		st.Mode = a.Mode
	case a.Mask&(meta.SetUID|meta.SetGID) != 0 && st.Type != meta.Dir:
		st.Mode = WithoutPriv(st.Mode)
	}
	if a.Mask&meta.SetUID != 0 {
		st.UID = a.UID
	}
	if a.Mask&meta.SetGID != 0 {
		st.GID = a.GID
	}
	if a.Mask&meta.SetAtime != 0 {
		st.Atime = a.Atime
	}
	if a.Mask&meta.SetMtime != 0 {
		st.Mtime = a.Mtime
	}
	if a.Mask&meta.SetWish != 0 {
		st.Wish = a.Wish
	}
	if a.Mask&meta.SetFlags != 0 {
		st.Flags = a.Flags
	}
	if a.Mask&meta.SetBtime != 0 {
		st.Btime = a.Btime
	}
	st.Ctime = max(st.Ctime, a.Time)
	if a.Mask&meta.SetCtime != 0 {
		st.Ctime = a.Ctime
	}
}

// mergeAttrs returns older with newer laid over it, both of a file.
func mergeAttrs(older, newer meta.SetAttr) meta.SetAttr {
	a := older
	if newer.Mask&(meta.SetUID|meta.SetGID) != 0 {
		a.Mode = WithoutPriv(a.Mode) // a change of owner after the mode; one before it would leave it alone
	}
	a.Ino, a.Mask, a.Time = newer.Ino, older.Mask|newer.Mask, max(older.Time, newer.Time)
	if newer.Mask&meta.SetMode != 0 {
		a.Mode = newer.Mode
	}
	if newer.Mask&meta.SetUID != 0 {
		a.UID = newer.UID
	}
	if newer.Mask&meta.SetGID != 0 {
		a.GID = newer.GID
	}
	if newer.Mask&meta.SetAtime != 0 {
		a.Atime = newer.Atime
	}
	if newer.Mask&meta.SetMtime != 0 {
		a.Mtime = newer.Mtime
	}
	if newer.Mask&meta.SetCtime != 0 {
		a.Ctime = newer.Ctime
	}
	if newer.Mask&meta.SetWish != 0 {
		a.Wish = newer.Wish
	}
	if newer.Mask&meta.SetFlags != 0 {
		a.Flags = newer.Flags
	}
	if newer.Mask&meta.SetBtime != 0 {
		a.Btime = newer.Btime
	}
	return a
}

// take waits for the node's turn.
func (n *node) take(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Because("wait for a flush", fault.Timeout, ctx.Err())
	}
}

// tryTake takes the turn if nobody has it.
func (n *node) tryTake() bool {
	select {
	case n.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (n *node) give() { <-n.turn }

// drain waits until no batch is under way. With the turn held none begins.
func (n *node) drain(ctx context.Context) error {
	for {
		n.mu.Lock()
		var b *batch
		if len(n.inflight) > 0 {
			b = n.inflight[len(n.inflight)-1]
		}
		n.mu.Unlock()
		if b == nil {
			return nil
		}
		if err := b.wait(ctx); err != nil {
			return err
		}
	}
}

// giveBackLocked makes what failed batches held dirty again, below what was written since, once none is
// under way. It returns the change of cost.
func (n *node) giveBackLocked() int64 {
	if len(n.inflight) == 0 || slices.ContainsFunc(n.inflight, func(b *batch) bool { return b.err == nil }) {
		return 0
	}
	before := n.costLocked()
	newer, _ := n.dirty.takeAll()
	var attrs meta.SetAttr
	var tail []byte
	for _, b := range n.inflight {
		for _, r := range b.runs {
			if c, ok := r.clip(b.from, everything); ok {
				n.dirty.write(c.off, c.data)
			}
		}
		n.mtime = max(n.mtime, b.mtime)
		n.extend = max(n.extend, b.extend)
		n.replaced = n.replaced || b.sync
		attrs = mergeAttrs(attrs, b.attrs)
		tail = append(tail, b.tail...)
	}
	for _, r := range newer {
		n.dirty.write(r.off, r.data)
	}
	if attrs.Mask != 0 {
		n.pending = mergeAttrs(attrs, n.pending)
	}
	if len(tail) > 0 {
		n.tail = append(tail, n.tail...)
	}
	n.inflight = nil
	return n.costLocked() - before
}
