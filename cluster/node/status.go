package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/fs/meta"
)

// Status implements admin.Node.
func (n *Node) Status(context.Context) (admin.Status, error) {
	v := n.roster.view()
	g := n.group.Status()
	u := n.usage()
	s := admin.Status{
		Cluster: admin.ClusterStatus{
			ID:           n.id.Cluster.String(),
			Name:         n.id.Name,
			Term:         g.Term,
			Copies:       n.rootCopies(len(v.Peers)),
			Voters:       len(g.Voters),
			VotersTarget: cluster.VotersFor(len(v.Peers)),
			Index:        g.Applied,
		},
		Self: admin.SelfStatus{
			ID:     n.id.ID().String(),
			Data:   n.cfg.Data,
			Mount:  n.cfg.Mount,
			Listen: n.net.Addr(),
		},
		Repair: admin.RepairStatus{
			ExtentsBelowTarget: u.BelowExtents,
			BytesBelowTarget:   int64(u.BelowBlocks) * 512,
			Running:            n.raising.Load(),
			Here:               n.healthOfReplicas(),
		},
	}
	bad, damaged := n.roster.replicas()
	s.Repair.BadReplicas, s.Repair.DamagedReplicas = int(bad), int(damaged)
	if n.fs != nil {
		s.PendingBytes = n.fs.Dirty()
	}
	if !g.Leader.IsZero() {
		s.Cluster.Leader = g.Leader.String()
	}
	for _, p := range v.Peers {
		if p.ID == n.id.ID() {
			s.Self.Name = p.Name
		}
		s.Peers = append(s.Peers, n.peerStatus(p))
	}
	s.Self.Ready, s.Self.Reason = n.ready()
	s.Cluster.Health, s.Cluster.Reason = n.health(v, s)
	if who := n.refusers(); len(who) > 0 {
		s.Cluster.Reason = n.disowned(who)
	}
	return s, nil
}

func (n *Node) peerStatus(p cluster.Peer) admin.PeerStatus {
	return admin.PeerStatus{
		ID:            p.ID.String(),
		Name:          p.Name,
		Addr:          p.Addr,
		Zone:          p.Zone,
		State:         stateOf(p).String(),
		Voter:         p.Voter,
		StoredBytes:   p.Stored,
		CapacityBytes: p.Capacity,
		LatencyNS:     int64(n.pool.Stats(p.ID).Put),
		Trouble:       p.Trouble,
	}
}

// PeerInfo implements admin.Node.
func (n *Node) PeerInfo(_ context.Context, who string) (i admin.PeerInfo, err error) {
	p, err := n.member("peer info", who)
	if err != nil {
		return i, err
	}
	all, _, err := n.partingOf(p.ID)
	if err != nil {
		return i, err
	}
	g := n.group.Status()
	i = admin.PeerInfo{
		PeerStatus:  n.peerStatus(p),
		Host:        p.Host,
		Joined:      p.Joined,
		Leader:      p.ID == g.Leader,
		Lease:       slices.Contains(g.Holders, p.ID),
		RTTNS:       int64(n.net.RTT(p.ID)),
		HeldExtents: all.Held.Extents,
		HeldBytes:   int64(all.Held.Blocks) * blockBytes,
		OnlyExtents: all.Only.Extents,
		OnlyBytes:   int64(all.Only.Blocks) * blockBytes,
	}
	if m, ok := g.Match[p.ID]; ok {
		i.Log, i.Behind = m.Match, max(g.Last, m.Match)-m.Match
	}
	return i, nil
}

// stateOf is what to say of a member: the fact where there is one, else the belief.
func stateOf(p cluster.Peer) cluster.State {
	if p.State != cluster.Alive {
		return p.State
	}
	return p.Seen
}

// ready reports whether this peer serves reads and writes now, and else why not.
func (n *Node) ready() (bool, string) {
	v, g := n.roster.view(), n.group.Status()
	if !n.started.Load() {
		if n.logLost.Load() {
			return false, "its log has rotted; it waits for the others to admit it again"
		}
		if n.machine.Applied() == 0 && n.group.Status().First > 1 {
			return false, "fetching the state from the others"
		}
		if g.Leader.IsZero() && len(g.Voters) > 0 {
			return false, "starting: " + outOfReach(v)
		}
		return false, "starting"
	}
	if n.cfg.Mount == "" {
		if p := v.Find(g.Leader); p == nil || p.Seen == cluster.Dead {
			return false, outOfReach(v)
		}
		return true, ""
	}
	if n.unmounted.Load() {
		return false, "the drive is not mounted any more: start this peer again"
	}
	if p, ok := n.plight(); !ok {
		return false, p.why + "; " + p.state
	}
	if n.labelled.Load() {
		return false, "the mount is marked read-only for a moment yet"
	}
	return true, ""
}

// health sums a status up, worst reason first.
func (n *Node) health(v cluster.View, s admin.Status) (health, reason string) {
	if !s.Self.Ready {
		return admin.Unavailable, s.Self.Reason
	}
	if s.Cluster.Leader == "" {
		return admin.Unavailable, outOfReach(v)
	}
	var away []string
	for _, p := range v.Peers {
		switch st := stateOf(p); st {
		case cluster.Alive, cluster.Draining:
			if p.Trouble != "" {
				away = append(away, p.Name+": "+p.Trouble)
			}
		case cluster.Lost: // and removed once nothing depends on it
			away = append(away, p.Name+" is leaving")
		default:
			away = append(away, p.Name+" is "+st.String())
		}
	}
	switch {
	case len(away) > 0:
		return admin.Degraded, strings.Join(away, ", ")
	case s.Cluster.Voters != s.Cluster.VotersTarget:
		return admin.Degraded, fmt.Sprintf("%d of %d voters", s.Cluster.Voters, s.Cluster.VotersTarget)
	case s.Repair.ExtentsBelowTarget > 0:
		return admin.Degraded, fmt.Sprintf("%d extents are below their copies", s.Repair.ExtentsBelowTarget)
	case s.Repair.DamagedReplicas > 0:
		return admin.Degraded, fmt.Sprintf("%d replicas are damaged and no peer has what they lack: dfsctl fsck names the files", s.Repair.DamagedReplicas)
	case s.Repair.BadReplicas > 0:
		return admin.Degraded, fmt.Sprintf("%d replicas are rotten or missing, and being healed", s.Repair.BadReplicas)
	}
	return admin.Healthy, ""
}

// usage is the drive in numbers, zero while it cannot be read.
func (n *Node) usage() meta.Usage {
	v, err := n.store.At(0)
	if err != nil {
		return meta.Usage{}
	}
	defer v.Close()
	u, err := v.Usage()
	if err != nil {
		n.log.Warn("usage cannot be read", "err", err)
	}
	return u
}
