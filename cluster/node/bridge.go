package node

import (
	"context"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/raft"
)

// A network may be broken between two peers only, or in one direction between them, while both hear a third. Then
//
//	what one wants of the other's store it gets from a third one's (blockstore/pool);
//	a recall takes the way over a third peer;
//	a leader that does not reach a member whom others reach hands over to a peer that reaches more.

// unledFor is how long a member must have been without this leader, and this leader without it, for it to hand over: a
// peer that has just come back is about to be reached.
const unledFor = time.Second

// bridge returns a peer that is heard here and may reach one that is not.
func (n *Node) bridge(to cluster.PeerID) (cluster.PeerID, bool) {
	fit := func(id cluster.PeerID) bool { return id != to && id != n.id.ID() && !n.net.Silent(id) }
	if lead := n.group.Status().Leader; !lead.IsZero() && fit(lead) {
		return lead, true
	}
	for _, p := range n.roster.view().Peers {
		if p.Seen == cluster.Alive && fit(p.ID) {
			return p.ID, true
		}
	}
	return cluster.PeerID{}, false
}

// unled reports whether this peer does not reach the leader, or knows of none.
func (n *Node) unled() bool {
	lead := n.group.Status().Leader
	return n.started.Load() && lead != n.id.ID() && (lead.IsZero() || n.net.Silent(lead))
}

// misses counts the members that others hear, and this peer does not.
func (n *Node) misses() (count uint64) {
	for _, p := range n.roster.view().Peers {
		if p.ID != n.id.ID() && p.Seen == cluster.Suspect {
			count++
		}
	}
	return count
}

// handOver gives leadership to a voter that misses fewer members, where a member cannot be led from here.
func (n *Node) handOver(ctx context.Context) error {
	st := n.group.Status()
	if !st.Leading || st.Joint {
		return nil
	}
	to, ok := n.handTo(st, n.roster.allHints(), n.net.Silent, time.Now())
	if !ok {
		return nil
	}
	n.log.Info("a member is not reached from here, but from others: handing over", "to", to.Short())
	return n.group.Transfer(ctx, to)
}

// handTo decides whether to hand over, and to whom. It remembers since when each member is without this leader.
func (n *Node) handTo(st raft.Status, all map[cluster.PeerID]hints, silent func(cluster.PeerID) bool, now time.Time) (to cluster.PeerID, ok bool) {
	since := map[cluster.PeerID]time.Time{}
	long, mine := false, uint64(0)
	for id, h := range all {
		if id == st.Self || h.seen == cluster.Dead || !silent(id) {
			continue
		}
		mine++
		if !h.unled {
			continue
		}
		at, known := n.unledSince[id]
		if !known {
			at = now
		}
		since[id] = at
		long = long || now.Sub(at) >= unledFor
	}
	n.unledSince = since
	if !long {
		return to, false
	}
	best := mine
	for _, id := range slices.SortedFunc(slices.Values(st.Voters), cluster.PeerID.Compare) {
		h, m := all[id], st.Match[id]
		if id != st.Self && h.seen == cluster.Alive && !h.unled && !silent(id) && m.Recent && m.Match+lagMax >= st.Commit && h.misses < best {
			to, best, ok = id, h.misses, true
		}
	}
	return to, ok
}
