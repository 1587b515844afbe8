package vfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
)

const (
	endsMax    = 256                    // grants given up in one op
	endsEvery  = 50 * time.Millisecond  // how long a clean close's grant may wait for company
	recallLog  = 10                     // tries after which it is worth a line
	recallPoll = 20 * time.Millisecond  // between looks at a grant that was recalled
	recallTry  = 100 * time.Millisecond // for one answer of a holder; longer flushes are asked for again, and go on meanwhile
)

// grants is what is to be given up, and the creates under way, whose grants may be recalled before they are known here.
type grants struct {
	mu       sync.Mutex
	ends     []*node
	creating int
	recalled map[meta.Ino]bool // while creating > 0
}

func (g *grants) beginCreate() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.creating++
}

// endCreate reports whether ino, just created, was recalled already.
func (g *grants) endCreate(ino meta.Ino) (recalled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	recalled = g.recalled[ino]
	if g.creating--; g.creating == 0 {
		clear(g.recalled)
	}
	return recalled
}

func (g *grants) isCreating(ino meta.Ino) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.creating > 0 && len(g.recalled) < endsMax {
		g.recalled[ino] = true
	}
}

// foreign reports whether st is another mount's alone.
func (f *FS) foreign(st meta.Inode) bool { return st.Grant != 0 && st.Grant != f.session.Load() }

// recaller asks for one file's grant as long as its holder has it. The leader ends the grants of a mount whose lease is over, so
// that a dead holder is not waited for for long.
type recaller struct {
	tries int
	since time.Duration
}

// recall asks the holder of st's grant to flush, and returns nil when it is worth looking again. fault.CutOff after RecallWait,
// fault.Timeout when ctx ends.
func (r *recaller) recall(ctx context.Context, f *FS, st meta.Inode) error {
	now := f.o.Boot()
	if r.tries++; r.tries == 1 {
		r.since = now
	} else if now-r.since >= f.o.RecallWait {
		return fault.New("vfs recall", fault.CutOff, "inode %d has been another mount's for %v", st.Ino, f.o.RecallWait)
	}
	one, cancel := context.WithTimeout(ctx, recallTry)
	defer cancel()
	err := f.o.Recall(one, st.Grant, st.Ino)
	if err == nil && r.tries == 1 {
		return nil
	}
	if err != nil && r.tries == recallLog {
		f.o.Log.Info("recall of a file takes long; asking again", "ino", st.Ino, "err", err)
	}
	wait := time.NewTimer(recallPoll) // the holder may be about to learn that it holds it, its session to end, or this peer to apply that
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return fault.Because("vfs recall", fault.Timeout, ctx.Err())
	}
}

// Recall makes this mount flush ino and give up its grant, for another mount that wants to look at it. When it returns nil
// the file is nobody's alone.
func (f *FS) Recall(ctx context.Context, ino meta.Ino) error {
	f.grants.isCreating(ino)
	if f.alone != nil {
		f.alone.Ending(ino) // before the flush: a close after it is not to be put off
	}
	n := f.known(ino)
	if n != nil {
		defer f.unpin(n)
		n.mu.Lock()
		granted := n.granted
		owes := n.unflushedLocked()
		n.mu.Unlock()
		if granted || owes {
			if err := f.flush(ctx, n, how{endGrant: true}); err != nil {
				return err
			}
		}
		n.mu.Lock()
		ended := granted && !n.granted
		n.mu.Unlock()
		if ended {
			return nil
		}
	}
	if err := f.giveUp(ctx, ino); err != nil {
		return err
	}
	if n != nil {
		n.mu.Lock()
		n.granted, n.queued = false, false
		n.mu.Unlock()
	}
	return nil
}

// Forfeit says that this mount's lease was lost: others may have what was granted to it by now. What it kept back it hands in at
// once.
func (f *FS) Forfeit() {
	for _, n := range f.all() {
		n.mu.Lock()
		was := n.granted
		n.granted, n.queued = false, false
		owes := n.owesLocked()
		n.mu.Unlock()
		if was && owes {
			f.background(n, func(ctx context.Context) { _ = f.flush(ctx, n, how{early: true}) })
		}
		f.unpin(n)
	}
}

// Renew says that this mount has another session: the one before was ended, and all its grants with it.
func (f *FS) Renew(session uint64) {
	f.loseLocks() // before anything is proposed in the next one
	f.session.Store(session)
	f.Forfeit()
}

// queueEnd gives up the grant of a file that was closed with nothing to commit, in a batch with others.
func (f *FS) queueEnd(n *node) {
	n.mu.Lock()
	if !n.granted || n.queued || n.unflushedLocked() {
		n.mu.Unlock()
		return
	}
	n.queued = true
	n.mu.Unlock()
	f.mu.Lock()
	n.refs++
	f.mu.Unlock()
	f.grants.mu.Lock()
	f.grants.ends = append(f.grants.ends, n)
	full := len(f.grants.ends) >= endsMax
	f.grants.mu.Unlock()
	if full {
		f.tasks.run(f.sendEnds)
	}
}

// sendEnds gives up what is queued and was not written to again.
func (f *FS) sendEnds() {
	f.grants.mu.Lock()
	nodes := f.grants.ends
	f.grants.ends = nil
	f.grants.mu.Unlock()
	var inos []meta.Ino
	for _, n := range nodes {
		n.mu.Lock()
		if n.queued && n.granted && !n.unflushedLocked() {
			inos = append(inos, n.ino)
			n.granted = false
		}
		n.queued = false
		n.mu.Unlock()
	}
	if len(inos) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), f.o.FlushTimeout)
		defer cancel()
		if err := f.endGrants(ctx, inos); err != nil {
			f.o.Log.Warn("grants not given up; they are recalled when needed", "files", len(inos), "err", err)
		}
	}
	for _, n := range nodes {
		f.unpin(n)
	}
}

func (f *FS) giveUp(ctx context.Context, ino meta.Ino) error {
	if f.alone == nil {
		return f.endGrants(ctx, []meta.Ino{ino})
	}
	return f.alone.GiveUp(ctx, ino)
}

func (f *FS) endGrants(ctx context.Context, inos []meta.Ino) error {
	_, err := f.applied(ctx, meta.EndGrant{Session: f.session.Load(), Inos: inos})
	if errors.Is(err, fault.NotExist) {
		return nil
	}
	return err
}
