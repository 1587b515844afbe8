package raft

import (
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/lease"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Later is how long a message waits for company whose receiver hardly needs it: that the log is committed further, where the
// changes were taken in before; that something is released, where nobody waits for it; an acknowledgement of nothing new.
// The next message that cannot wait takes them with it, so that a stream of ops has one message each way for each. Who waits for
// any of it all the same says Hurry. Soon is for a peer whose own op is committed and not yet released.
const (
	Later = 20 * time.Millisecond
	soon  = time.Millisecond
)

// company is what waits for one peer. Of each kind the newest says all.
type company struct {
	to      cluster.PeerID
	due     time.Duration
	app     *pb.Message // MsgApp without entries
	resp    *pb.Message // MsgAppResp that acknowledges nothing new
	release *lease.Release
}

// later returns what waits for a peer, making it.
func (c *Core) later(to cluster.PeerID) *company {
	n := slices.IndexFunc(c.waits, func(w *company) bool { return w.to == to })
	if n < 0 {
		n = len(c.waits)
		c.waits = append(c.waits, &company{to: to, due: c.now + Later})
	}
	w := c.waits[n]
	if len(c.asked[to]) > 0 {
		w.due = min(w.due, c.now+soon)
	}
	return w
}

// Hurry has the leader send what waits for this peer: somebody here waits for a release.
func (c *Core) Hurry(now time.Duration) {
	c.now = now
	if !c.leading && !c.leader.IsZero() {
		c.out.Send = append(c.out.Send, Letter{c.leader, &lease.Hurry{}})
	}
}

// take returns what waits for a peer, in letters, and forgets it; it leaves out what first makes needless.
func (c *Core) take(to cluster.PeerID, first *pb.Message) (letters []Letter) {
	n := slices.IndexFunc(c.waits, func(w *company) bool { return w.to == to })
	if n < 0 {
		return nil
	}
	w := c.waits[n]
	c.waits = slices.Delete(c.waits, n, n+1)
	covers := func(old *pb.Message, t pb.MessageType) bool {
		return first != nil && first.GetType() == t && first.GetTerm() == old.GetTerm() &&
			first.GetCommit() >= old.GetCommit() && first.GetIndex() >= old.GetIndex() && !first.GetReject()
	}
	if m := w.app; m != nil && !covers(m, pb.MsgApp) {
		letters = append(letters, Letter{to, &message{m}})
	}
	if m := w.resp; m != nil && !covers(m, pb.MsgAppResp) {
		letters = append(letters, Letter{to, &message{m}})
	}
	if w.release != nil {
		letters = append(letters, Letter{to, w.release})
	}
	return letters
}

// Flush sends what has waited long enough. It is to be called at Effects.Wake.
func (c *Core) Flush(now time.Duration) {
	c.now = now
	for _, w := range slices.Clone(c.waits) {
		if w.due > now {
			continue
		}
		if w.app != nil && c.leading && c.table.Lacks(w.to, c.commit) {
			delete(c.prompt, w.to) // it was trusted to take the changes in early, and did not
		}
		c.out.Send = append(c.out.Send, c.take(w.to, nil)...)
	}
}

// post sends a letter, after what waits for its receiver.
func (c *Core) post(to cluster.PeerID, m *pb.Message) {
	c.out.Send = append(c.out.Send, c.take(to, m)...)
	c.out.Send = append(c.out.Send, Letter{to, &message{m}})
}

// mayWait reports whether nobody needs m soon, and keeps it for later if so.
func (c *Core) mayWait(to cluster.PeerID, m *pb.Message) bool {
	switch m.GetType() {
	case pb.MsgApp:
		if len(m.GetEntries()) > 0 || !c.leading || c.changing() {
			return false
		}
		if c.table.Lacks(to, m.GetCommit()) && !(c.prompt[to] && c.solo == m.GetCommit()) {
			return false
		}
		c.later(to).app = m
	case pb.MsgAppResp:
		if m.GetReject() || m.GetIndex() > c.acked {
			if !m.GetReject() {
				c.acked = m.GetIndex()
			}
			return false
		}
		c.later(to).resp = m
	default:
		return false
	}
	return true
}

// changing reports whether the membership is about to change, or just has. If this leader died before the others knew that
// it is committed, nothing would go on without him.
func (c *Core) changing() bool {
	return c.change != nil || len(c.conf.state.GetVotersOutgoing()) > 0 || c.confAt == c.commit
}

// wake returns when Flush is to be called, 0 never.
func (c *Core) wake() (at time.Duration) {
	for _, w := range c.waits {
		if at == 0 || w.due < at {
			at = w.due
		}
	}
	return at
}
