package gossip

import (
	"slices"
	"time"

	"github.com/hashicorp/memberlist"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// delegate is what memberlist calls, partly under its own lock: nothing here waits or calls it back.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.EventDelegate = delegate{}
	_ memberlist.AliveDelegate = delegate{}
	_ memberlist.PingDelegate  = delegate{}
)

func (d delegate) NodeMeta(limit int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	if b := d.g.report.append(nil); len(b) <= limit {
		return b
	}
	return nil
}

// NotifyAlive refuses nodes that are no members.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	id, err := cluster.ParsePeerID(n.Name)
	if err != nil {
		return err
	}
	if id != d.g.o.Self && !slices.Contains(d.g.o.Members(), id) {
		return fault.New("gossip", fault.Refused, "%s is no member", id.Short())
	}
	return nil
}

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.note(n, true) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.note(n, true) }
func (d delegate) NotifyLeave(n *memberlist.Node)  { d.note(n, false) }

func (d delegate) note(n *memberlist.Node, up bool) {
	if id, err := cluster.ParsePeerID(n.Name); err == nil {
		d.g.note(id, up, n.Meta)
	}
}

func (d delegate) AckPayload() []byte { return nil }

func (d delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	if id, err := cluster.ParsePeerID(n.Name); err == nil {
		d.g.pong(id, rtt)
	}
}

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}
