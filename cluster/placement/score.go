package placement

import (
	"slices"
	"time"

	"dfs/cluster"
)

const (
	// queueBytes in flight to a peer count as much as one more latency: what is sent now waits behind them.
	queueBytes = 4 << 20
	// latencyWeight is what latency may add to a stored share in Balanced: a peer that is far slower than the
	// others is taken to be up to this much fuller than it is.
	latencyWeight = 0.25
	// localWeight is what this peer is taken to be emptier than it is for a new extent, in Balanced: a copy here costs no network, neither
	// now nor when its writer reads it. So this peer gets one copy of what is written here until it is a tenth fuller than others.
	localWeight = 0.1
)

// scorer returns p's score function over v; lower is better. It looks at v once, for the usual latency.
func (p *policy) scorer(v *cluster.View) func(*cluster.Peer) float64 {
	usual := usualLatency(v)
	switch p.Name {
	case LeastStored:
		return share
	case LowestLatency:
		return func(peer *cluster.Peer) float64 { return expected(peer, usual).Seconds() }
	}
	return func(peer *cluster.Peer) float64 {
		wait := expected(peer, usual).Seconds()
		score := share(peer) + latencyWeight*wait/(wait+usual.Seconds())
		if len(p.Have) == 0 && peer.ID == v.Self {
			score -= localWeight
		}
		return score
	}
}

// share is how full the peer is, 0 to 1, counting what is on its way.
func share(p *cluster.Peer) float64 { return float64(p.Stored+p.InFlight) / float64(p.Capacity) }

// expected is how long a write to p should take, behind what is in flight. A peer not yet measured is taken to be
// as fast as the fastest, so that it gets measured.
func expected(p *cluster.Peer, usual time.Duration) time.Duration {
	latency := p.Latency
	if latency <= 0 {
		latency = usual
	}
	return time.Duration(float64(latency) * (1 + float64(p.InFlight)/queueBytes))
}

// usualLatency is the fastest measured peer's, or a guess.
func usualLatency(v *cluster.View) time.Duration {
	var known []time.Duration
	for _, p := range v.Peers {
		if p.Latency > 0 {
			known = append(known, p.Latency)
		}
	}
	if len(known) == 0 {
		return time.Millisecond
	}
	return slices.Min(known)
}
