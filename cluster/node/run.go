package node

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cluster/state"
	"dfs/fs/meta"
)

const (
	flushWithin = 5 * time.Second // at the end, for what is dirty
	endWithin   = time.Second     // at the end, for telling the others
)

// stage is some goroutines that begin and end together. The stages of a node end in the opposite order of their
// beginning, so that what a goroutine stands on outlives it.
type stage struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	fail context.CancelCauseFunc
}

// newStage returns a stage whose goroutines do not end with the process's context; the first that fails calls fail.
func newStage(fail context.CancelCauseFunc) *stage {
	s := &stage{fail: fail}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *stage) run(what string, fn func(context.Context) error) {
	s.wg.Go(func() {
		if err := fn(s.ctx); err != nil && s.ctx.Err() == nil {
			s.fail(fault.Wrap(what, err))
		}
	})
}

func (s *stage) end() {
	s.stop()
	s.wg.Wait()
}

// Run runs the peer until ctx ends or it cannot go on. When it returns, what was dirty is flushed (or said to be
// lost), the mount is gone, lease and leadership are given up, and everything is closed.
func (n *Node) Run(ctx context.Context) error { return n.diskFailed(n.runToEnd(ctx)) }

func (n *Node) runToEnd(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	n.mu.Lock()
	n.fail = fail
	n.mu.Unlock()
	err := n.run(ctx, fail)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		if err == nil || errors.Is(err, fault.Closed) || errors.Is(err, context.Canceled) { // that is what followed from it
			err = cause
		}
	}
	var strange *misfit
	if err != nil && !errors.As(err, &strange) {
		if gone := n.inPlace(); gone != nil { // and this is how a part of it noticed
			n.log.Info("ended", "err", err)
			err = gone
		}
	}
	if errors.As(err, &strange) {
		// What is open has no place to be flushed to: closing it would take for ever, and spoil what may lie there now.
		n.gossip.Close()
		return err
	}
	return errors.Join(err, n.close())
}

func (n *Node) run(ctx context.Context, fail context.CancelCauseFunc) error {
	guard := newStage(fail)
	defer guard.end()
	guard.run("data directory", n.guardParts)
	guard.run("membership", n.endMembership)

	links := newStage(fail) // needs nothing
	defer links.end()
	links.run("transport", n.net.Run)
	links.run("gossip", n.gossip.Run)
	links.run("block store", n.blocks.Run)
	links.run("pool", n.pool.Run)

	log := newStage(fail) // needs links
	defer log.end()
	log.run("log", n.group.Run)
	log.run("cache", n.driver.Run)

	chores := newStage(fail) // needs the log
	defer chores.end()
	chores.run("own chores", n.ownChores)
	chores.run("leader's chores", n.leaderChores)
	chores.run("sweep", n.sweep)
	chores.run("defragmentation", n.defragment)
	chores.run("gathering", n.gather)
	chores.run("healer", n.healer.Run)
	chores.run("scrub", n.scrubber.Run)
	chores.run("word of bad replicas", n.tell)

	if err := n.begin(ctx); err != nil {
		return err
	}
	defer n.resign()
	sidecar := newStage(fail) // needs the log
	defer sidecar.end()
	sidecar.run("control plane", n.plane.Run)
	if n.fs != nil {
		own := newStage(fail) // needs the log
		defer func() {
			own.end()
			n.endJournal()
		}()
		own.run("delegations", n.alone.Run)
		files := newStage(fail)
		defer n.flushAll(files)
		files.run("files", n.fs.Run)
		if err := n.redo(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("what the last daemon had done is not all in the log; it stays in the journal", "dir", n.dir("journal"), "err", err)
		}
		if err := n.beginJournal(ctx); err != nil {
			return err
		}
		server, err := n.mount(ctx)
		if err != nil {
			return err
		}
		mount := newStage(fail)
		defer mount.end()
		mount.run("mount", func(ctx context.Context) error {
			err := server.Run(ctx)
			if err == nil && ctx.Err() == nil && !n.unmounted.Swap(true) {
				n.log.Warn("unmounted by somebody else", "mount", n.cfg.Mount)
			}
			return err
		})
	}
	n.started.Store(true)
	n.log.Info("serving", "peer", n.id.ID().Short(), "listen", n.net.Addr(), "mount", n.cfg.Mount)
	<-ctx.Done()
	if why := context.Cause(ctx); !errors.Is(why, context.Canceled) {
		n.log.Error("cannot go on", "err", why)
	}
	n.ending.Store(true)
	n.started.Store(false)
	return nil
}

// begin makes this incarnation known to the cluster, and the cluster itself if this peer creates it.
func (n *Node) begin(ctx context.Context) error {
	n.session.number = uint64(time.Now().UnixNano())
	if err := n.insist(ctx, state.OpenSession{Peer: n.id.ID(), Incarnation: n.session.number}); err != nil {
		return err
	}
	if n.ca != nil {
		if err := n.create(ctx); err != nil {
			return err
		}
	}
	m, ok := n.roster.member(n.id.ID())
	if !ok {
		return n.removed()
	}
	set := state.SetMember{ID: m.ID, Addr: n.advertised(n.net.Addr()), Capacity: n.cfg.Capacity, Zone: n.cfg.Zone, Host: hostID(), Name: n.cfg.Name}
	for _, f := range []struct {
		bit     uint32
		changed bool
	}{
		{state.SetAddr, set.Addr != m.Addr},
		{state.SetCapacity, set.Capacity != m.Capacity},
		{state.SetZone, set.Zone != m.Zone},
		{state.SetHost, set.Host != m.Host},
		{state.SetName, set.Name != "" && set.Name != m.Name},
	} {
		if f.changed {
			set.Mask |= f.bit
		}
	}
	if set.Mask == 0 {
		return nil
	}
	return n.insist(ctx, set)
}

// insist proposes a fact until it is in the log or ctx ends.
func (n *Node) insist(ctx context.Context, f state.Fact) error {
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := n.store.propose(try, f)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, fault.Timeout) {
			return err
		}
		if who := n.refusers(); len(who) > 0 {
			return fault.Advise(fault.New("start", fault.Refused, "%s", n.disowned(who)), "%s", n.startOver())
		}
		n.log.Warn("waiting for the cluster", "why", outOfReach(n.roster.view()), "err", err)
	}
}

// create writes the cluster's beginning. Its identity is saved only then: a peer that dies before has created nothing.
func (n *Node) create(ctx context.Context) error {
	genesis := state.Genesis{
		ClusterID:  n.id.Cluster,
		Name:       n.id.Name,
		CACert:     n.id.CA(),
		WrappedKey: identity.WrapKey(n.id.Secret, n.id.Cluster, n.ca.Key()),
		Time:       time.Now().UnixNano(),
	}
	genesis.First.ID, genesis.First.Key = n.id.ID(), n.id.PublicKey()
	genesis.First.Name, genesis.First.Addr = n.name(), n.advertised(n.net.Addr())
	genesis.First.Zone, genesis.First.Host, genesis.First.Capacity = n.cfg.Zone, hostID(), n.cfg.Capacity
	if err := n.insist(ctx, genesis); err != nil {
		return err
	}
	root := meta.Format{Mode: 0o755, UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)), Time: meta.Time(time.Now().UnixNano())}
	if _, err := n.store.Apply(ctx, root); err != nil {
		return err
	}
	if n.cfg.Copies > 0 {
		set := meta.SetAttr{Ino: meta.Root, Mask: meta.SetWish, Time: root.Time}
		set.Wish.Copies = uint8(n.cfg.Copies)
		if _, err := n.store.Apply(ctx, set); err != nil {
			return err
		}
	}
	if err := n.id.Save(n.dir("identity")); err != nil {
		return err
	}
	return n.markParts()
}

// flushAll ends the files' goroutines, which flushes what is dirty.
func (n *Node) flushAll(files *stage) {
	late := time.AfterFunc(flushWithin, func() {
		n.log.Error("not everything could be flushed in time", "bytes", n.fs.Dirty())
	})
	defer late.Stop()
	files.end()
}

// resign tells the others that this daemon answers no more.
func (n *Node) resign() {
	n.group.Resign()
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if _, err := n.store.propose(ctx, state.EndSession{Session: n.session.id.Load()}); err != nil {
		n.log.Info("the session was left to expire", "err", err)
	}
}
