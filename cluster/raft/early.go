package raft

import (
	"time"

	"dfs/cluster"
	"dfs/cluster/lease"

	pb "go.etcd.io/raft/v3/raftpb"
)

// An entry on its way is prepared where it is the next to be applied: what it will change is known, if it is committed, and
// the kernel forgets that already. Then the acknowledgement of the entry and the word that it is taken in travel together, and
// a release costs no round of its own. Index and term name an entry and all before it, so the word holds for
// exactly the log in which the leader has that entry.

// appended notes what was written to the log.
func (c *Core) appended(es []*pb.Entry) {
	if len(es) == 0 {
		return
	}
	if c.early != nil && es[0].GetIndex() <= c.early.Index {
		c.drop()
	}
	c.asking(es)
	c.tail = nil
	if last := es[len(es)-1]; last.GetType() == pb.EntryNormal && len(last.GetData()) > 0 {
		c.tail = last
	}
}

// asking notes, at the leader, who waits for what was written, and whether something before it is under way.
func (c *Core) asking(es []*pb.Entry) {
	if !c.leading {
		return
	}
	if es[0].GetIndex() == c.commit+1 && len(es) == 1 {
		c.solo = c.commit + 1
	}
	if len(c.origin) == 0 {
		return
	}
	for _, e := range es {
		if e.GetType() != pb.EntryNormal {
			continue
		}
		ps, _ := readProposals(e.GetData())
		for _, p := range ps {
			from, ok := c.origin[p.Session]
			if n := len(c.asked[from]); ok && (n == 0 || c.asked[from][n-1] != e.GetIndex()) {
				c.asked[from] = append(c.asked[from], e.GetIndex())
			}
		}
	}
}

// drop says that what was prepared is not in the log any more.
func (c *Core) drop() {
	if c.early == nil {
		return
	}
	c.early, c.out.Prepare = nil, nil
	c.out.Drop = true
}

// prepare hands out the entry that was just written, if it is the next to be applied and another leads.
func (c *Core) prepare() {
	e := c.tail
	if c.tail = nil; e == nil || c.leading || e.GetIndex() != c.handed+1 || e.GetTerm() != c.term {
		return
	}
	ps, err := readProposals(e.GetData())
	if err != nil {
		return // it will be noticed when it is committed
	}
	c.preps++
	c.early, c.acks = &Prepare{ID: c.preps, Index: e.GetIndex(), Term: e.GetTerm(), Proposals: ps}, false
	out := *c.early
	c.out.Prepare = &out
}

// TookEarly says that this peer's kernel has taken in everything up to the entry that was prepared under id.
func (c *Core) TookEarly(now time.Duration, id uint64) {
	c.now = now
	if c.early != nil && c.early.ID == id && !c.early.taken {
		c.early.taken = true
		c.tellEarly()
	}
}

// tellEarly tells the leader, once the entry is acknowledged.
func (c *Core) tellEarly() {
	if e := c.early; e.taken && c.acks && !c.leading && !c.leader.IsZero() {
		if m, ok := c.holder.Early(c.now, e.Index, e.Term); ok {
			c.out.Send = append(c.out.Send, Letter{c.leader, &m})
		}
	}
}

// tookEarly takes such a word at the leader. Only of its own term does it know the log by heart.
func (c *Core) tookEarly(from cluster.PeerID, e lease.Early) {
	if c.leading && e.Term == c.term {
		c.prompt[from] = true
		c.table.Early(c.now, from, e)
	}
}
