package node

import (
	"sync"

	"dfs/cluster"
)

// hints is what is believed of a peer beside the facts.
type hints struct {
	seen     cluster.State
	stored   int64
	capacity int64
	load     float64
	bad      uint64 // replicas that wait to be healed
	damaged  uint64 // of those, hopeless
	free     int64  // bytes left on the disk of its log and state; 0 unknown
	trouble  string
	unled    bool   // it does not reach the leader
	misses   uint64 // members that others hear, and it does not
}

// roster is who the members are and what is believed of them. It is the address book of the transport and the source
// of every cluster.View. Safe for concurrent use.
type roster struct {
	self cluster.PeerID

	mu      sync.Mutex
	index   uint64 // of the newest facts
	members map[cluster.PeerID]cluster.Member
	voters  map[cluster.PeerID]bool
	addrs   map[cluster.PeerID]string // where members were found, newer than the facts
	hints   map[cluster.PeerID]hints
	parting map[cluster.PeerID]int // no members any more; ticks until their links are cut
}

// partingTicks is how long a peer that was removed is still spoken to: it must learn that it was.
const partingTicks = 8

func newRoster(self cluster.PeerID, known []cluster.Member) *roster {
	r := &roster{
		self:   self,
		voters: map[cluster.PeerID]bool{},
		addrs:  map[cluster.PeerID]string{},
		hints:  map[cluster.PeerID]hints{},

		parting: map[cluster.PeerID]int{},
	}
	r.setMembers(0, known)
	return r
}

// setMembers replaces the facts.
func (r *roster) setMembers(index uint64, ms []cluster.Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.members {
		r.parting[id] = partingTicks
	}
	r.index = index
	r.members = make(map[cluster.PeerID]cluster.Member, len(ms))
	for _, m := range ms {
		r.members[m.ID] = m
		delete(r.parting, m.ID)
	}
}

// tick lets time pass, and reports whether links are to be cut.
func (r *roster) tick() (cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, left := range r.parting {
		if left--; left <= 0 {
			delete(r.parting, id)
			cut = true
		} else {
			r.parting[id] = left
		}
	}
	return cut
}

func (r *roster) setVoters(ids []cluster.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.voters)
	for _, id := range ids {
		r.voters[id] = true
	}
}

// found says that a peer was met at addr.
func (r *roster) found(id cluster.PeerID, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[id].Addr != addr {
		r.addrs[id] = addr
	} else {
		delete(r.addrs, id)
	}
}

func (r *roster) hint(all map[cluster.PeerID]hints) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hints = all
}

// allHints returns what is believed of each member. It is not to be changed.
func (r *roster) allHints() map[cluster.PeerID]hints {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hints
}

// addr is the transport's address book.
func (r *roster) addr(id cluster.PeerID) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.addrs[id]; a != "" {
		return a, true
	}
	m, ok := r.members[id]
	return m.Addr, ok && m.Addr != ""
}

// isMember reports whether a peer belongs to the cluster as far as this one knows, or did a moment ago. Before it knows anyone
// (it has just joined), whoever has a certificate does.
func (r *roster) isMember(id cluster.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.members[id]
	return ok || len(r.members) == 0 || r.parting[id] > 0
}

func (r *roster) member(id cluster.PeerID) (cluster.Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[id]
	return m, ok
}

// view returns what is believed now.
func (r *roster) view() cluster.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	peers := make([]cluster.Peer, 0, len(r.members))
	for id, m := range r.members {
		h, known := r.hints[id]
		p := cluster.Peer{Member: m, Voter: r.voters[id], Seen: h.seen, Stored: h.stored, Load: h.load, Trouble: h.trouble}
		if h.capacity > 0 {
			p.Capacity = h.capacity
		}
		switch {
		case id == r.self:
			p.Seen = cluster.Alive
		case !known:
			p.Seen = cluster.Suspect
		}
		p.Reserve = p.Capacity / 100
		peers = append(peers, p)
	}
	return cluster.NewView(r.self, r.index, peers)
}

// replicas returns how many replicas of all members wait to be healed, and how many of those are hopeless.
func (r *roster) replicas() (bad, damaged uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.members {
		bad, damaged = bad+r.hints[id].bad, damaged+r.hints[id].damaged
	}
	return bad, damaged
}

// ids returns the members' ids.
func (r *roster) ids() []cluster.PeerID {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]cluster.PeerID, 0, len(r.members))
	for id := range r.members {
		out = append(out, id)
	}
	return out
}
