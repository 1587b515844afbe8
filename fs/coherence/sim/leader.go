package sim

import (
	"time"

	"dfs/cluster"
	"dfs/cluster/lease"
	"dfs/fs/meta"
)

// The log is an ideal one: what a leader whom a majority can hear has appended is committed after a while, in
// order, once. What is real is who believes to be leader, for how long, and what its lease table makes of it.

// leader is one peer's time as leader of a term. It may go on believing in it after another has been elected.
type leader struct {
	p     *peer
	term  uint64
	table *lease.Table
	own   uint64 // index of the entry the term began with; 0: not committed
	busy  time.Duration
	taken map[proposal]bool // proposals of this term that are committed or on their way
}

// proposal names an op once and for all.
type proposal struct{ session, seq uint64 }

const (
	heartbeat    = 100 * time.Millisecond
	electionLo   = 1000 * time.Millisecond
	electionHi   = 1500 * time.Millisecond
	retryPropose = 250 * time.Millisecond
)

// majority reports whether p can exchange messages with a majority of peers that run, and whom term does not
// surprise.
func (s *sim) majority(p *peer, term uint64) bool {
	n := 0
	for _, q := range s.peers {
		both := q == p || s.reaches(p.n, q.n) && s.reaches(q.n, p.n)
		if both && !q.box.frozen && q.term <= term {
			n++
		}
	}
	return n > len(s.peers)/2
}

// elect makes p the leader of a new term, if a majority hears it.
func (s *sim) elect(p *peer) {
	term := s.term + 1
	if p.box.frozen || !s.majority(p, term) {
		return
	}
	s.term = term
	for _, q := range s.peers {
		if q == p || s.reaches(p.n, q.n) && s.reaches(q.n, p.n) && !q.box.frozen {
			q.hear(term, -1)
		}
	}
	var members []cluster.PeerID
	for _, q := range s.peers {
		members = append(members, q.id)
	}
	l := &leader{p: p, term: term, taken: map[proposal]bool{}}
	l.table = lease.NewTable(p.clock(), members, false)
	if s.o.Break == NoHoldOff {
		l.table = lease.NewTable(p.clock(), nil, false)
	}
	p.leads = l
	p.hear(term, p.n)
	s.note("peer %d leads term %d", p.n, term)
	s.append(l, &change{kind: opNone})
	s.start(func() { l.run() })
}

// append puts a change on its way into the log. It is lost if the leader is none any more when its time has come.
func (s *sim) append(l *leader, c *change) {
	id := proposal{c.session, c.seq}
	if c.kind != opNone {
		if l.taken[id] || s.done[id] && !s.o.Machine { // else the machine knows repeats
			return
		}
		l.taken[id] = true
	}
	l.busy = max(l.busy, s.now) + s.between(200*time.Microsecond, s.commitSlow)
	at, lead := l.busy, time.Duration(0) // the entry is on a majority's disks before anybody knows it
	if s.o.Early {
		lead = s.between(200*time.Microsecond, s.commitSlow)
		l.busy += lead
	}
	s.after(at-s.now, func() {
		if l.term != s.term || !s.majority(l.p, l.term) || l.p.box.frozen {
			delete(l.taken, id)
			if s.o.Early && c.kind != opNone && !l.p.box.frozen {
				l.prepare(phantom(c, s.committed+1))
			}
			return
		}
		if c.kind != opNone {
			s.done[id] = true
		}
		a := s.world.apply(c)
		if s.world.differs != nil {
			s.floors.fail("the machine differs from the world: %v", s.world.differs)
			return
		}
		if s.o.Machine {
			delete(l.taken, id)
		}
		index := a.did.Index
		s.note("%d: %v by %d, failed %v", index, c, c.session, a.failed)
		if !s.o.Early {
			s.commit(l, a)
			return
		}
		l.prepare(a)
		s.after(lead, func() { s.commit(l, a) })
	})
}

// commit lets it be known that a is committed.
func (s *sim) commit(l *leader, a *applied) {
	index := a.did.Index
	s.committed = max(s.committed, index)
	if l.term != s.term {
		return // his successor has it, and says so
	}
	if a.change.kind == opNone {
		l.own = index
	}
	l.table.Committed(l.p.clock(), index, l.own)
	for _, q := range s.peers {
		s.send(l.p.n, q.n, func() { q.deliver(index) })
	}
	l.act()
}

// prepare sends an entry to the others, most of whom can make something of it.
func (l *leader) prepare(a *applied) {
	s := l.p.s
	for _, q := range s.peers {
		if q != l.p && a.change.kind != opNone && !s.chance(5) {
			s.send(l.p.n, q.n, func() { q.prepare(l, a) })
		}
	}
}

// phantom is a change that will never be: its leader is none any more.
func phantom(c *change, index uint64) *applied {
	a := &applied{change: c, did: meta.Change{Index: index, Session: c.session}}
	if c.ino != 0 {
		a.did.Attrs = append(a.did.Attrs, c.ino)
	}
	for _, n := range []meta.Name{{Dir: c.dir, Name: c.name}, {Dir: c.dir2, Name: c.name2}} {
		if n.Dir != 0 {
			a.did.Attrs = append(a.did.Attrs, n.Dir)
			a.did.Names = append(a.did.Names, n)
		}
	}
	return a
}

// run is the leader's clockwork. It ends when the peer has heard of a later term.
func (l *leader) run() {
	s := l.p.s
	var beat time.Duration
	for l.p.leads == l {
		l.table.Tick(l.p.clock())
		l.act()
		if s.now >= beat {
			beat = s.now + heartbeat
			commit := s.committed
			if l.term != s.term {
				commit = 0 // it does not know
			}
			for _, q := range s.peers {
				s.send(l.p.n, q.n, func() {
					q.hear(l.term, l.p.n)
					q.deliver(commit)
					if term := q.term; term > l.term {
						s.send(q.n, l.p.n, func() { l.p.hear(term, -1) })
					}
				})
			}
		}
		l.p.rest(10 * time.Millisecond)
	}
}

// act carries out what the table wants.
func (l *leader) act() {
	s := l.p.s
	if l.p.leads != l || l.p.box.frozen {
		return
	}
	if n, wanted := l.table.NextRound(l.p.clock()); wanted {
		l.round(n)
	}
	for _, letter := range l.table.Letters() {
		g := letter.Grant
		to := s.find(letter.To)
		s.send(l.p.n, to.n, func() { to.granted(g) })
	}
	if seen, grown := l.table.Released(); grown {
		for _, q := range s.peers {
			s.send(l.p.n, q.n, func() { q.release(seen) })
		}
	}
}

// round asks everyone whether this is still the leader.
func (l *leader) round(n uint64) {
	s := l.p.s
	commit := s.committed
	if s.o.Break == NoQuorumRound {
		l.table.Confirmed(l.p.clock(), n, commit)
		return
	}
	if l.term != s.term {
		commit = l.own
	}
	yes := 1
	for _, q := range s.peers {
		if q == l.p {
			continue
		}
		s.send(l.p.n, q.n, func() {
			if q.term > l.term {
				return
			}
			s.send(q.n, l.p.n, func() {
				if yes++; yes == len(s.peers)/2+1 && l.p.leads == l {
					l.table.Confirmed(l.p.clock(), n, commit)
					l.act()
				}
			})
		})
	}
}

// watchLeader elects another leader when the one there is has not been heard for long.
func (s *sim) watchLeader() {
	lost := s.now
	patience := s.between(electionLo, electionHi)
	for {
		s.sleep(50 * time.Millisecond)
		for _, p := range s.peers {
			if l := p.leads; l != nil && l.term == s.term && !p.box.frozen && s.majority(p, l.term) {
				lost = s.now
			}
		}
		if s.now-lost > patience {
			s.elect(s.peers[s.rng.IntN(len(s.peers))])
			patience = s.between(electionLo, electionHi)
		}
	}
}
