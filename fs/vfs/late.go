package vfs

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"dfs/fs/meta"
)

const (
	lateAfter   = 100 * time.Millisecond // how long a closed file of a directory that is this mount's alone may wait for its flush
	lateWorkers = 8                      // that flush them at once
	lateShare   = 4                      // of DirtyBytes: with a quarter of it dirty nothing waits
)

// late is the files that were closed and are to be flushed in the background, in the order they were closed.
type late struct {
	mu      sync.Mutex
	nodes   []closed
	workers int
	kept    atomic.Uint64 // records put in the journal
	full    bool          // the drive is: every close flushes and tells
}

// closed is a file that waits.
type closed struct {
	*node // pinned
	at    time.Time
}

// lazy reports whether n's close need not commit.
func (f *FS) lazy(n *node) bool { return f.alone != nil && f.alone.Lazy(n.ino) }

// later puts off a closed file's flush, and reports whether it could.
func (f *FS) later(n *node) bool {
	if f.o.Journal == nil || !f.lazy(n) {
		return false
	}
	f.late.mu.Lock()
	full := f.late.full
	f.late.mu.Unlock()
	if full {
		return false
	}
	n.mu.Lock()
	if n.failed > 0 || len(n.inflight) > 0 || n.owesLocked() && !f.keepLocked(n) {
		n.mu.Unlock()
		return false // whoever closes it waits, and is told
	}
	add := n.owesLocked() && !n.late
	n.late = n.late || add
	n.mu.Unlock()
	if !add {
		return f.lazy(n) // with a lease still, when it counts
	}
	f.mu.Lock()
	n.refs++
	f.mu.Unlock()
	f.late.mu.Lock()
	f.late.nodes = append(f.late.nodes, closed{n, f.o.Now()})
	f.late.mu.Unlock()
	if f.dirty.Load() > f.o.DirtyBytes/lateShare {
		f.flushLate()
	}
	return f.lazy(n)
}

// flushLate starts workers if anything is due.
func (f *FS) flushLate() {
	for {
		f.late.mu.Lock()
		start := f.late.workers < lateWorkers && len(f.late.nodes) > f.late.workers*4 && f.due(f.late.nodes[0])
		if start {
			f.late.workers++
		}
		f.late.mu.Unlock()
		if !start {
			return
		}
		if !f.tasks.start(f.lateWorker) {
			f.lateWorker()
		}
	}
}

// due reports whether c's turn has come.
func (f *FS) due(c closed) bool {
	return f.dirty.Load() > f.o.DirtyBytes/lateShare || f.o.Now().Sub(c.at) >= lateAfter
}

// lateWorker flushes what is due, one file after the other.
func (f *FS) lateWorker() {
	for {
		f.late.mu.Lock()
		if len(f.late.nodes) == 0 || !f.due(f.late.nodes[0]) {
			f.late.workers--
			f.late.mu.Unlock()
			return
		}
		n := f.late.nodes[0].node
		f.late.nodes = f.late.nodes[1:]
		f.late.mu.Unlock()
		n.mu.Lock()
		n.late = false
		n.mu.Unlock()
		if !f.discard(n) {
			ctx, cancel := context.WithTimeout(context.Background(), f.o.FlushTimeout)
			_ = f.flush(ctx, n, how{early: true}) // what fails is tried again by Run, and told to the next who closes it
			cancel()
		}
		f.unpin(n)
	}
}

// discard drops the bytes of a file that has no name any more and that nobody has open.
func (f *FS) discard(n *node) bool {
	var st meta.Inode
	err := f.newest(func(v meta.View) (err error) {
		st, err = v.Stat(n.ino)
		return err
	})
	if err != nil || st.Nlink > 0 || !n.tryTake() {
		return false
	}
	defer n.give()
	f.mu.Lock()
	defer f.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refs > 1 || len(n.inflight) > 0 {
		return false
	}
	f.takenLocked(n, math.MaxUint64)
	f.dirty.Add(-n.costLocked())
	n.dirty, n.tail, n.extend, n.mtime, n.pending = dirty{}, nil, 0, 0, meta.SetAttr{}
	return true
}

// lookAtSpace notices that the drive is nearly full: then closing a file says whether its bytes found room.
func (f *FS) lookAtSpace() {
	if f.o.Statfs == nil {
		return
	}
	_, free := f.o.Statfs()
	f.late.mu.Lock()
	defer f.late.mu.Unlock()
	f.late.full = free < 4*f.o.DirtyBytes
}

// InUse reports whether ino is open, or owes a commit: it is not to be given up just because it is quiet.
func (f *FS) InUse(ino meta.Ino) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[ino] != nil
}

// Refused says that something done to ino and answered as done was refused later: whoever closes or syncs the file next is told.
func (f *FS) Refused(ino meta.Ino, err error) {
	n := f.known(ino)
	if n == nil {
		return
	}
	n.mu.Lock()
	n.err = err
	n.errSeq++
	n.mu.Unlock()
	f.unpin(n)
}
