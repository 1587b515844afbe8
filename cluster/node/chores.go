package node

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/gossip"
	"dfs/cluster/state"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/repair"
)

const (
	choreEvery    = 250 * time.Millisecond
	sessionExpiry = 10 * time.Minute // without a word from it
	lockExpiry    = 30 * time.Second // of a session that holds locks, or waits for some
	raiseAgain    = 2 * time.Second
	raiseSeldom   = time.Minute
	stopped       = 3 * time.Second // between two looks: this process did not run, or its machine was suspended
)

// ownChores is what each peer does for itself: sync what it was given, drop what is freed, say how it is.
func (n *Node) ownChores(ctx context.Context) error {
	verified := false // that the store holds what was not synced when this peer last stopped
	tick := time.NewTicker(choreEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := n.keepBook(); err != nil {
			n.log.Warn("the members are not remembered", "err", err)
		}
		if n.roster.tick() {
			n.net.Recheck()
		}
		if !verified {
			verified = n.verify(ctx)
		}
		if verified {
			n.syncOwn(ctx)
		}
		if n.blocks.Failed() != nil {
			n.lookAtTheRest()
		} else if done, err := n.dropper.Pass(ctx, n.store.released.prefix()); err == nil {
			n.dropped.Store(done)
		} else if !errors.Is(err, errFetching) {
			n.log.Warn("freed blocks are not dropped", "err", err)
		}
		if err := n.keepSession(ctx); err != nil {
			return err
		}
		n.machine.SetFloor(n.driver.Floor())
		n.watchMounts()
		n.watchCutOff()
		n.group.Note(n.note().encode())
		n.say()
	}
}

// verify finds out what a power cut took from the store, and reports whether that is done.
func (n *Node) verify(ctx context.Context) bool {
	if !n.started.Load() { // the state is not up to date yet
		return false
	}
	v := repair.Verifier{Self: n.id.ID(), View: n.store.newest, Store: n.blocks, Propose: n.store.Apply}
	lost, damaged, err := v.Run(ctx)
	if lost+damaged > 0 {
		n.log.Warn("extents that were not synced are gone", "copied again from others", lost, "damaged", damaged)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("what was not synced cannot be checked", "err", err)
	}
	return err == nil
}

// syncOwn puts on disk what this peer stores for commits up to now, if any commit is not known to be on disk.
func (n *Node) syncOwn(ctx context.Context) {
	v := n.store.image(0)
	at := v.Index()
	lowest, any, err := v.VolatileCommits()
	v.Close()
	if err != nil || !any || lowest <= n.synced.Load() && at == n.synced.Load() {
		return
	}
	if err := n.blocks.Sync(ctx); err != nil && !n.disown(ctx) {
		return
	}
	n.synced.Store(at)
}

// watchMounts looks whether somebody has mounted something inside the drive.
func (n *Node) watchMounts() {
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	if s == nil || !s.Epoch() {
		return
	}
	below, err := mount.Below(n.cfg.Mount)
	n.driver.Epoch(err == nil && !below)
}

// say tells the others how this peer is.
func (n *Node) say() {
	u := n.blocks.Usage()
	h := n.healer.Health()
	trouble := n.trouble()
	n.tellTrouble(trouble)
	n.gossip.SetReport(gossip.Report{
		Free:     n.roomOfState(),
		Trouble:  trouble,
		Bad:      uint64(h.Waiting),
		Damaged:  uint64(h.Damaged),
		Addr:     n.advertised(n.net.Addr()),
		Version:  n.cfg.Version,
		Stored:   u.Live,
		Capacity: n.capacity(u.Live),
		Reserve:  n.cfg.Capacity / 100,
		Load:     load() / float64(runtime.NumCPU()),
		Synced:   n.synced.Load(),
		Unled:    n.unled(),
		Misses:   n.misses(),
	})
	n.heard()
}

// tellTrouble says once what is wrong with this peer, and once that it is over.
func (n *Node) tellTrouble(now string) {
	was := n.troubled
	n.troubled = now
	switch kind := "disk"; {
	case (was == "") == (now == ""):
	case now == "":
		n.log.Info("this peer is well again")
		n.events.add(kind, "this peer is well again")
	default:
		n.log.Error("something is wrong with this peer", "what", now)
		n.events.add(kind, now)
	}
}

// heard brings the roster up to the hints.
func (n *Node) heard() {
	all := map[cluster.PeerID]hints{}
	for id, h := range n.gossip.Hints() {
		if h.Report.Addr != "" && id != n.id.ID() {
			n.roster.found(id, h.Report.Addr)
		}
		if h.Reports > 0 {
			n.pool.Reported(id, h.Report.Stored)
		}
		all[id] = hints{seen: h.Seen, stored: h.Report.Stored, capacity: h.Report.Capacity, load: h.Report.Load,
			bad: h.Report.Bad, damaged: h.Report.Damaged, free: h.Report.Free, trouble: h.Report.Trouble,
			unled: h.Report.Unled, misses: h.Report.Misses}
	}
	own := n.blocks.Usage()
	mine := n.healer.Health()
	all[n.id.ID()] = hints{seen: cluster.Alive, stored: own.Live, capacity: n.capacity(own.Live), load: load(),
		bad: uint64(mine.Waiting), damaged: uint64(mine.Damaged), free: n.roomOfState(), trouble: n.trouble()}
	n.roster.hint(all)
	voters := n.group.Status().Voters
	n.roster.setVoters(voters)
	n.store.cramped.Store(cramped(voters, func(id cluster.PeerID) int64 { return all[id].free }))
}

// leaderChores is what the leader does for all.
func (n *Node) leaderChores(ctx context.Context) error {
	tick := time.NewTicker(choreEvery)
	defer tick.Stop()
	raised := make(chan struct{}, 1)
	var next time.Time
	var pause time.Duration
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			if n.raising.Load() {
				<-raised
			}
			return nil
		case <-raised:
			n.raising.Store(false)
			next = time.Now().Add(pause)
		case <-n.lapsed: // others wait for what such a mount has to itself
			if n.leading.Load() {
				n.freeGrants(ctx)
			}
		case <-tick.C:
			if time.Since(looked) > stopped {
				n.hearAnew() // nobody was heard while this process was stopped
			}
			looked = time.Now()
			if !n.leading.Load() {
				continue
			}
			n.lead(ctx)
			looked = time.Now()
			if !n.raising.Load() && time.Now().After(next) && n.usage().BelowExtents > 0 {
				n.raising.Store(true)
				go func() { // owned by this loop: it waits for raised before it ends
					began := time.Now()
					if pause = raiseAgain; n.raise(ctx) == 0 { // a walk over all extents for nothing
						pause = min(max(9*time.Since(began), raiseAgain), raiseSeldom)
					}
					raised <- struct{}{}
				}()
			}
		}
	}
}

// lead does one round of the short chores.
func (n *Node) lead(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	warn := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			n.log.Warn(what, "err", err)
		}
	}
	warn("leadership is not handed over", n.handOver(ctx))
	warn("voters are not as they should be", n.setVoters(ctx))
	warn("members that leave cannot go yet", n.parting(ctx))
	words := n.allWords()
	view := n.roster.view()
	var absent []cluster.PeerID
	for _, p := range view.Peers {
		if p.Seen == cluster.Dead {
			absent = append(absent, p.ID)
		}
	}
	warn("commits are not settled", n.keeper.Settle(ctx, words, absent))
	sessions, err := n.sessions(ctx)
	warn("sessions cannot be read", err)
	n.freeGrants(ctx)
	lockers, over, err := n.lockers()
	warn("locks cannot be read", err)
	warn("sessions are not ended", n.expire(ctx, sessions, lockers))
	warn("locks of ended sessions are not freed", n.keeper.EndLocks(ctx, over))
	// Last, because a huge orphan takes all the time there is.
	warn("orphans are not reaped", n.keeper.Bury(ctx, words, sessionIDs(sessions)))
}

// hearAnew begins to count anew how long each session has said nothing.
func (n *Node) hearAnew() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spoke, n.ledSince = map[uint64]time.Time{}, time.Now()
}

// lapse hears that some mount is certain to hold no lease.
func (n *Node) lapse() {
	select {
	case n.lapsed <- struct{}{}:
	default:
	}
}

// freeGrants ends the grants of mounts that hold no lease.
func (n *Node) freeGrants(ctx context.Context) {
	over, err := n.overGrants()
	if err == nil {
		err = n.keeper.EndGrants(ctx, over)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errFetching) {
		n.log.Warn("grants of lost mounts are not ended", "err", err)
	}
}

// overGrants returns the sessions whose grants are to end: those of mounts that hold no lease, and what is left of sessions that are
// over, whose grants may have been too many for one entry.
func (n *Node) overGrants() ([]uint64, error) {
	r, at := n.machine.At(0) // one state: a session that is missing in it holds nothing that counts
	v := meta.NewView(r, at)
	defer v.Close()
	if at == 0 {
		return nil, errFetching
	}
	sessions, err := state.NewView(r).Sessions()
	if err != nil {
		return nil, err
	}
	over := n.lost(sessions)
	grantees, err := v.Grantees()
	for _, id := range grantees {
		if !slices.ContainsFunc(sessions, func(s state.Session) bool { return s.ID == id }) {
			over = append(over, id)
		}
	}
	return over, err
}

// raise makes copies of what lacks some, and returns of how many extents.
func (n *Node) raise(ctx context.Context) (raised int) {
	began := time.Now()
	raised, left, err := n.keeper.Raise(ctx)
	if raised > 0 || err != nil && ctx.Err() == nil {
		n.log.Info("raised copies", "extents", raised, "left", left, "took", time.Since(began).Round(time.Millisecond), "err", err)
	}
	return raised
}

func sessionIDs(all []state.Session) []uint64 {
	ids := make([]uint64, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	return ids
}

// lost returns the sessions whose mounts answer nothing any more: their leases have run out.
func (n *Node) lost(all []state.Session) (ids []uint64) {
	st := n.group.Status()
	if !st.HoldersKnown {
		return nil
	}
	for _, s := range all {
		if !slices.Contains(st.Holders, s.Peer) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// lockers returns the sessions that hold locks, or wait for some, and those of them that have ended: their locks were too many
// for one entry.
func (n *Node) lockers() (all, over []uint64, err error) {
	r, at := n.machine.At(0) // one state: a session that is missing in it never comes back
	v := meta.NewView(r, at)
	defer v.Close()
	if at == 0 {
		return nil, nil, nil // it is being fetched
	}
	sessions, err := state.NewView(r).Sessions()
	if err != nil {
		return nil, nil, err
	}
	all, err = v.Lockers()
	for _, id := range all {
		if !slices.ContainsFunc(sessions, func(s state.Session) bool { return s.ID == id }) {
			over = append(over, id)
		}
	}
	return all, over, err
}

// expire ends sessions that have said nothing for long; sooner those that may keep others waiting for a lock.
func (n *Node) expire(ctx context.Context, all []state.Session, lockers []uint64) error {
	for _, s := range all {
		patience := cmp.Or(n.cfg.SessionExpiry, sessionExpiry)
		if slices.Contains(lockers, s.ID) {
			patience = min(patience, lockExpiry)
		}
		if time.Since(n.lastWord(s.ID)) < patience {
			continue
		}
		if _, err := n.store.propose(ctx, state.EndSession{Session: s.ID}); err != nil {
			return err
		}
	}
	return nil
}

// lastWord returns when a session last reported; one that never did counts from when this peer began to lead.
func (n *Node) lastWord(session uint64) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.spoke[session]; ok {
		return at
	}
	return n.ledSince
}
