package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// A peer that was removed learns it from the log, if it is there. If it was away the others do not let it in any more,
// and that is all it ever hears: it must not wait for them for ever.

// watchMembership takes the members the state names now. A peer that replays the log is no member until it comes to its own
// admission, so only one that was one can cease to be.
func (n *Node) watchMembership(ms []cluster.Member) {
	self := n.id.ID()
	switch is := slices.ContainsFunc(ms, func(m cluster.Member) bool { return m.ID == self }); {
	case is:
		n.admitted = true
	case n.admitted:
		n.admitted = false
		select {
		case <-n.gone:
		default:
			close(n.gone)
		}
	}
}

// endMembership ends this peer when it is no member any more. One that left by its own wish is ended by whoever asked.
func (n *Node) endMembership(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.gone:
	}
	if err := n.markLeft(); err != nil {
		n.log.Error("the next start will not know that this peer was removed", "err", err)
	}
	if n.leaving.Load() {
		return nil
	}
	return n.removed()
}

func (n *Node) removed() error {
	return fault.Advise(fault.New("membership", fault.Refused, "this peer was removed from %s: what it kept is copied from the others", n.id.Name),
		"%s", n.startOver())
}

// startOver is the step of a peer that is a member no more.
func (n *Node) startOver() string {
	return fmt.Sprintf("rm -r %s, then dfsd join TOKEN --data %s", n.cfg.Data, n.cfg.Data)
}

// refusers returns the names of members that do not take this peer for one. That they refuse it may be a mistake: one
// that was away does not know of a peer that has joined meanwhile. It counts where nobody else takes it in.
func (n *Node) refusers() (names []string) {
	if !n.group.Status().Leader.IsZero() {
		return nil
	}
	for _, l := range n.net.Links() {
		if l.Up {
			return nil
		}
		if m, ok := n.roster.member(l.Peer); ok && l.Refused {
			names = append(names, m.Name)
		}
	}
	return names
}

func (n *Node) disowned(names []string) string {
	verb := "say"
	if len(names) == 1 {
		verb = "says"
	}
	return fmt.Sprintf("%s %s that this peer is no member of %s: it was removed, if they know better", strings.Join(names, " and "), verb, n.id.Name)
}
