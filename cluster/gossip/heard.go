package gossip

import (
	"time"

	"dfs/cluster"
)

// silent is how many rounds of probes may pass without an answer before a peer is suspect here, although the others
// may still hear it.
const silent = 3

// heard is what was heard of one peer.
type heard struct {
	up       bool // memberlist takes it to be alive
	suspect  bool
	since    time.Time
	answered time.Time // when it last gave us a sign of life, or came up
	rtt      time.Duration
	report   Report
	reports  uint64
}

// Hints returns what is believed of every member, this one included.
func (g *Gossip) Hints() map[cluster.PeerID]Hint {
	members := g.o.Members()
	g.mu.Lock()
	defer g.mu.Unlock()
	hints := make(map[cluster.PeerID]Hint, len(members))
	for _, id := range members {
		hint := Hint{Seen: cluster.Dead}
		if h := g.heard[id]; h != nil {
			hint = Hint{Seen: h.seen(), Since: h.since, RTT: h.rtt, Report: h.report, Reports: h.reports}
		}
		if id == g.o.Self {
			hint.Seen, hint.Report = cluster.Alive, g.report
		}
		hints[id] = hint
	}
	return hints
}

func (h *heard) seen() cluster.State {
	switch {
	case !h.up:
		return cluster.Dead
	case h.suspect:
		return cluster.Suspect
	}
	return cluster.Alive
}

func (g *Gossip) alive(id cluster.PeerID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.heard[id]
	return h != nil && h.up
}

// note records that a peer is up or not, with the report that came with it.
func (g *Gossip) note(id cluster.PeerID, up bool, meta []byte) {
	report, err := decodeReport(meta)
	now := time.Now()
	g.mu.Lock()
	h := g.heard[id]
	if h == nil {
		h = &heard{}
		g.heard[id] = h
	}
	if h.up != up {
		h.since, h.answered, h.suspect = now, now, false
	}
	h.up = up
	if err == nil && report != h.report {
		h.report = report
		h.reports++
	}
	g.mu.Unlock()
	g.change()
}

// pong records a sign of life, with the round-trip time if it was measured.
func (g *Gossip) pong(id cluster.PeerID, rtt time.Duration) {
	g.mu.Lock()
	h := g.heard[id]
	if h == nil {
		g.mu.Unlock()
		return
	}
	was := h.suspect
	h.answered, h.suspect = time.Now(), false
	if rtt > 0 {
		h.rtt = rtt
	}
	if was {
		h.since = h.answered
	}
	g.mu.Unlock()
	if was {
		g.change()
	}
}

// suspect marks peers that have not answered our own probes for some rounds, and forgets those that are no members
// any more.
func (g *Gossip) suspect() {
	members := map[cluster.PeerID]bool{}
	for _, id := range g.o.Members() {
		members[id] = true
	}
	now := time.Now()
	g.mu.Lock()
	up := 0
	for id, h := range g.heard {
		if !members[id] && !h.up {
			delete(g.heard, id)
		}
		if h.up {
			up++
		}
	}
	patience := silent * g.o.Probe * time.Duration(max(up, 2)) // one peer is probed each time
	changed := false
	for id, h := range g.heard {
		if id != g.o.Self && h.up && !h.suspect && now.Sub(h.answered) > patience {
			h.suspect, h.since, changed = true, now, true
		}
	}
	g.mu.Unlock()
	if changed {
		g.change()
	}
}
