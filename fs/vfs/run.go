package vfs

import (
	"context"
	"math"
	"time"
)

// giveUp is how many flushes of a file that nobody has open any more may fail before its bytes are dropped. Its
// writers were told when they closed it.
const giveUp = 30

// settleWithin bounds the wait for the log at the end: what is not in it by then is in the journal.
const settleWithin = 5 * time.Second

// Run does the work in the background: it flushes what has been left alone for Idle, tries again what failed, and gives up
// grants in batches. When ctx ends it flushes everything once more and returns when its last goroutine has ended.
func (f *FS) Run(ctx context.Context) error {
	f.tasks.begin()
	ends := time.NewTicker(endsEvery)
	defer ends.Stop()
	idle := time.NewTicker(f.o.Idle / 4)
	defer idle.Stop()
	for {
		select {
		case <-ends.C:
			f.tasks.run(f.sendEnds)
			f.flushLate()
		case <-idle.C:
			f.flushIdle(f.o.Now().Add(-f.o.Idle))
			f.lookAtSpace()
			f.tasks.run(f.payOwed)
			f.tasks.run(f.sendAccessed)
		case <-ctx.Done():
			f.FlushAll(context.WithoutCancel(ctx))
			f.tasks.end()
			return nil
		}
	}
}

// flushIdle flushes, in the background, what was last written before then.
func (f *FS) flushIdle(then time.Time) {
	if f.o.CutOff() != nil {
		return // each try would only place the bytes once more
	}
	for _, n := range f.all() {
		f.forgetReleased(n)
		n.mu.Lock()
		due := n.owesLocked() && !n.late && len(n.inflight) == 0 && !n.touched.After(then)
		if due && n.failed > 0 {
			n.touched = then.Add(f.o.Idle * time.Duration(min(n.failed, 8))) // again, ever more patiently
		}
		n.mu.Unlock()
		switch {
		case due && f.abandoned(n):
			f.drop(n)
		case due:
			f.background(n, func(ctx context.Context) { _ = f.flush(ctx, n, how{early: true}) })
		}
		f.unpin(n)
	}
}

// abandoned reports whether n fails for ever and nobody has it open.
func (f *FS) abandoned(n *node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refs == 1 && n.failed > giveUp
}

func (f *FS) drop(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.o.Log.Error("bytes dropped: every flush failed, and the file was closed with an error", "ino", n.ino,
		"bytes", n.costLocked(), "err", n.err)
	f.dropDirtyLocked(n)
}

// dropDirtyLocked forgets what n owes, but for batches under way.
func (f *FS) dropDirtyLocked(n *node) {
	f.spoilt.Store(true)
	f.takenLocked(n, math.MaxUint64)
	f.dirty.Add(-n.dirty.cost - int64(len(n.tail)))
	n.dirty, n.tail, n.extend, n.mtime = dirty{}, nil, 0, 0
	n.pending.Mask = 0
}

// FlushAll flushes every file and gives up every queued grant; errors stick to the files.
func (f *FS) FlushAll(ctx context.Context) {
	for _, n := range f.all() {
		_ = f.flush(ctx, n, how{endGrant: !f.lazy(n)})
		f.unpin(n)
	}
	f.sendEnds()
	f.sendAccessed()
	if f.alone != nil {
		ctx, cancel := context.WithTimeout(ctx, settleWithin)
		defer cancel()
		if err := f.alone.Settle(ctx); err != nil {
			f.o.Log.Warn("not everything done here is in the log", "err", err)
		}
	}
}
