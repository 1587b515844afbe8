package raft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/net/wire"
)

// Run runs the replica until ctx ends or it cannot go on: a failed write, sync or apply, a log that is not what it
// promised. It hands leadership over first, if it can within a second, so the transport must run longer than this.
// On return all goroutines have ended and the log is closed; the error is nil if ctx ended.
func (g *Group) Run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer close(g.closed)
	defer g.shelf.clear()
	err := g.prepare(ctx)
	if err == nil {
		g.begun = g.core.applied
		var wg sync.WaitGroup
		run := func(fn func(context.Context) error) {
			wg.Go(func() {
				if err := fn(work); err != nil {
					stop(err)
				}
			})
		}
		run(g.write)
		run(g.apply)
		err = g.loop(ctx, work)
		stop(err)
		wg.Wait()
	}
	if cause := context.Cause(work); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if cerr := g.log.Close(); err == nil {
		err = cerr
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return fault.Wrap("raft", err)
}

// prepare fetches the state if there is none, and brings it to where the core begins.
func (g *Group) prepare(ctx context.Context) error {
	if g.core == nil {
		fetch := g.rebuild
		if g.o.Lost {
			fetch = g.readmit
		}
		if err := fetch(ctx); err != nil {
			return err
		}
		if err := g.begin(); err != nil {
			return err
		}
	}
	m := g.o.Machine
	g.durable.Store(m.Durable())
	g.told = m.Applied()
	for next := max(m.Applied()+1, g.log.First()); next <= g.log.Conf().Index && next <= g.log.Last(); {
		es, err := g.log.Entries(next, g.log.Conf().Index+1, applyBytes)
		if err != nil {
			return err
		}
		for _, e := range es {
			out, err := decodeWAL(e)
			if err != nil {
				return fault.Because("raft replay", fault.Corrupt, err)
			}
			if err := g.applyEntry(&out); err != nil {
				return err
			}
			next = e.Index + 1
		}
	}
	return ctx.Err()
}

// loop lets time pass until the replica ends.
func (g *Group) loop(ctx, work context.Context) error {
	tick := time.NewTicker(Tick)
	defer tick.Stop()
	ticks := 0
	stopping, patience := ctx.Done(), (<-chan time.Time)(nil)
	g.alarm = time.AfterFunc(time.Hour, func() {
		g.inbox.post(func() {
			g.alarmed = 0
			g.core.Flush(g.now)
		})
	})
	defer g.inbox.stop()
	defer g.alarm.Stop()
	g.inbox.start(func() {})
	g.looping.Store(true)
	for {
		select {
		case <-tick.C:
			ticks++
			compact := ticks%compactEvery == 0
			g.inbox.post(func() {
				g.core.Tick(g.now)
				if compact {
					g.compact()
				}
			})
			g.shelf.expire(g.o.Now())
		case <-stopping:
			stopping = nil
			timer := time.NewTimer(stopTransfer)
			defer timer.Stop()
			patience = timer.C
			g.inbox.post(g.leave)
		case <-patience:
			return nil
		case <-work.Done():
			return context.Cause(work)
		case err := <-g.over:
			return err
		}
	}
}

// leave begins the end: the lease is given up, and leadership if there is somebody to take it.
func (g *Group) leave() {
	g.core.Resign(g.now)
	g.carryOut(g.core.Next())
	if voters, _ := g.core.Members(); !g.core.leading || len(voters) < 2 {
		g.end(nil)
	}
	g.leaving = true
}

// end has the loop return.
func (g *Group) end(err error) {
	select {
	case g.over <- err:
	default:
	}
}

// turn runs what has come for the core, and what the core makes of it. One turn runs at a time.
func (g *Group) turn(fns []func()) {
	defer func() {
		if p := recover(); p != nil {
			cp, ok := p.(corePanic)
			if !ok {
				panic(p)
			}
			g.failed = true
			g.end(fault.New("raft", fault.Corrupt, "%s", cp.text))
		}
	}()
	if g.failed {
		return
	}
	g.now = g.o.Now() // once: whatever there is to do has happened by now
	for _, fn := range fns {
		fn()
	}
	if g.leaving && g.core.leading && !g.core.Transferring() {
		_ = g.core.Transfer(g.now, cluster.PeerID{}) // whoever answers first, if not everyone is silent
	}
	g.carryOut(g.core.Next())
	if g.leaving && !g.core.leading && !g.core.leader.IsZero() {
		g.end(nil) // and the new leader was told that it need not wait for this peer's lease
	}
}

// carryOut does what the core wants done.
func (g *Group) carryOut(e Effects) {
	for _, w := range e.Write {
		g.writer.push(writeJob{write: w})
	}
	g.send(e.Send)
	if e.Drop {
		g.applier.push(applyJob{drop: true})
	}
	for _, a := range e.Apply {
		g.applier.push(applyJob{apply: a})
	}
	if e.Prepare != nil {
		g.applier.push(applyJob{prepare: e.Prepare})
	}
	if e.Wake != 0 && (g.alarmed == 0 || e.Wake < g.alarmed) {
		g.alarmed = e.Wake
		g.alarm.Reset(max(e.Wake-g.now, 0))
	}
	if e.Snapshot {
		g.applier.push(applyJob{open: func(s Snapshot, index uint64) {
			g.shelf.put(s, index, g.o.Now())
			g.inbox.post(func() { g.core.SnapshotOpened(g.now, index) })
		}})
	}
	for _, out := range e.Applied {
		<-g.slots
		w := g.waiters[out.Seq]
		w.done = true
		w.applied <- out
		if w.gone || out.Ended {
			delete(g.waiters, out.Seq)
			g.core.Forget(out.Seq)
		}
	}
	for _, seq := range e.Released {
		if w := g.waiters[seq]; w != nil {
			close(w.released)
			delete(g.waiters, seq)
		}
	}
	for _, r := range e.Reads {
		if ch := g.reads[r.Token]; ch != nil {
			ch <- r.Index
			delete(g.reads, r.Token)
		}
	}
	for _, c := range e.Changed {
		if ch := g.changes[c.Token]; ch != nil {
			ch <- c.Err
			delete(g.changes, c.Token)
		}
	}
	if g.o.OnNote != nil {
		for _, t := range e.Reports {
			g.o.OnNote(t.From, t.Note)
		}
	}
	if e.Lapsed && g.o.OnLapse != nil {
		g.o.OnLapse()
	}
	g.tellHooks()
	g.watches = slices.DeleteFunc(g.watches, func(w *watch) bool {
		if !w.gone && !w.met() {
			return false
		}
		close(w.done)
		return true
	})
}

// send sends what is for one peer in one piece.
func (g *Group) send(letters []Letter) {
	for len(letters) > 0 {
		to := letters[0].To
		var ms []wire.Message
		var others []Letter
		for _, l := range letters {
			if l.To == to {
				ms = append(ms, l.Message)
			} else {
				others = append(others, l)
			}
		}
		g.o.Transport.Send(to, ms...)
		letters = others
	}
}

// tellHooks calls the hooks whose subject has changed.
func (g *Group) tellHooks() {
	seen := g.core.Released()
	if g.o.OnReleased != nil && (seen.Prefix != g.released.Prefix || !slices.Equal(seen.Except, g.released.Except)) {
		g.o.OnReleased(seen)
	}
	g.released = seen
	state, until := g.core.Lease(g.now)
	if g.o.OnLease != nil {
		switch {
		case state == lease.Held && until != g.until:
			g.o.OnLease(until)
		case state == lease.Lost && g.state != lease.Lost:
			g.o.OnLease(0)
		}
	}
	g.state, g.until = state, until
	if g.core.term != g.term || g.core.leading != g.leading {
		g.term, g.leading = g.core.term, g.core.leading
		if g.core.leader.IsZero() {
			g.o.Log.Info("no leader", "term", g.term)
		} else {
			g.o.Log.Info("leader", "term", g.term, "peer", g.core.leader.Short(), "leading", g.leading)
		}
		if g.o.OnLeader != nil {
			g.o.OnLeader(g.term, g.leading)
		}
	}
}

type watch struct {
	met  func() bool
	gone bool
	done chan struct{}
}

// ask runs fn in a turn and waits until it has. It reports false if the group ended first.
func (g *Group) ask(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	g.inbox.post(func() {
		fn()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ended("raft", ctx)
	case <-g.closed:
		return fault.New("raft", fault.Closed, "")
	}
}

// Status returns the replica's state now; after Run has ended, its last. It never waits for other peers: one that still
// fetches its state knows of nobody.
func (g *Group) Status() Status {
	select {
	case <-g.closed:
	default:
		if !g.looping.Load() {
			return Status{Self: g.o.Self, First: g.log.First(), Last: g.log.Last(), Applied: g.o.Machine.Applied()}
		}
		_ = g.ask(context.Background(), func() {
			s := g.core.Status(g.now)
			g.mu.Lock()
			g.status = s
			g.mu.Unlock()
		})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// ReadIndex returns an index such that a read of the state there, or later, misses nothing that had happened when it
// was called. It works on every peer. fault.Timeout.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	const op = "read index"
	ch := make(chan uint64, 1)
	var token uint64
	g.inbox.post(func() {
		token = g.core.ReadIndex(g.now)
		g.reads[token] = ch
	})
	select {
	case index := <-ch:
		return index, nil
	case <-ctx.Done():
		g.inbox.post(func() {
			delete(g.reads, token)
			g.core.Unread(token)
		})
		return 0, ended(op, ctx)
	case <-g.closed:
		return 0, fault.New(op, fault.Closed, "")
	}
}

// SetMembers makes the group consist of voters and learners and nobody else, and returns when it does. New voters
// learn first. It may be repeated. fault.NotLeader: ask the leader (also when this peer led, and handed over
// because it is not to vote any more). fault.Conflict: another SetMembers took its place.
func (g *Group) SetMembers(ctx context.Context, voters, learners []cluster.PeerID) error {
	ch := make(chan error, 1)
	var token uint64
	var refused error
	err := g.ask(ctx, func() {
		token, refused = g.core.SetMembers(g.now, voters, learners)
		if refused == nil {
			g.changes[token] = ch
		}
	})
	if err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	select {
	case err := <-ch:
		return err
	case <-ctx.Done():
		g.inbox.post(func() { delete(g.changes, token) })
		return ended("set members", ctx)
	case <-g.closed:
		return fault.New("set members", fault.Closed, "")
	}
}

// Transfer hands leadership to a voter, and returns when this peer sees another lead: almost always that one. A zero id
// means whoever is furthest. Nothing is committed meanwhile, so it gives up after a few election timeouts.
// fault.NotLeader, fault.NotExist, fault.Invalid, fault.Timeout.
func (g *Group) Transfer(ctx context.Context, to cluster.PeerID) error {
	w := &watch{done: make(chan struct{})}
	var refused error
	err := g.ask(ctx, func() {
		if refused = g.core.Transfer(g.now, to); refused != nil {
			return
		}
		tries := 1
		w.met = func() bool {
			if g.core.leading && !g.core.Transferring() { // given up: the other was not ready
				if tries++; tries > transferTries || g.core.Transfer(g.now, to) != nil {
					refused = fault.New("transfer", fault.Timeout, "%s did not take over", to.Short())
					return true
				}
			}
			return !g.core.leading && !g.core.leader.IsZero()
		}
		g.watches = append(g.watches, w)
	})
	if err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	select {
	case <-w.done:
		return refused
	case <-ctx.Done():
		g.inbox.post(func() { w.gone = true })
		return ended("transfer", ctx)
	case <-g.closed:
		return fault.New("transfer", fault.Closed, "")
	}
}

// TookEarly says that this peer's kernel has taken in everything up to what OnPrepared was told of under id.
func (g *Group) TookEarly(id uint64) {
	g.inbox.post(func() { g.core.TookEarly(g.now, id) })
}

// Hurry says that somebody waits for a release that may be known to the leader.
func (g *Group) Hurry() {
	g.inbox.post(func() { g.core.Hurry(g.now) })
}

// Took says what this peer's kernel has taken in.
func (g *Group) Took(seen lease.Seen) {
	g.inbox.post(func() { g.core.Took(g.now, seen) })
}

// Note makes a note travel with this peer's next report to the leader, at most 48 KiB. It may be lost.
func (g *Group) Note(note []byte) {
	g.inbox.post(func() { g.core.Note(g.now, note) })
}

// Rejoin asks for a lease anew after OnLease(0), once every cache has been dropped.
func (g *Group) Rejoin() {
	g.inbox.post(func() { g.core.Rejoin(g.now) })
}

// Resign gives this peer's lease up for good: its mount is gone.
func (g *Group) Resign() {
	g.inbox.post(func() { g.core.Resign(g.now) })
}

func (s Status) String() string {
	return fmt.Sprintf("term %d, leader %s, log %d-%d, commit %d, applied %d", s.Term, s.Leader.Short(), s.First, s.Last, s.Commit, s.Applied)
}
