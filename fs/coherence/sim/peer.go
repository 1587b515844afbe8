package sim

import (
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/lease"
	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// peer is one machine: a replica that follows the log, its end of the lease, and, if it has a mount, the daemon that
// answers a kernel. What it decides with is the real thing: lease.Holder and coherence.Mount.
type peer struct {
	s       *sim
	n       int
	id      cluster.PeerID
	session uint64
	rate    float64 // of this machine's clock
	offset  time.Duration
	box     inbox // of messages; frozen with the process
	thaw    gate

	term    uint64
	leader  int // -1: not known
	leads   *leader
	applied uint64
	known   uint64 // committed, as far as heard
	news    gate   // known has grown
	behind  bool   // the log that is missing here is nowhere any more

	early     *applied // what is prepared
	earlyOf   *leader
	earlyTold bool // and told to be taken in

	holder  *lease.Holder
	mount   *coherence.Mount // nil: no mount here
	kernel  *kernel
	look    gate // readers that wait look again
	work    gate
	held    bool
	drop    bool
	dropAt  time.Duration // the caches are dropped
	until   time.Duration
	watched time.Duration    // the newest end of a lease that the guard was told of
	count   map[meta.Ino]int // look-ups answered or about to be
	files   map[meta.Ino]*file
	calls   map[uint64]*outcome // proposals under way, and what came of them; nil: not known yet
	seq     uint64
	tail    tail
	losses  int                         // leases lost
	sent    map[uint64]coherence.Notify // not come back from the kernel
}

func newPeer(s *sim, n int, mounted bool) *peer {
	p := &peer{
		s: s, n: n, id: cluster.PeerID{byte(n + 1)}, session: uint64(n + 1), leader: -1,
		rate:   1 + (s.rng.Float64()-0.5)*0.045,
		offset: s.between(0, time.Hour),
		holder: lease.NewHolder(mounted, uint64(n)*1000+1),
		count:  map[meta.Ino]int{}, files: map[meta.Ino]*file{}, calls: map[uint64]*outcome{}, sent: map[uint64]coherence.Notify{},
	}
	if mounted {
		p.mount = coherence.NewMount(p.session, 0, !s.o.OldKernel)
		p.kernel = newKernel(p)
	}
	return p
}

// clock is this machine's CLOCK_BOOTTIME.
func (p *peer) clock() time.Duration {
	return p.offset + time.Duration(float64(p.s.now)*p.rate)
}

// pass holds a process of the daemon up while the daemon is frozen.
func (p *peer) pass() {
	for p.box.frozen {
		p.s.wait(&p.thaw)
	}
}

// rest is a sleep inside the daemon.
func (p *peer) rest(d time.Duration) {
	p.s.sleep(d)
	p.pass()
}

// step is some work of the daemon: mostly little.
func (p *peer) step() {
	d := p.s.between(0, 50*time.Microsecond)
	if p.s.chance(16) {
		d = p.s.between(0, 5*time.Millisecond)
	}
	p.rest(d)
}

func (p *peer) freeze() {
	p.s.note("peer %d freezes", p.n)
	p.box.frozen = true
}

func (p *peer) unfreeze() {
	if !p.box.frozen {
		return
	}
	p.s.note("peer %d goes on", p.n)
	p.box.frozen = false
	p.s.open(&p.thaw)
	kept := p.box.kept
	p.box.kept = nil
	for _, take := range kept {
		take()
	}
}

// hear takes the word that there is a term, and, unless it is -1, who leads it.
func (p *peer) hear(term uint64, leader int) {
	if term < p.term {
		return
	}
	if term > p.term {
		p.term, p.leader = term, -1
		if p.leads != nil && p.leads.term < term {
			p.leads = nil
		}
	}
	if leader >= 0 && leader != p.leader {
		p.leader = leader
		p.holder.LeaderChanged()
		p.s.open(&p.work)
	}
}

// deliver says that the log is committed up to index.
func (p *peer) deliver(index uint64) {
	if index > p.known {
		p.known = index
		p.s.open(&p.news)
	}
}

// follow applies the log.
func (p *peer) follow() {
	for {
		for p.applied >= p.known {
			p.s.wait(&p.news)
			p.pass()
		}
		p.step()
		if p.behind && p.known > p.applied+1 {
			p.install()
		}
		if p.applied >= p.known {
			continue
		}
		a := p.s.world.log[p.applied]
		if p.early != nil && p.early != a {
			p.mount.Unprepare()
			p.s.open(&p.look)
		}
		p.early = nil
		p.applied++
		p.answer(a)
		if p.mount != nil {
			did := a.did
			did.Refused = did.Refused && p.s.o.Break != AnswerRefusals
			if p.s.o.Break == ForgetParents {
				did.Attrs = slices.DeleteFunc(slices.Clone(did.Attrs), func(i meta.Ino) bool { return i < firstIno })
			}
			p.s.note("mount %d applies %d, taken %v", p.n, p.applied, p.mount.Taken())
			p.mount.Apply(did)
		}
		p.s.open(&p.look)
		p.s.open(&p.work)
	}
}

// prepare takes an entry that may be committed or not.
func (p *peer) prepare(l *leader, a *applied) {
	if p.mount == nil || p.term != l.term || p.behind || a.did.Index != p.applied+1 || p.known > p.applied {
		return
	}
	p.early, p.earlyOf, p.earlyTold = a, l, false
	p.s.note("mount %d prepares %d", p.n, a.did.Index)
	p.mount.Prepare(a.did)
	p.s.open(&p.look)
	p.s.open(&p.work)
}

// tellEarly tells the leader what is taken in and not known to be committed.
func (p *peer) tellEarly() {
	if p.early == nil || p.earlyTold || !p.mount.Early() || p.term != p.earlyOf.term {
		return
	}
	e, ok := p.holder.Early(p.clock(), p.early.did.Index, p.earlyOf.term)
	if p.earlyTold = ok; !ok {
		return
	}
	l := p.earlyOf
	p.s.send(p.n, l.p.n, func() {
		if l.p.leads == l {
			l.table.Early(l.p.clock(), p.id, e)
			l.act()
		}
	})
}

// outcome is the answer to a proposal, known from an entry that may repeat the one that did it.
type outcome struct {
	did   *applied
	index uint64
}

// answer takes an entry's result, if it was proposed here.
func (p *peer) answer(a *applied) {
	if known, mine := p.calls[a.seq]; !mine || known != nil || a.session != p.session {
		return
	}
	if a.repeat != nil {
		p.calls[a.seq] = &outcome{a.repeat, a.did.Index}
	} else {
		p.calls[a.seq] = &outcome{a, a.did.Index}
	}
}

// install replaces the state by a snapshot of everything this peer has heard to be committed.
func (p *peer) install() {
	p.behind = false
	p.s.note("peer %d installs a snapshot of %d", p.n, p.known)
	for _, a := range p.s.world.log[p.applied:p.known] {
		if !p.s.o.Machine { // else it asks again
			p.answer(a)
		}
	}
	p.applied = p.known
	p.holder.Installed(p.applied)
	p.early = nil
	if p.mount != nil {
		p.mount.Reset(p.applied)
		p.lose()
	}
	p.s.open(&p.look)
}

// granted takes the leader's answer to a renewal.
func (p *peer) granted(g lease.Grant) {
	p.holder.Granted(p.clock(), g)
	p.leased()
	p.release(g.Released)
}

// leased looks where the lease stands.
func (p *peer) leased() {
	if p.mount == nil {
		return
	}
	switch p.holder.State(p.clock()) {
	case lease.Held:
		if !p.drop {
			p.held, p.until, p.watched = true, p.holder.Until(), p.holder.Until()
			p.mount.Leased()
			p.s.open(&p.look)
		}
	case lease.Lost:
		if p.held || !p.drop {
			p.s.note("peer %d lost its lease; its kernel owes %v; taken in %v of %d", p.n, p.owes(), p.mount.Taken(), p.applied)
			for _, c := range p.s.clients {
				if c.doing != nil {
					p.s.note("%v, so far %v", c.doing, c.doing.saw)
				}
			}
			p.losses++
			p.lose()
		}
	}
}

// lose stops the answers. Those that were given a moment ago must land before the caches are dropped, or they would
// survive that.
func (p *peer) lose() {
	p.held, p.until, p.drop = false, 0, true
	p.dropAt = p.clock() + coherence.DeliverySlack
	if p.s.o.OldKernel {
		p.dropAt += coherence.OldKernelValidity
	}
	if p.s.o.Break == DropAtOnce {
		p.dropAt = 0
	}
	p.s.open(&p.work)
}

func (p *peer) release(seen lease.Seen) {
	p.holder.Release(lease.Release{Released: seen})
	if p.mount != nil {
		p.mount.Release(p.holder.Released())
	}
	p.s.open(&p.look)
}

// run is the loop of Driver.Run and of the replica's reports.
func (p *peer) run() {
	var told lease.Seen
	for {
		p.s.waitFor(&p.work, 20*time.Millisecond)
		p.pass()
		now := p.clock()
		seen := lease.NewSeen(p.applied, nil)
		if p.mount != nil {
			p.leased()
			if p.s.o.Break != NoHold && p.s.o.Break != WaitForLocks {
				p.mount.Tick(now)
			}
			p.mount.Sweep(now)
			p.dropCaches()
			for _, n := range p.mount.Notifies() {
				p.s.start(func() { p.notify(n) })
			}
			seen = p.mount.Taken()
			p.tellEarly()
		}
		if seen.Prefix != told.Prefix || !slices.Equal(seen.Except, told.Except) {
			told = seen
			p.holder.Took(seen, nil)
		}
		if p.leader < 0 {
			continue
		}
		if r, due := p.holder.Report(p.clock()); due {
			to := p.s.peers[p.leader]
			p.s.send(p.n, to.n, func() {
				if l := to.leads; l != nil {
					l.table.Reported(to.clock(), p.id, r)
					l.act()
				}
			})
		}
	}
}

// notify tells the kernel one thing, however long it takes. An inode that the kernel does not know may be in a reply
// on its way.
func (p *peer) notify(n coherence.Notify) {
	p.step()
	if p.s.o.Break != NeverAgain {
		p.mount.Begun(n.ID)
	}
	if p.s.o.Break == AcknowledgeEarly {
		p.mount.Done(n.ID)
	}
	if p.s.o.Break == EpochAlways && n.Kind == coherence.InvalEntry && !p.s.o.OldKernel {
		p.kernel.epoch++
		p.mount.Done(n.ID)
		p.s.open(&p.work)
		return
	}
	p.sent[n.ID] = n
	p.s.note("mount %d: notify %v", p.n, n)
	p.tell(n)
	p.s.note("mount %d: notify %d is back", p.n, n.ID)
	delete(p.sent, n.ID)
	p.mount.Done(n.ID)
	p.s.open(&p.work)
}

func (p *peer) tell(n coherence.Notify) {
	for {
		p.s.travel()
		known := p.kernel.tell(n)
		p.s.travel()
		p.pass()
		if known || p.s.o.Break == NoRetry {
			return
		}
		if p.count[n.Ino] == 0 {
			return
		}
		p.rest(time.Millisecond)
	}
}

// dropCaches makes the kernel forget everything after the lease was lost, and asks for another.
func (p *peer) dropCaches() {
	if !p.drop || p.clock() < p.dropAt {
		return
	}
	if !p.s.o.OldKernel {
		p.kernel.epoch++
	}
	var inos []meta.Ino
	for ino := range p.count {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	for _, ino := range inos {
		p.kernel.invalInode(ino, false)
	}
	p.s.start(func() {
		for _, ino := range inos {
			p.s.sleep(p.s.between(0, 20*time.Millisecond))
			p.pass()
			p.kernel.invalInode(ino, true)
		}
	})
	p.drop = false
	p.mount.Dropped()
	p.holder.State(p.clock())
	p.holder.Rejoin()
}

// guard is a process of its own: it goes on while the daemon is frozen. It is woken late.
func (p *peer) guard() {
	for {
		expire, wait := coherence.GuardDue(p.clock(), p.watched)
		if expire {
			p.kernel.epoch++
		}
		p.s.sleep(wait + p.s.between(0, coherence.GuardMargin/2))
	}
}

// owes lists the notifies that have not come back.
func (p *peer) owes() (all []coherence.Notify) {
	for _, n := range p.sent {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b coherence.Notify) int { return int(int64(a.ID - b.ID)) })
	return all
}
