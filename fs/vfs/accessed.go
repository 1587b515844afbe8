package vfs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Reading moves a file's atime as relatime does: only where it is not later than the last change, or is a day old. This mount sees it at
// once; the others are told in one op for many files, a moment later, because nobody waits for it and it must not make reading
// dearer. What the kernel answers from its memory is not seen here.

const (
	accessAge = 24 * time.Hour // an atime older than that is moved whatever else
	accessMax = 4 * meta.ListMax
)

// accessed is when inodes were read, as far as the state does not say so yet.
type accessed struct {
	some atomic.Bool // there are any
	mu   sync.Mutex
	// times has accessMax entries at most: what is read beyond that is noted the next time.
	times   map[meta.Ino]meta.Time
	sending map[meta.Ino]bool
	sent    chan struct{} // closed when sending is over; nil: nothing is sent
}

// over lays when it was read over st.
func (a *accessed) over(st *meta.Inode) {
	if !a.some.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, there := a.times[st.Ino]; there && t > st.Atime {
		st.Atime = t
	}
}

// forget drops what is noted of ino, whose atime is about to be set, and waits for what is on its way.
func (a *accessed) forget(ctx context.Context, ino meta.Ino) error {
	if !a.some.Load() {
		return nil
	}
	a.mu.Lock()
	delete(a.times, ino)
	sent := a.sent
	if !a.sending[ino] {
		sent = nil
	}
	a.mu.Unlock()
	if sent == nil {
		return nil
	}
	select {
	case <-sent:
		return nil
	case <-ctx.Done():
		return fault.Because("vfs set times", fault.Timeout, ctx.Err())
	}
}

// accessCounts reports whether reading at now moves an atime.
func accessCounts(atime, mtime, ctime, now meta.Time) bool {
	return atime <= mtime || atime <= ctime || now-atime >= meta.Time(accessAge)
}

// noteAccess notes that st was read, which has all that this mount wrote to it.
func (f *FS) noteAccess(st *meta.Inode) {
	now := f.now()
	if !accessCounts(st.Atime, st.Mtime, st.Ctime, now) || f.o.CutOff() != nil {
		return
	}
	a := &f.accessed
	a.mu.Lock()
	defer a.mu.Unlock()
	t, there := a.times[st.Ino]
	if there && !accessCounts(t, st.Mtime, st.Ctime, now) || !there && len(a.times) >= accessMax {
		return
	}
	if a.times == nil {
		a.times = map[meta.Ino]meta.Time{}
	}
	a.times[st.Ino] = now
	a.some.Store(true)
}

// noteFileAccess is noteAccess of a file as the view at had it.
func (f *FS) noteFileAccess(n *node, st meta.Inode, at uint64) {
	n.mu.Lock()
	n.overlayLocked(&st, at)
	n.mu.Unlock()
	f.noteAccess(&st)
}

// noteDirtyAccess is noteAccess of a file that was read without looking at the state, which it looks at once after each write.
func (f *FS) noteDirtyAccess(n *node) {
	n.mu.Lock()
	noted := n.mtime != 0 && n.read > n.mtime
	n.mu.Unlock()
	if noted {
		return
	}
	st, err := f.own(n)
	if err != nil {
		return
	}
	f.noteAccess(&st)
	n.mu.Lock()
	n.read = f.now()
	n.mu.Unlock()
}

// sendAccessed brings what is noted into the state, in one op for inodes that are this mount's alone and one for others.
func (f *FS) sendAccessed() {
	ops := f.takeAccessed()
	if ops == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.o.FlushTimeout)
	defer cancel()
	for _, op := range ops {
		if len(op.Inos) > 0 {
			_, _ = f.store.Apply(ctx, op) // its failure is no loss of anything that was promised
		}
	}
	a := &f.accessed
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, op := range ops {
		for i, ino := range op.Inos {
			if a.times[ino] == op.Times[i] {
				delete(a.times, ino)
			}
		}
	}
	a.some.Store(len(a.times) > 0)
	close(a.sent)
	a.sending, a.sent = nil, nil
}

// takeAccessed returns the ops that bring what is noted into the state; nil where there is nothing, or others are on their way.
func (f *FS) takeAccessed() []meta.Accessed {
	a := &f.accessed
	if !a.some.Load() || f.o.CutOff() != nil {
		return nil
	}
	taken := a.take()
	ops := make([]meta.Accessed, 2)
	for ino, t := range taken {
		op := &ops[0]
		if f.alone != nil && f.alone.Alone(ino) {
			op = &ops[1]
		}
		op.Inos, op.Times = append(op.Inos, ino), append(op.Times, t)
	}
	if taken == nil {
		return nil
	}
	return ops
}

// take returns what is to be sent next.
func (a *accessed) take() map[meta.Ino]meta.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent != nil || len(a.times) == 0 {
		return nil
	}
	taken := map[meta.Ino]meta.Time{}
	a.sending, a.sent = map[meta.Ino]bool{}, make(chan struct{})
	for ino, t := range a.times {
		if len(taken) == meta.ListMax {
			break
		}
		taken[ino], a.sending[ino] = t, true
	}
	return taken
}
