package vfs

import (
	"context"
	"errors"
	"slices"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/lock"
	"dfs/fs/meta"
)

// Locks of programs on files (fs/lock) are in the metadata: who has one, and who waits, is decided where the log is applied, alike on
// every peer. The sum: a lock that is free costs one round of the log, giving it up another one, which nobody's release is waited
// for in; asking who holds one costs one too. A wait costs a round at its begin, and ends with the op that makes it possible, as soon as
// that is applied here.
//
// What another mount wrote while it held a lock is seen by whoever gets it next: giving up a lock, or turning an exclusive
// one into a shared one, hands in the file's bytes first and waits until every mount knows of them (Flush's way); and whoever gets one
// waits until what was changed before is taken in here, which it is unless its writer died.
//
// What is this mount's alone is not handed in with an unlock: whoever else looks at it makes this mount flush first, as ever.
//
// A session's end takes its locks away. If its programs live on, because the daemon was frozen or cut off for long, others may
// have had those locks since: what was written under them and not handed in is dropped, and the handles they were taken through
// fail with fault.Ended from then on.

const (
	// conflictAgain is the time until a flock is tried once more that a program of this mount holds: the kernel tells of an end of
	// the last descriptor (RELEASE) after close has returned, and the next program may be here before that.
	conflictAgain = 10 * time.Millisecond
	// lockTry bounds the ops that end a request nobody waits for any more.
	lockTry = 10 * time.Second
)

// Lock takes a lock on the handle's file for l.Owner.ID; the session is this mount's. With wait it waits until it is granted, or until
// interrupt is closed (nil: until ctx ends). What the owner holds of these bytes is replaced, also by a shared lock.
// fault.Locked (without wait), fault.Deadlock, fault.TooManyLocks, fault.Canceled (interrupted); fault.Ended: the handle has lost locks.
func (f *FS) Lock(ctx context.Context, id Handle, l lock.Lock, wait bool, interrupt <-chan struct{}) error {
	h, err := f.lockable(id)
	if err != nil {
		return err
	}
	if err := f.o.CutOff(); err != nil {
		return err
	}
	if !l.Write && f.locks.has(h.n.ino, ownerOf{l.Owner.ID, l.Whole}) { // others may read from now on
		if err := f.handIn(ctx, h.n); err != nil {
			return err
		}
	}
	for try := 0; ; try++ {
		if h.lost.Load() {
			return lockLost(h.n.ino)
		}
		a := f.locks.begin(h.n.ino, id, l)
		err := f.ask(ctx, a, wait, interrupt)
		f.locks.end(a, err == nil)
		switch {
		case err == errAskAgain:
			f.owe(meta.Unlock{Ino: a.ino, Owner: l.Owner.ID, Cancel: a.id}) // it may have come into the next session before
			continue
		case try == 0 && errors.Is(err, fault.Locked) && l.Whole && f.holdsLocally(h.n.ino, l):
			time.Sleep(conflictAgain)
			continue
		}
		return err
	}
}

// Unlock gives up what l's owner holds of l's bytes, after the file's bytes are handed in. Holding nothing is no error. An error of the
// flush is told, and the lock is given up all the same.
func (f *FS) Unlock(ctx context.Context, id Handle, l lock.Lock) error {
	h, err := f.lockable(id)
	if err != nil {
		return err
	}
	return f.unlock(ctx, h.n, ownerOf{l.Owner.ID, l.Whole}, l.From, l.End)
}

// Locked returns a lock that keeps l's owner from getting l now. The PID of a program on another mount is 0.
func (f *FS) Locked(ctx context.Context, id Handle, l lock.Lock) (held lock.Lock, locked bool, err error) {
	h, err := f.lockable(id)
	if err != nil {
		return lock.Lock{}, false, err
	}
	// An op that gives up nothing: what others did before it is in the state here when it is.
	if _, err := f.applied(ctx, meta.Unlock{Ino: h.n.ino, Owner: l.Owner.ID, Cancel: f.locks.number()}); err != nil {
		return lock.Lock{}, false, err
	}
	session := f.session.Load()
	l.Owner.Session = session
	t, err := f.lockTable(h.n.ino)
	if err != nil {
		return lock.Lock{}, false, err
	}
	list := t.Blockers(l)
	if len(list) == 0 {
		return lock.Lock{}, false, nil
	}
	if held = list[0]; held.Owner.Session != session {
		held.PID = 0
	}
	return held, true, nil
}

// Closed says that owner has closed a descriptor of the handle's file: its range locks on the file end, as POSIX has it.
func (f *FS) Closed(ctx context.Context, id Handle, owner uint64) error {
	h, err := f.handle(id)
	if err != nil || h.n == nil || !f.locks.has(h.n.ino, ownerOf{id: owner}) {
		return err
	}
	return f.unlock(ctx, h.n, ownerOf{id: owner}, 0, lock.EndOfAll)
}

// lockable returns a handle of a file.
func (f *FS) lockable(id Handle) (*handle, error) {
	h, err := f.handle(id)
	if err == nil && h.n == nil {
		err = fault.New("vfs lock", fault.Invalid, "handle %d is not a file's", id)
	}
	return h, err
}

// errAskAgain says that a request was forgotten with its session, and is to be made anew in the next one.
var errAskAgain = errors.New("ask again")

// ask makes one request, and returns when it is granted.
func (f *FS) ask(ctx context.Context, a *asked, wait bool, interrupt <-chan struct{}) error {
	op := meta.Lock{Ino: a.ino, Lock: a.lock, Wait: wait, ID: a.id}
	res, err := f.applied(ctx, op)
	if err != nil {
		if !refused(err) {
			f.undo(a)
		}
		return err
	}
	index := res.Index
	if res.More {
		if index, err = f.await(ctx, a, interrupt); err != nil {
			return err
		}
	}
	if err := f.takenIn(ctx, a.ino, index); err != nil {
		f.undo(a)
		return err
	}
	return nil
}

// refused reports whether an op that failed with err has certainly changed nothing.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Locked, fault.Deadlock, fault.TooManyLocks, fault.Stale, fault.Invalid:
		return true
	}
	return false
}

// await waits until a queued request is granted, and returns the index at which it was.
func (f *FS) await(ctx context.Context, a *asked, interrupt <-chan struct{}) (index uint64, err error) {
	var over <-chan struct{}
	if interrupt == nil {
		over = ctx.Done() // otherwise interrupt says all: to watch a context costs a look at the program now and then
	}
	select {
	case index, ok := <-a.granted:
		if !ok {
			return 0, errAskAgain
		}
		return index, nil
	case <-interrupt:
		err = fault.New("vfs lock", fault.Canceled, "interrupted")
	case <-over:
		err = fault.Because("vfs lock", kindOfEnd(ctx), ctx.Err())
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTry)
	defer cancel()
	res, cerr := f.applied(work, meta.Unlock{Ino: a.ino, Owner: a.lock.Owner.ID, Cancel: a.id})
	switch {
	case cerr != nil:
		f.undo(a)
	case !res.More:
		select {
		case index, ok := <-a.granted: // before it could be taken back
			if ok {
				return index, nil
			}
		default: // it ended with its session
		}
	}
	return 0, err
}

// takenIn returns when this mount's kernel knows nothing of the file that is older than the state at index.
func (f *FS) takenIn(ctx context.Context, ino meta.Ino, index uint64) error {
	if f.early == nil || f.alone != nil && f.alone.Alone(ino) ||
		f.coh.Clean(coherence.Attr(ino)) && f.coh.Clean(coherence.Bytes(ino)) {
		return nil
	}
	return f.early.Released(ctx, index)
}

// handIn brings what the file's handles have written to the other mounts, and returns when they know of it.
func (f *FS) handIn(ctx context.Context, n *node) error {
	n.mu.Lock()
	owes, granted := n.unflushedLocked() || n.index != 0, n.granted
	n.mu.Unlock()
	if !owes || granted && (f.alone == nil || f.alone.Alone(n.ino)) {
		return nil
	}
	return f.flush(ctx, n, how{})
}

// unlock gives up what an owner holds of the bytes [from, end) of n.
func (f *FS) unlock(ctx context.Context, n *node, o ownerOf, from, end uint64) error {
	seen, has := f.locks.state(n.ino, o)
	if !has {
		return nil
	}
	flushed := f.handIn(ctx, n)
	if flushed != nil && ctx.Err() != nil { // who asks is dying, and the flush goes on: the lock must not end before it
		f.background(n, func(ctx context.Context) {
			if err := f.unlock(ctx, n, o, from, end); err != nil {
				f.o.Log.Info("a lock whose program is gone is given up late", "ino", n.ino, "err", err)
			}
		})
		return flushed
	}
	op := meta.Unlock{Ino: n.ino, Owner: o.id, Whole: o.whole, From: from, End: end}
	if _, err := f.applied(ctx, op); err != nil {
		if !refused(err) {
			f.owe(op)
		}
		return err
	}
	t, err := f.lockTable(n.ino)
	if err == nil && !t.Holds(lock.Owner{Session: f.session.Load(), ID: o.id}, o.whole) {
		f.locks.none(n.ino, o, seen)
	}
	return flushed
}

// closeLocks gives up what was locked through a handle that is no more: flocks, and locks of the open file. Range locks of a
// process that closed it without a word (see Opened.Quiet) end as well.
func (f *FS) closeLocks(id Handle, h *handle) {
	owners := f.locks.through(h.n.ino, id, func(pid uint32) bool { return h.quiet && (h.mode.PID == pid || processOf(h.mode.PID) == pid) })
	for _, o := range owners {
		ctx, cancel := context.WithTimeout(context.Background(), f.o.FlushTimeout)
		if err := f.unlock(ctx, h.n, o, 0, lock.EndOfAll); err != nil {
			f.o.Log.Info("the locks of a closed file are given up later", "ino", h.n.ino, "err", err)
		}
		cancel()
	}
}

// undo sees to it that nothing is left of a request about which nobody knows how it ended.
func (f *FS) undo(a *asked) {
	f.owe(meta.Unlock{Ino: a.ino, Owner: a.lock.Owner.ID, Whole: a.lock.Whole, Cancel: a.id})
	f.owe(meta.Unlock{Ino: a.ino, Owner: a.lock.Owner.ID, Whole: a.lock.Whole, From: a.lock.From, End: a.lock.End})
}

// owe has Run bring op into the log, as soon as it takes it.
func (f *FS) owe(op meta.Unlock) {
	f.locks.mu.Lock()
	defer f.locks.mu.Unlock()
	f.locks.owed = append(f.locks.owed, op)
}

// payOwed brings what is owed into the log. What fails stays owed; what the session's end has done already is not.
func (f *FS) payOwed() {
	if f.o.CutOff() != nil || !f.locks.paying.CompareAndSwap(false, true) {
		return
	}
	defer f.locks.paying.Store(false)
	for {
		f.locks.mu.Lock()
		if len(f.locks.owed) == 0 {
			f.locks.mu.Unlock()
			return
		}
		op := f.locks.owed[0]
		f.locks.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), lockTry)
		_, err := f.applied(ctx, op)
		cancel()
		if err != nil && !refused(err) {
			return
		}
		f.locks.mu.Lock()
		f.locks.owed = slices.DeleteFunc(f.locks.owed, func(o meta.Unlock) bool { return o == op })
		f.locks.mu.Unlock()
	}
}

func (f *FS) lockTable(ino meta.Ino) (t lock.Table, err error) {
	err = f.newest(func(v meta.View) (err error) {
		t, err = v.Locks(ino)
		return err
	})
	return t, err
}

// holdsLocally reports whether a program of this mount stands in l's way.
func (f *FS) holdsLocally(ino meta.Ino, l lock.Lock) bool {
	l.Owner.Session = f.session.Load()
	t, err := f.lockTable(ino)
	return err == nil && slices.ContainsFunc(t.Blockers(l), func(b lock.Lock) bool { return b.Owner.Session == l.Owner.Session })
}

// Applied takes what a log entry changed, in order, after its state has become readable and Coherence knows of it. It waits for nobody.
func (f *FS) Applied(cs ...meta.Change) {
	for _, c := range cs {
		for _, w := range c.Woken {
			f.locks.grant(w, c.Index)
		}
	}
}

// Reset says that the state was replaced by a snapshot's: who waits for a lock looks there whether it is granted.
func (f *FS) Reset() {
	for _, a := range f.locks.allAsked() {
		t, err := f.lockTable(a.ino)
		if err != nil {
			f.o.Log.Error("locks cannot be read", "ino", a.ino, "err", err)
			continue
		}
		if slices.ContainsFunc(t.Waits, func(w lock.Wait) bool { return w.ID == a.id }) {
			continue
		}
		f.locks.again(a)
	}
}

// loseLocks says that this mount's session has ended, and its locks with it.
func (f *FS) loseLocks() {
	for ino, handles := range f.locks.lose() {
		n := f.known(ino)
		if n == nil {
			continue
		}
		f.mu.Lock()
		for _, id := range handles {
			if h := f.handles[id]; h != nil {
				h.lost.Store(true)
			}
		}
		f.mu.Unlock()
		n.mu.Lock()
		if n.unflushedLocked() {
			f.o.Log.Error("bytes dropped: the locks under which they were written are lost", "ino", ino, "bytes", n.costLocked())
			f.dropDirtyLocked(n)
			for _, b := range n.inflight {
				b.lost = true
			}
			n.err = lockLost(ino)
			n.errSeq++
		}
		n.mu.Unlock()
		f.unpin(n)
	}
}

func lockLost(ino meta.Ino) error {
	return fault.New("vfs lock", fault.Ended, "locks on inode %d were lost with the mount's session", ino)
}
