package vfs

import (
	"context"
	"errors"
	"slices"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

const (
	batchesMax = 4       // full windows of one file on their way at once
	tailMax    = 1 << 19 // bytes of O_APPEND writes that wait for one commit
)

// batch is what one flush takes out of a node: it stays readable there until it is committed.
type batch struct {
	runs     []run
	tail     []byte
	cost     int64
	lent     bool  // a reader has some of runs' memory; under node.mu
	end      int64 // byte after the last one written; 0 none
	extend   int64
	mtime    meta.Time
	attrs    meta.SetAttr
	endGrant bool
	kept     uint64  // the journal's newest record of it
	sync     bool    // to be synced before it is committed
	lost     bool    // the locks it was written under are; under node.mu
	synced   bool    // it was, at all peers that hold it
	from     int64   // what lies before is committed
	asking   *asking // the op under way; nil none. Like from under node.mu

	prev *batch        // must be committed first; nil none
	done chan struct{} // closed when committed or failed
	err  error         // valid after done; also, under node.mu, non-nil as soon as it has failed
}

func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fault.Because("wait for a flush", fault.Timeout, ctx.Err())
	}
}

// how a flush is to be done.
type how struct {
	sync     bool // on disk, not only on the peers
	early    bool // do not wait for releases
	endGrant bool // give up the grant with it
}

// flush commits all that is dirty in n and returns when every mount sees it (or, early, when it is applied here).
// Its time is bounded by FlushTimeout. A caller that gives up gets fault.Canceled; the flush goes on without it.
func (f *FS) flush(ctx context.Context, n *node, h how) error {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.o.FlushTimeout)
	if ctx.Done() == nil {
		defer cancel()
		return f.flushNow(work, n, h)
	}
	f.mu.Lock()
	n.refs++
	f.mu.Unlock()
	done := make(chan error, 1)
	f.tasks.run(func() {
		defer f.unpin(n)
		defer cancel()
		done <- f.flushNow(work, n, h)
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Because("wait for a flush", kindOfEnd(ctx), ctx.Err())
	}
}

// kindOfEnd is the kind of a context's end.
func kindOfEnd(ctx context.Context) fault.Kind {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Timeout
	}
	return fault.Canceled
}

func (f *FS) flushNow(ctx context.Context, n *node, h how) error {
	if err := n.take(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	last := n.lastLocked()
	b := n.takeLocked(h)
	n.mu.Unlock()
	n.give()
	switch {
	case b != nil:
		if err := f.run(ctx, n, b); err != nil {
			return err
		}
	case last != nil:
		if err := last.wait(ctx); err != nil {
			return err
		}
		if last.err != nil {
			return last.err
		}
	}
	return f.released(ctx, n, h)
}

// released waits until the node's earlier commits are seen everywhere.
func (f *FS) released(ctx context.Context, n *node, h how) error {
	n.mu.Lock()
	index := n.index
	n.mu.Unlock()
	if h.early || index == 0 || f.early == nil {
		return nil
	}
	if err := f.early.Released(ctx, index); err != nil {
		return err
	}
	n.mu.Lock()
	if n.index == index {
		n.index = 0
	}
	n.mu.Unlock()
	f.forgetReleased(n)
	return nil
}

func (n *node) lastLocked() *batch {
	if len(n.inflight) == 0 {
		return nil
	}
	return n.inflight[len(n.inflight)-1]
}

// takeLocked turns all that is dirty into a batch under way; nil where there is nothing. The caller has the turn.
func (n *node) takeLocked(h how) *batch {
	if !n.owesLocked() {
		return nil
	}
	runs, cost := n.dirty.takeAll()
	b := &batch{
		runs: runs, tail: n.tail, cost: cost + int64(len(n.tail)),
		extend: n.extend, mtime: n.mtime, attrs: n.pending,
		endGrant: h.endGrant && n.granted, sync: h.sync || n.replaced, kept: n.lastKeptLocked(),
	}
	n.tail, n.extend, n.mtime, n.pending, n.replaced = nil, 0, 0, meta.SetAttr{}, false
	n.startLocked(b)
	return b
}

// takeWindowLocked turns one full window into a batch under way. The caller has the turn.
func (n *node) takeWindowLocked(w int64) *batch {
	runs, cost := n.dirty.take(w)
	b := &batch{runs: runs, cost: cost, mtime: n.mtime, sync: n.replaced}
	if n.dirty.empty() {
		n.mtime, n.replaced = 0, false
	}
	n.startLocked(b)
	return b
}

func (n *node) startLocked(b *batch) {
	b.end, b.prev, b.done = b.extend, n.lastLocked(), make(chan struct{})
	if k := len(b.runs); k > 0 {
		b.end = max(b.end, b.runs[k-1].end())
	}
	n.inflight = append(n.inflight, b)
}

// run places and commits a batch, and returns when that is applied here. It never waits for its release.
func (f *FS) run(ctx context.Context, n *node, b *batch) error {
	res, err := f.commit(ctx, n, b)
	if err != nil && errors.Is(err, fault.Stale) {
		err = f.staleIsFine(n, err)
	}
	n.mu.Lock()
	b.err = err
	switch {
	case err == nil:
		n.inflight = slices.DeleteFunc(n.inflight, func(x *batch) bool { return x == b })
		n.failed = 0
		n.index = max(n.index, res.Index)
		if b.endGrant {
			n.granted, n.queued = false, false
		}
		f.dirty.Add(-b.cost)
		if !b.lent {
			reuse(b.runs)
		}
		b.runs = nil
		f.takenLocked(n, b.kept)
	case b.lost:
		n.inflight = slices.DeleteFunc(n.inflight, func(x *batch) bool { return x == b })
		f.dirty.Add(-b.cost)
		f.takenLocked(n, b.kept)
	default:
		n.err = err
		n.errSeq++
		n.failed++
	}
	f.dirty.Add(n.giveBackLocked())
	n.mu.Unlock()
	b.prev = nil
	close(b.done)
	f.forgetReleased(n)
	if err != nil {
		f.o.Log.Warn("flush failed; the bytes stay in memory", "ino", n.ino, "err", err)
	}
	return err
}

// staleIsFine forgives a commit to a file that no longer exists anywhere: nobody can miss its bytes.
func (f *FS) staleIsFine(n *node, err error) error {
	gone := f.newest(func(v meta.View) error {
		_, err := v.Stat(n.ino)
		return err
	})
	if errors.Is(gone, fault.NotExist) {
		return nil
	}
	return err
}

// kick starts flushes in the background: of n's full windows, as many as may be under way, and of everything where scattered
// writes have filled an eighth of the buffer: so the next ones are gathered while these are placed.
func (f *FS) kick(n *node) {
	for {
		if !n.tryTake() {
			return
		}
		n.mu.Lock()
		var b *batch
		if len(n.inflight) < batchesMax && n.failed == 0 {
			for w := range n.dirty.windows {
				if n.dirty.full(w) {
					b = n.takeWindowLocked(w)
					break
				}
			}
			if b == nil && len(n.inflight) < 2 && n.dirty.cost > f.o.FileBytes/8 && n.dirty.scattered() {
				b = n.takeLocked(how{early: true})
			}
		}
		n.mu.Unlock()
		n.give()
		if b == nil {
			return
		}
		f.background(n, func(ctx context.Context) { _ = f.run(ctx, n, b) })
	}
}

// background runs fn, which works on n, as a task of Run, and afterwards looks for more to do.
func (f *FS) background(n *node, fn func(context.Context)) {
	f.mu.Lock()
	n.refs++
	f.mu.Unlock()
	f.tasks.run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.o.FlushTimeout)
		defer cancel()
		fn(ctx)
		f.kick(n)
		f.unpin(n)
	})
}

// room makes sure that n's buffer can take more bytes. The writer does the work itself: it flushes its own file, then
// the largest others, without waiting for any release. fault.NoSpace and the like where that is why none can
// be freed.
func (f *FS) room(ctx context.Context, n *node, bytes int64) error {
	n.mu.Lock()
	own := n.costLocked()
	n.mu.Unlock()
	if own+bytes <= f.o.FileBytes && f.dirty.Load()+bytes <= f.o.DirtyBytes {
		return nil
	}
	if err := f.flush(ctx, n, how{early: true}); err != nil {
		return err
	}
	for f.dirty.Load()+bytes > f.o.DirtyBytes {
		before := f.dirty.Load()
		if err := f.relieve(ctx); err != nil {
			return err
		}
		if f.dirty.Load() >= before {
			return fault.New("vfs write", fault.NoSpace, "%d bytes wait to be flushed", before)
		}
	}
	return nil
}

// relieve flushes the node with the most bytes that does not keep failing.
func (f *FS) relieve(ctx context.Context) error {
	var most *node
	var cost int64
	nodes := f.all()
	for _, n := range nodes {
		n.mu.Lock()
		if c := n.costLocked(); c > cost && n.failed == 0 {
			most, cost = n, c
		}
		n.mu.Unlock()
	}
	var err error
	if most != nil {
		err = f.flush(ctx, most, how{early: true})
	}
	for _, n := range nodes {
		f.unpin(n)
	}
	return err
}
