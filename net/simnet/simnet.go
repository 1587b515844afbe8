// Package simnet is a network in memory: peers that talk without sockets, over links that can be slow, lossy, cut
// in one direction, or down.
//
// It comes in two forms. A Loop runs in real time and hands out Ports, which are peer.Transports: for tests of
// everything that talks through one. A Net has no goroutine and no clock of its own: a simulator sends into it,
// takes the next event out, and moves its virtual time there; the same seed gives the same events.
//
// Both keep the contract of net/peer: notices may be lost, are never doubled, and never overtake each other on
// the way to the same peer. Messages are encoded and decoded on the way, so nothing is shared by the two ends.
package simnet

import (
	"math/rand/v2"
	"time"

	"dfs/cluster"
	"dfs/net/wire"
)

// Weather is how a link treats what is sent over it.
type Weather struct {
	Min, Max time.Duration // a message takes Min to Max, evenly spread
	Loss     float64       // share of messages that vanish, 0..1
}

// delay draws how long one message takes.
func (w Weather) delay(rng *rand.Rand) time.Duration {
	if w.Max <= w.Min {
		return w.Min
	}
	return w.Min + time.Duration(rng.Int64N(int64(w.Max-w.Min)))
}

// way is one direction of a link.
type way struct{ from, to cluster.PeerID }

// links is which ways are cut.
type links struct {
	cut  map[way]bool
	down map[cluster.PeerID]bool
}

func newLinks() links {
	return links{cut: map[way]bool{}, down: map[cluster.PeerID]bool{}}
}

func (l links) open(from, to cluster.PeerID) bool {
	return !l.down[from] && !l.down[to] && !l.cut[way{from, to}]
}

// encode returns the message as the other end will get it.
func encode(m wire.Message) wire.Body {
	body := wire.Body{Fields: m.Append(nil)}
	if bulk, ok := m.(wire.Bulk); ok {
		for _, p := range bulk.Payload() {
			body.Payload = append(body.Payload, p...)
		}
	}
	return body
}
