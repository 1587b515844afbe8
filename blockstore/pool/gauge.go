package pool

import (
	"math"
	"slices"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
)

const (
	ewma       = 0.2              // weight of the newest measurement
	plainBytes = 256 << 10        // a transfer of so many bytes is taken to last twice as long as an empty one
	errorHalf  = 10 * time.Second // failures count half as much after it, so that a peer passed over is tried again
	meanHalf   = 30 * time.Second // and so does slowness
	reportMax  = 5 * time.Second  // bytes finished longer ago are taken to be in the owner's report
)

// Stats is what this peer has measured of another's store.
type Stats struct {
	Put      time.Duration // EWMA of an acknowledged put of few bytes, disk included; 0 not measured
	Get      time.Duration // EWMA of a get of few bytes; 0 not measured
	Errors   float64       // EWMA of failed requests, 0 to 1, fading with time
	InFlight int64         // bytes sent that the owner's report of what it stores does not cover yet
}

// gauge is what is measured of one peer. Invariants: sending, reading >= 0.
type gauge struct {
	write, read mean
	errors      float64
	errorsAt    time.Time
	sending     int64    // bytes of puts under way
	sent        [2]int64 // bytes of finished puts: since the last report, and between the two before
	reported    int64    // what the owner said it stores
	reportedAt  time.Time
	reading     int // gets under way
}

// mean is an EWMA of durations, and when it last changed.
type mean struct {
	v  time.Duration // 0 not measured
	at time.Time
}

func (m *mean) add(d time.Duration, now time.Time) {
	if m.v == 0 {
		m.v = d
	} else {
		m.v += time.Duration(ewma * float64(d-m.v))
	}
	m.v, m.at = max(1, m.v), now
}

// faded is the mean as it counts for choosing: a peer once slow and since passed over looks faster with time.
func (m *mean) faded(now time.Time) time.Duration {
	return time.Duration(float64(m.v) * math.Exp2(-now.Sub(m.at).Seconds()/meanHalf.Seconds()))
}

// Stats returns what has been measured of peer.
func (p *Pool) Stats(peer cluster.PeerID) Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gaugeLocked(peer).stats(p.o.Now())
}

// Reported tells that peer says it stores so many bytes. The bytes of a finished write count as in flight until
// the second different report after it: the first may have been on its way before. It may be called as often as
// one likes with the newest report.
func (p *Pool) Reported(peer cluster.PeerID, stored int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.gaugeLocked(peer); g.reported != stored {
		g.reported = stored
		g.turn(p.o.Now())
	}
}

// View returns the newest view with this peer's own measurements in it. Its Peers are the caller's.
func (p *Pool) View() cluster.View {
	v := p.o.View()
	v.Peers = slices.Clone(v.Peers)
	for i := range v.Peers {
		if peer := &v.Peers[i]; peer.Seen == cluster.Alive && p.o.Silent(peer.ID) {
			peer.Seen = cluster.Suspect
		}
	}
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range v.Peers {
		peer := &v.Peers[i]
		g := p.gaugeLocked(peer.ID)
		s := g.stats(now)
		peer.InFlight = s.InFlight
		peer.Errors = max(peer.Errors, s.Errors)
		if s.Put > 0 {
			peer.Latency = max(1, g.write.faded(now))
		}
	}
	return v
}

// prune drops the gauges of peers that are no members any more.
func (p *Pool) prune() {
	v := p.o.View()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, g := range p.gauges {
		if v.Find(id) == nil && g.sending == 0 && g.reading == 0 {
			delete(p.gauges, id)
			delete(p.syncs, id)
		}
	}
}

func (p *Pool) gaugeLocked(peer cluster.PeerID) *gauge {
	g := p.gauges[peer]
	if g == nil {
		g = &gauge{}
		p.gauges[peer] = g
	}
	return g
}

func (g *gauge) stats(now time.Time) Stats {
	if now.Sub(g.reportedAt) > reportMax {
		g.turn(now)
	}
	return Stats{Put: g.write.v, Get: g.read.v, Errors: g.faded(now), InFlight: g.sending + g.sent[0] + g.sent[1]}
}

func (g *gauge) turn(now time.Time) {
	g.sent = [2]int64{0, g.sent[0]}
	g.reportedAt = now
}

// faded is the error rate as it counts now.
func (g *gauge) faded(now time.Time) float64 {
	return g.errors * math.Exp2(-now.Sub(g.errorsAt).Seconds()/errorHalf.Seconds())
}

// done notes the outcome of a request that moved so many bytes in d, for the average m.
func (g *gauge) done(m *mean, d time.Duration, bytes int64, err error, now time.Time) {
	d = max(1, time.Duration(float64(d)/scale(bytes)))
	bad := 0.0
	switch {
	case err == nil:
		m.add(d, now)
	case failure(err):
		bad = 1
	case fault.KindOf(err) == fault.Canceled:
		if d > m.v {
			m.add(d, now) // it would have taken at least as long: a peer that always loses the race is slow
		}
		return
	default:
		return // an answer, if not the one hoped for
	}
	g.errors = (1-ewma)*g.faded(now) + ewma*bad
	g.errorsAt = now
}

// scale is how much longer a transfer of so many bytes lasts than an empty one.
func scale(bytes int64) float64 { return 1 + float64(bytes)/plainBytes }

// failure reports whether err tells against the peer's health, other than a full disk or a missing extent does.
func failure(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotExist, fault.Corrupt, fault.NoSpace, fault.Exist, fault.Canceled:
		return false
	}
	return true
}

// startPut counts bytes as on their way to peer, and returns the queue before them and what to call with the outcome.
func (p *Pool) startPut(peer cluster.PeerID, bytes int64) (queue int64, done func(error)) {
	start := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gaugeLocked(peer)
	queue = g.sending
	g.sending += bytes
	return queue, func(err error) {
		now := p.o.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		g.sending -= bytes
		if err == nil {
			g.sent[0] += bytes
		}
		g.done(&g.write, now.Sub(start), bytes, err, now)
	}
}

// startGet counts a get from peer, and returns what to call with its outcome.
func (p *Pool) startGet(peer cluster.PeerID, s blockstore.Span) (done func(error)) {
	start := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gaugeLocked(peer)
	g.reading++
	return func(err error) {
		now := p.o.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		g.reading--
		g.done(&g.read, now.Sub(start), s.Bytes(), err, now)
	}
}
