package lease

import (
	"slices"
	"time"

	"dfs/cluster"
)

// Table is what a leader knows of the holders, for one term. It is soft state: a new leader starts with an empty
// one and releases nothing until every member has reported, or every lease of the past has certainly run out.
// Not safe for concurrent use.
type Table struct {
	holdOff  time.Duration // until then nothing is released, unless all members have reported
	waitFor  map[cluster.PeerID]bool
	ready    bool
	own      uint64 // index of the entry this term began with; 0: not yet committed
	commit   uint64
	holders  map[cluster.PeerID]*holder
	rounds   map[uint64]round // quorum rounds under way, by number
	round    uint64
	proven   time.Duration            // until then, for certain, nobody led after this leader
	asking   map[cluster.PeerID]asked // renewals the next round will answer
	released Seen
	out      []Letter
	fresh    bool // released has grown since the last Letters
	lapsed   bool // a lease has run out, or all have that are not known, since the last Lapsed
}

// joinLag is how many entries a mount may lack to enter the wait set.
const joinLag = 1024

// holder is one mount in the wait set: nothing is released without it while it is there.
type holder struct {
	epoch   uint64
	granted bool // has or may have a running lease of this epoch
	end     time.Duration
	seen    Seen
	missing uint64        // the first committed index it has not taken in; 0 none
	since   time.Duration // for how long that has been so
}

// round is one question to a quorum, and the renewals its answer lets be granted.
type round struct {
	began  time.Duration
	asking map[cluster.PeerID]asked
}

type asked struct {
	epoch, seq uint64
	refuse     bool
}

// Letter is a grant to be sent.
type Letter struct {
	To    cluster.PeerID
	Grant Grant
}

// NewTable returns the table of a leader elected now. Members are all peers that may hold a lease of an earlier
// term. With sudden, someone may hold one who is no member any more, and the hold-off is always waited out.
func NewTable(now time.Duration, members []cluster.PeerID, sudden bool) *Table {
	t := &Table{
		holdOff: now + Length + Slack,
		waitFor: map[cluster.PeerID]bool{},
		holders: map[cluster.PeerID]*holder{},
		rounds:  map[uint64]round{},
		asking:  map[cluster.PeerID]asked{},
		proven:  now,
	}
	for _, id := range members {
		t.waitFor[id] = true
	}
	if sudden {
		t.waitFor[cluster.PeerID{}] = true // nobody reports under this name
	}
	return t
}

// Committed says that the log is committed up to index, and that the entry this term began with is own (0: not yet
// committed).
func (t *Table) Committed(now time.Duration, index, own uint64) {
	t.commit, t.own = max(t.commit, index), own
	t.advance(now)
}

// Reported takes a report.
func (t *Table) Reported(now time.Duration, from cluster.PeerID, r Report) {
	defer t.advance(now)
	delete(t.waitFor, from)
	h := t.holders[from]
	if r.Epoch == 0 { // no mount there: whatever it held it has given up
		delete(t.holders, from)
		return
	}
	if h != nil && r.Epoch > h.epoch { // it lost its lease, dropped its caches and begins again
		h = nil
	}
	if h == nil {
		if r.Seq == 0 && !r.Holding {
			return
		}
		if !r.Holding && r.Seen.Prefix+joinLag < t.commit {
			return // everyone would wait until it has caught up; it asks again
		}
		if r.Holding && t.ready {
			// It believes in a lease that is over, if this is still the leader.
			t.asking[from] = asked{r.Epoch, r.Seq, true}
			return
		}
		h = &holder{epoch: r.Epoch, granted: r.Holding, end: now + Length + Slack}
		t.holders[from] = h
	}
	if r.Epoch < h.epoch {
		return
	}
	h.seen = h.seen.union(r.Seen)
	if r.Seq == 0 {
		return
	}
	if h.granted && h.missing != 0 && now-h.since > Budget {
		return // its kernel is stuck: everyone waits for it no longer than its lease
	}
	h.end = max(h.end, now+Length+Slack)
	t.asking[from] = asked{r.Epoch, r.Seq, false}
}

// Early takes a word about entries of this table's own term, of which the leader knows that it has them.
func (t *Table) Early(now time.Duration, from cluster.PeerID, e Early) {
	if h := t.holders[from]; h != nil && h.epoch == e.Epoch && h.granted {
		h.seen = h.seen.union(NewSeen(e.Index, nil))
		t.advance(now)
	}
}

// Lacks reports whether a holder has not taken in everything up to index.
func (t *Table) Lacks(id cluster.PeerID, index uint64) bool {
	h := t.holders[id]
	return h != nil && h.seen.Prefix < index
}

// Holds reports whether nothing is released without a peer.
func (t *Table) Holds(id cluster.PeerID) bool { return t.holders[id] != nil }

// NextRound returns the number of a quorum round to begin now, if one is wanted. The caller asks the consensus core
// for a read index under that number and calls Confirmed with the answer; a round that gets none is forgotten.
func (t *Table) NextRound(now time.Duration) (number uint64, wanted bool) {
	if t.own == 0 || len(t.asking) == 0 && !t.doubt(now) {
		return 0, false
	}
	t.round++
	t.rounds[t.round] = round{now, t.asking}
	t.asking = map[cluster.PeerID]asked{}
	for n := range t.rounds {
		if n+64 < t.round {
			delete(t.rounds, n)
		}
	}
	return t.round, true
}

// doubt reports whether something is over by the clock, and nobody has confirmed since that this is still the leader.
func (t *Table) doubt(now time.Duration) bool {
	asked := t.proven
	for _, r := range t.rounds {
		if now-r.began < Resend {
			asked = max(asked, r.began)
		}
	}
	over := func(end time.Duration) bool { return now > end && asked <= end }
	if !t.ready && over(t.holdOff) {
		return true
	}
	for _, h := range t.holders {
		if over(h.end) {
			return true
		}
	}
	return false
}

// Confirmed says that a quorum, asked after the round began, still followed this leader, and that the log was
// committed up to index when it began.
func (t *Table) Confirmed(now time.Duration, number, index uint64) {
	r, known := t.rounds[number]
	if !known {
		return
	}
	t.proven = max(t.proven, r.began)
	t.advance(now)
	for from, a := range r.asking {
		if a.refuse {
			t.out = append(t.out, Letter{from, Grant{Epoch: a.epoch, Seq: a.seq, Refused: true, Released: t.released}})
			continue
		}
		h := t.holders[from]
		if h == nil || h.epoch != a.epoch {
			continue
		}
		if !h.granted && h.seen.Prefix < index {
			continue // it joins, and has not caught up: its next renewal will ask again
		}
		h.granted = true
		t.out = append(t.out, Letter{from, Grant{Epoch: a.epoch, Seq: a.seq, Released: t.released}})
	}
	delete(t.rounds, number)
}

// Tick lets time pass: leases run out, the hold-off ends.
func (t *Table) Tick(now time.Duration) { t.advance(now) }

// Letters returns the grants to be sent, and forgets them.
func (t *Table) Letters() []Letter {
	out := t.out
	t.out = nil
	slices.SortFunc(out, func(a, b Letter) int { return a.To.Compare(b.To) })
	return out
}

// Released returns what is released, and whether that has grown since it was last asked.
func (t *Table) Released() (seen Seen, grown bool) {
	grown, t.fresh = t.fresh, false
	return t.released, grown
}

// Lapsed reports whether it has become certain, since it was last asked, that some peer holds no lease.
func (t *Table) Lapsed() bool {
	was := t.lapsed
	t.lapsed = false
	return was
}

// Holders returns the peers in the wait set, sorted. Known says that no other peer can hold a lease: the hold-off is
// over.
func (t *Table) Holders() (ids []cluster.PeerID, known bool) {
	for id := range t.holders {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, cluster.PeerID.Compare)
	return ids, t.ready
}

// Behind returns the holders that have not taken in everything committed, for status and for finding a stuck one.
func (t *Table) Behind() []cluster.PeerID {
	var ids []cluster.PeerID
	for id, h := range t.holders {
		if h.seen.Prefix < t.commit {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, cluster.PeerID.Compare)
	return ids
}

// advance drops holders whose lease is proven to be over and releases what all others have taken in.
func (t *Table) advance(now time.Duration) {
	for id, h := range t.holders {
		if t.proven > h.end {
			delete(t.holders, id)
			t.lapsed = true
			continue
		}
		missing := h.seen.Prefix + 1
		if missing > t.commit {
			missing = 0
		}
		if missing != h.missing {
			h.missing, h.since = missing, now
		}
	}
	if !t.ready {
		if t.ready = t.own > 0 && (len(t.waitFor) == 0 || t.proven > t.holdOff); !t.ready {
			return
		}
		t.lapsed = true
	}
	sets := make([]Seen, 0, len(t.holders))
	for _, h := range t.holders {
		sets = append(sets, h.seen)
	}
	next := NewSeen(max(minPrefix(sets, t.commit), t.released.Prefix), t.commonExcept(sets))
	next = next.union(t.released)
	if next.Prefix > t.released.Prefix || len(next.Except) != len(t.released.Except) {
		t.released, t.fresh = next, true
	}
}

// commonExcept returns, sorted, the committed indexes above every prefix... that all sets have.
func (t *Table) commonExcept(sets []Seen) []uint64 {
	if len(sets) == 0 {
		return nil
	}
	var all []uint64
	for _, s := range sets {
		for _, i := range s.Except {
			if i <= t.commit {
				all = append(all, i)
			}
		}
		// The prefix of one holder may be an exception of another.
	}
	least := minPrefix(sets, t.commit)
	for _, s := range sets {
		for i := least + 1; i <= min(s.Prefix, t.commit) && i <= least+exceptMax; i++ {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(i uint64) bool {
		return slices.ContainsFunc(sets, func(s Seen) bool { return !s.Has(i) })
	})
}
