package vfs

import (
	"context"
	"errors"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Getattr returns the attributes of ino, with this mount's own uncommitted writes in them. fault.Stale; fault.CutOff
// where another mount has the file to itself and cannot be asked for it.
func (f *FS) Getattr(ctx context.Context, ino meta.Ino) (Attr, error) {
	return f.stat(ctx, ino, nil, nil)
}

// stat reads attributes coherently, of an inode that is counted before. Where another mount holds the file's grant it is made
// to flush first, however often it must be asked: what is committed may be older than what its programs have seen. Also, if not nil,
// is asked of the same view; what it found last counts.
func (f *FS) stat(ctx context.Context, ino meta.Ino, refs Refs, also func(meta.View)) (Attr, error) {
	obj := coherence.Attr(ino)
	var ask recaller
	reading := ctx
	wait := false
	if refs != nil {
		// An invalidation waits for the answer that brings what is counted: while it is, this may wait for nothing.
		reading, wait = atOnce, !f.coh.Clean(obj)
	}
	for {
		if wait {
			if _, err := f.coh.Read(ctx, obj, func(meta.View) error { return nil }); err != nil {
				return Attr{}, err
			}
		}
		var st meta.Inode
		var at uint64
		add(refs, ino)
		here := f.here.of(ino)
		until, err := f.read(reading, obj, func(v meta.View) (err error) {
			at = v.Index()
			if st, err = v.Stat(ino); err == nil {
				if also != nil {
					also(v)
				}
				st.Blocks, err = f.blocksOf(v, st)
			}
			return err
		})
		if wait = refs != nil && errors.Is(err, fault.Timeout); wait {
			drop(refs, ino)
			continue
		}
		if err == nil && (!f.foreign(st) || f.o.Recall == nil || errors.Is(f.o.CutOff(), fault.ReadOnly)) {
			if f.foreign(st) {
				until = 0
			}
			if a := f.overlay(Attr{st, until}, at); here == f.here.of(ino) {
				return a, nil
			}
			drop(refs, ino)
			continue
		}
		drop(refs, ino) // also because the holder's commit is to be taken in here before it answers
		if errors.Is(err, fault.NotExist) {
			return Attr{}, fault.Because("vfs stat", fault.Stale, err)
		}
		if err == nil {
			err = ask.recall(ctx, f, st)
		}
		if err != nil {
			return Attr{}, err
		}
	}
}

// Setattr changes attributes; s.Ino is set here and s.Time is when. On a file that is this mount's alone and open they wait for the close;
// otherwise every mount sees them when it returns. fault.Stale, TooBig.
func (f *FS) Setattr(ctx context.Context, ino meta.Ino, s meta.SetAttr) (Attr, error) {
	s.Ino = ino
	if s.Mask&meta.SetSize != 0 && (s.Size < 0 || s.Size > meta.SizeMax) {
		return Attr{}, fault.New("vfs truncate", fault.TooBig, "%d bytes", s.Size)
	}
	if err := f.o.CutOff(); err != nil {
		return Attr{}, err
	}
	defer f.coh.Hold(true, ino)() // a directory's lock is held for its SETATTR; for files this means nothing
	n := f.pin(ino)
	defer f.unpin(n)
	if s.Mask&meta.SetAtime != 0 {
		if err := f.accessed.forget(ctx, ino); err != nil {
			return Attr{}, err
		}
	}
	if s.Mask&meta.SetSize != 0 {
		if err := f.resize(ctx, n, &s); err != nil {
			return Attr{}, err
		}
	}
	if s.Mask != 0 && !f.setHere(n, s) {
		if s.Mask&meta.SetMtime != 0 {
			// Bytes written before must not bring their own time after it.
			n.mu.Lock()
			dirty := n.unflushedLocked()
			n.mu.Unlock()
			if dirty {
				if err := f.flush(ctx, n, how{early: true}); err != nil {
					return Attr{}, err
				}
			}
		}
		if _, err := f.store.Apply(ctx, s); err != nil {
			return Attr{}, stale(err)
		}
	}
	if f.unwatched(n) && !f.later(n) {
		if err := f.flush(ctx, n, how{early: true}); err != nil {
			return Attr{}, err
		}
	}
	a, err := f.Getattr(ctx, ino)
	a.Until = 0 // the kernel takes the answer to a SETATTR as it is, overtaken or not
	return a, err
}

// unwatched reports whether n owes something although nobody has it open to write, whose close would see to it.
func (f *FS) unwatched(n *node) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writers == 0 && n.owesLocked()
}

// setHere keeps attributes of a granted file for its commit.
func (f *FS) setHere(n *node, s meta.SetAttr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.granted {
		return false
	}
	if s.Mask&meta.SetMtime != 0 {
		n.mtime = 0
	}
	n.pending = mergeAttrs(n.pending, s)
	n.touched = f.o.Now()
	n.queued = false
	return true
}

// resize does the SetSize of s: buffered bytes beyond it go, and the committed size is changed, by s itself, which keeps the bit,
// or not at all, where the file is this mount's and everything is still here.
func (f *FS) resize(ctx context.Context, n *node, s *meta.SetAttr) error {
	if err := n.take(ctx); err != nil {
		return err
	}
	defer n.give()
	if err := n.drain(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	if len(n.tail) > 0 {
		n.mu.Unlock()
		return f.resizeTail(ctx, n, s)
	}
	before := n.dirty.cost
	n.dirty.truncate(s.Size)
	f.dirty.Add(n.dirty.cost - before)
	n.extend = min(n.extend, s.Size)
	f.rekeepLocked(n)
	if n.granted && n.base <= s.Size {
		if s.Size > max(n.base, n.endLocked()) {
			n.extend = s.Size
		}
		s.Mask &^= meta.SetSize
		f.touchLocked(n)
		n.mu.Unlock()
		return nil
	}
	n.mu.Unlock()
	return f.truncate(ctx, n, s)
}

// resizeTail commits a tail before its file changes size. The caller has the turn.
func (f *FS) resizeTail(ctx context.Context, n *node, s *meta.SetAttr) error {
	n.mu.Lock()
	b := n.takeLocked(how{early: true})
	n.mu.Unlock()
	if err := f.run(ctx, n, b); err != nil {
		return err
	}
	return f.truncate(ctx, n, s)
}

// truncate changes the committed size, and with it whatever else s says. The caller has the turn, so that no flush of
// this mount's comes in between.
func (f *FS) truncate(ctx context.Context, n *node, s *meta.SetAttr) error {
	var st meta.Inode
	if err := f.newest(func(v meta.View) (err error) {
		st, err = v.Stat(n.ino)
		return err
	}); err != nil && !errors.Is(err, fault.NotExist) { // which is for the op to say
		return err
	}
	if st.Ino != 0 && s.Size > st.Size && st.TruncGen > 0 && st.Size%512 != 0 {
		// The last block may hold what was cut off before: what the file grows over must be zeros.
		b := &batch{end: st.Size + 1, done: make(chan struct{})}
		if _, err := f.commit(ctx, n, b); err != nil {
			return err
		}
		n.mu.Lock()
		f.rekeepLocked(n) // a commit covers what was kept before it, this one excepted
		n.mu.Unlock()
	}
	res, err := f.store.Apply(ctx, *s)
	if err != nil {
		return stale(err)
	}
	s.Mask = 0
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replaced = n.replaced || s.Size < st.Size
	n.base = res.Inode.Size
	return nil
}

// stale says that the inode itself is gone, where a plain NotExist would be about a name.
func stale(err error) error {
	if errors.Is(err, fault.NotExist) {
		return fault.Because("vfs", fault.Stale, err)
	}
	return err
}
