package node

import (
	"context"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/lease"
	"dfs/cluster/state"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

type seen = lease.Seen

// follower hears what each entry changed, on the applying goroutine.
type follower struct{ n *Node }

// Applied implements state.Follower.
func (f follower) Applied(e state.Applied) {
	n := f.n
	f.Prepared(e)
	for _, c := range e.Changes {
		switch what := c.What.(type) {
		case *meta.Change:
			if n.alone != nil {
				n.alone.Applied(*what)
			}
		case *state.Facts:
			if what.Members {
				if err := n.readMembers(); err != nil {
					n.log.Error("members cannot be read", "err", err)
				}
			}
		}
	}
}

// Prepared implements state.Foreseer.
func (f follower) Prepared(e state.Applied) {
	n := f.n
	n.entry = n.entry[:0]
	if e.Refused {
		n.entry = append(n.entry, meta.Change{Index: e.Index, Refused: true})
	}
	for _, c := range e.Changes {
		if what, ok := c.What.(*meta.Change); ok {
			n.entry = append(n.entry, *what)
		}
	}
	if len(n.entry) == 0 {
		n.entry = append(n.entry, meta.Change{Index: e.Index})
	}
}

// Reset implements state.Follower; the group says the same to reset.
func (follower) Reset(uint64) {}

// applied is called after every entry, those without proposals too, in order.
func (n *Node) applied(index uint64) {
	cs := n.entry
	n.entry = n.entry[:0]
	if len(cs) == 0 {
		cs = []meta.Change{{Index: index}}
	}
	n.driver.Applied(cs...)
	if n.fs != nil {
		n.fs.Applied(cs...)
	}
	n.reached.grow(index)
}

// prepared is called after the next entry was prepared.
func (n *Node) prepared(id uint64) {
	n.driver.Prepared(id, n.entry...)
	n.entry = n.entry[:0]
}

// reset is called after a snapshot was installed.
func (n *Node) reset(index uint64) {
	n.entry = nil
	n.session.skips.Add(1)
	if err := n.readMembers(); err != nil {
		n.log.Error("members cannot be read", "err", err)
	}
	if n.alone != nil {
		if err := n.alone.Reset(); err != nil {
			n.log.Error("what this mount has to itself cannot be read", "err", err)
		}
	}
	n.driver.Reset(index)
	if n.fs != nil {
		n.fs.Reset()
	}
	n.reached.grow(index)
}

// readMembers brings the roster up to the facts.
func (n *Node) readMembers() error {
	var ms []cluster.Member
	err := n.store.facts(func(v state.View) (err error) {
		ms, err = v.Members()
		return err
	})
	if err != nil || len(ms) == 0 { // a peer that has just joined knows more than its empty state
		return err
	}
	n.roster.setMembers(n.machine.Applied(), ms)
	n.watchMembership(ms)
	return nil
}

// note is this peer's word to the leader. What the mount holds is read after what it has taken in, so that the word is
// never older than what it is about.
func (n *Node) note() note {
	w := note{Session: n.session.id.Load(), Taken: n.driver.Taken().Prefix, Synced: n.synced.Load(), Confirmed: n.dropped.Load(), Mounted: n.fs != nil}
	if n.fs != nil {
		if w.Held = n.fs.Held(); len(w.Held) > heldMax {
			w.Held, w.Many = nil, true
		}
	}
	return w
}

// forfeit is called when this mount's lease was lost.
func (n *Node) forfeit() {
	if n.fs != nil {
		n.fs.Forfeit()
	}
}

// opened returns what programs have open in the mount.
func (n *Node) opened() []meta.Ino {
	if n.fs == nil {
		return nil
	}
	return n.fs.Opened()
}

// leads is called when leadership comes or goes.
func (n *Node) leads(_ uint64, leading bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.readmits = map[cluster.PeerID]*readmission{}
	n.words, n.spoke, n.ledSince = map[cluster.PeerID]repair.Word{}, map[uint64]time.Time{}, time.Now()
	n.leading.Store(leading)
}

// reported takes a peer's word, on the leader.
func (n *Node) reported(from cluster.PeerID, b []byte) {
	w, err := decodeNote(b)
	if err != nil {
		return // a peer that has not begun yet has nothing to say
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spoke[w.Session] = time.Now()
	session := w.Session
	if w.Many {
		session = 0 // nothing is reaped on the word of nobody
	}
	n.words[from] = repair.Word{
		Peer: from, Session: session, Taken: w.Taken, Synced: w.Synced, Dropped: w.Confirmed, Held: slices.Clone(w.Held),
	}
}

func (n *Node) allWords() []repair.Word {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]repair.Word, 0, len(n.words))
	for _, w := range n.words {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b repair.Word) int { return a.Peer.Compare(b.Peer) })
	return out
}

// sessions returns the sessions there are, by peer.
func (n *Node) sessions(context.Context) (all []state.Session, err error) {
	r, at := n.machine.At(0)
	defer r.Close()
	if at == 0 {
		return nil, errFetching
	}
	return state.NewView(r).Sessions()
}
