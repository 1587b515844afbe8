package raft

import (
	"encoding/binary"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/net/wire"
)

// Took says what this peer's kernel has taken in.
func (c *Core) Took(now time.Duration, seen lease.Seen) {
	c.now = now
	c.taken = seen
	c.tell()
}

// Note makes a note travel with this peer's next report; the leader gets it as Told. At most 48 KiB.
func (c *Core) Note(now time.Duration, note []byte) {
	c.now = now
	c.note = note
	c.tell()
}

// Rejoin asks for a lease anew after it was lost and every cache has been dropped.
func (c *Core) Rejoin(now time.Duration) {
	c.now = now
	c.holder.State(now)
	c.holder.Rejoin()
}

// Resign gives the lease up for good.
func (c *Core) Resign(now time.Duration) {
	c.now = now
	c.holder.Resign()
}

// tell makes a report of what was taken in. Entries without proposals change nothing, so they always are.
func (c *Core) tell() {
	if n := len(c.empties); n > 1<<10 {
		c.empties = slices.Delete(c.empties, 0, n-1<<10) // nothing is reported here: no mount
	}
	all := append(slices.Clone(c.taken.Except), c.empties...)
	slices.Sort(all)
	seen := lease.NewSeen(c.taken.Prefix, slices.Compact(all))
	for len(c.empties) > 0 && c.empties[0] <= seen.Prefix {
		c.taken.Prefix = max(c.taken.Prefix, min(seen.Prefix, c.empties[0]))
		c.empties = c.empties[1:]
	}
	c.taken.Prefix = max(c.taken.Prefix, seen.Prefix)
	c.holder.Took(seen, c.note)
	c.note = nil
}

// receiveLease takes a message about leases.
func (c *Core) receiveLease(from cluster.PeerID, kind wire.Kind, body wire.Body) error {
	switch kind {
	case lease.KindReport:
		var m lease.Report
		if err := body.Into(&m); err != nil {
			return err
		}
		c.reported(from, m)
	case lease.KindGrant:
		var m lease.Grant
		if err := body.Into(&m); err != nil {
			return err
		}
		c.holder.Granted(c.now, m)
	case lease.KindEarly:
		var m lease.Early
		if err := body.Into(&m); err != nil {
			return err
		}
		c.tookEarly(from, m)
	case lease.KindHurry:
		var m lease.Hurry
		if err := body.Into(&m); err != nil {
			return err
		}
		c.out.Send = append(c.out.Send, c.take(from, nil)...)
		if c.leading {
			c.urged[from] = true
		}
	case lease.KindRelease:
		var m lease.Release
		if err := body.Into(&m); err != nil {
			return err
		}
		c.holder.Release(m)
	default:
		return fault.New("raft message", fault.Invalid, "kind %s", kind)
	}
	return nil
}

// reported takes a peer's report at the leader.
func (c *Core) reported(from cluster.PeerID, r lease.Report) {
	if !c.leading || !slices.Contains(c.conf.peers, from) {
		return
	}
	c.table.Reported(c.now, from, r)
	if len(r.Note) > 0 {
		c.out.Reports = append(c.out.Reports, Told{from, r.Note})
	}
	if r.Seq == 0 && from != c.o.Self {
		released, _ := c.released()
		c.later(from).release = &lease.Release{Released: released}
	}
}

// released returns what the table says, without taking its word that it has grown.
func (c *Core) released() (lease.Seen, bool) {
	seen, grown := c.table.Released()
	if grown {
		c.broadcast(seen)
	}
	return seen, grown
}

// broadcast tells every peer what is released.
func (c *Core) broadcast(seen lease.Seen) {
	m := &lease.Release{Released: seen}
	c.holder.Release(*m)
	for _, id := range c.conf.peers {
		if id == c.o.Self {
			continue
		}
		c.later(id).release = m
		if left := slices.DeleteFunc(c.asked[id], seen.Has); len(left) < len(c.asked[id]) || c.urged[id] {
			c.asked[id] = left
			delete(c.urged, id)
			c.out.Send = append(c.out.Send, c.take(id, nil)...)
		}
	}
}

// lease carries reports to the leader, and at the leader grants and releases to everyone.
func (c *Core) lease() {
	c.holder.State(c.now)
	if !c.leader.IsZero() {
		if r, due := c.holder.Report(c.now); due {
			if c.leading {
				c.reported(c.o.Self, r)
			} else {
				c.out.Send = append(c.out.Send, Letter{c.leader, &r})
			}
		}
	}
	if !c.leading {
		return
	}
	if c.own > 0 {
		// A round is a heartbeat to everyone: where they are many, many share one.
		if gap := min(time.Duration(len(c.conf.peers))*time.Millisecond, Tick); c.now-c.leased >= gap {
			if n, wanted := c.table.NextRound(c.now); wanted {
				c.leased = c.now
				c.begin(&round{lease: n})
			}
		}
	}
	if c.table.Lapsed() {
		c.out.Lapsed = true
	}
	for _, l := range c.table.Letters() {
		if l.To == c.o.Self {
			c.holder.Granted(c.now, l.Grant)
		} else {
			c.out.Send = append(c.out.Send, Letter{l.To, &l.Grant})
		}
	}
	c.released()
}

// release completes the proposals that every mount has taken in.
func (c *Core) release() {
	if len(c.waiting) == 0 {
		return
	}
	seen := c.holder.Released()
	c.waiting = slices.DeleteFunc(c.waiting, func(u unreleased) bool {
		if !seen.Has(u.index) {
			return false
		}
		c.out.Released = append(c.out.Released, u.seq)
		return true
	})
}

// Forget says that nobody waits any more for the release of a proposal.
func (c *Core) Forget(seq uint64) {
	c.waiting = slices.DeleteFunc(c.waiting, func(u unreleased) bool { return u.seq == seq })
}

// Lease returns where this peer's lease stands.
func (c *Core) Lease(now time.Duration) (lease.State, time.Duration) {
	return c.holder.State(now), c.holder.Until()
}

// Released returns what is known to be released.
func (c *Core) Released() lease.Seen { return c.holder.Released() }

// ReadIndex asks for a point such that reading there misses nothing that happened before. The answer comes as a
// ReadPoint with the token; it may take until there is a leader.
func (c *Core) ReadIndex(now time.Duration) (token uint64) {
	c.now = now
	c.tokens++
	c.reads = append(c.reads, c.tokens)
	return c.tokens
}

// Unread says that nobody waits any more for a ReadPoint.
func (c *Core) Unread(token uint64) {
	drop := func(t uint64) bool { return t == token }
	c.reads = slices.DeleteFunc(c.reads, drop)
	for _, r := range c.rounds {
		r.tokens = slices.DeleteFunc(r.tokens, drop)
	}
}

// startRounds asks one question for all readers that wait.
func (c *Core) startRounds() {
	if len(c.reads) == 0 || c.leader.IsZero() || len(c.rounds) >= roundsMax || c.leading && c.own == 0 {
		return
	}
	c.begin(&round{tokens: c.reads})
	c.reads = nil
}

func (c *Core) begin(r *round) {
	c.roundSeq++
	ctx := binary.BigEndian.AppendUint64(nil, c.o.Session)
	ctx = binary.BigEndian.AppendUint64(ctx, c.roundSeq)
	r.ctx, r.began, r.term = string(ctx), c.now, c.term
	c.rounds = append(c.rounds, r)
	c.node.ReadIndex(ctx)
}

// confirmed takes the answer to a round.
func (c *Core) confirmed(ctx string, index uint64) {
	n := slices.IndexFunc(c.rounds, func(r *round) bool { return r.ctx == ctx })
	if n < 0 {
		return
	}
	r := c.rounds[n]
	c.rounds = slices.Delete(c.rounds, n, n+1)
	if r.lease > 0 && c.leading && r.term == c.term {
		c.table.Confirmed(c.now, r.lease, index)
	}
	for _, token := range r.tokens {
		c.out.Reads = append(c.out.Reads, ReadPoint{token, index})
	}
}

// retryRounds asks anew what got no answer; lease rounds are simply over, the next renewal begins another.
func (c *Core) retryRounds() {
	c.rounds = slices.DeleteFunc(c.rounds, func(r *round) bool {
		if r.term == c.term && c.now-r.began < roundRetry {
			return false
		}
		c.reads = append(c.reads, r.tokens...)
		return true
	})
}
