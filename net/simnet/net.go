package simnet

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"dfs/cluster"
	"dfs/net/wire"
)

// Event is one notice that arrives.
type Event struct {
	At       time.Duration // virtual time of the arrival
	From, To cluster.PeerID
	Kind     wire.Kind
	Body     wire.Body
}

// Net is a network in virtual time, for a simulator's one thread. The caller owns the clock: it passes now, and
// moves it to the time of the event it takes out.
type Net struct {
	rng     *rand.Rand
	links   links
	weather Weather
	events  queue
	order   uint64                // ties are broken by the order of sending
	last    map[way]time.Duration // arrival of the newest notice on its way; the next is not earlier
}

// NewNet returns a network without delays or losses. Rng draws both; it must not be used by another goroutine.
func NewNet(rng *rand.Rand) *Net {
	return &Net{rng: rng, links: newLinks(), last: map[way]time.Duration{}}
}

// SetWeather changes how all links treat what is sent from now on.
func (n *Net) SetWeather(w Weather) { n.weather = w }

// Cut loses everything sent from one peer to another from now on, and what is under way.
func (n *Net) Cut(from, to cluster.PeerID) { n.links.cut[way{from, to}] = true }

// Down loses everything from and to a peer, what is under way too, until Up.
func (n *Net) Down(id cluster.PeerID) { n.links.down[id] = true }

// Up ends Down. What is still under way then arrives: Forget loses it.
func (n *Net) Up(id cluster.PeerID) { delete(n.links.down, id) }

// Heal opens every link that was Cut.
func (n *Net) Heal() { n.links.cut = map[way]bool{} }

// Open reports whether a message from one peer would reach the other.
func (n *Net) Open(from, to cluster.PeerID) bool { return n.links.open(from, to) }

// Send puts a notice on its way, or loses it.
func (n *Net) Send(now time.Duration, from, to cluster.PeerID, m wire.Message) {
	if !n.links.open(from, to) || n.weather.Loss > 0 && n.rng.Float64() < n.weather.Loss {
		return
	}
	at := max(now+n.weather.delay(n.rng), n.last[way{from, to}])
	n.last[way{from, to}] = at
	n.order++
	heap.Push(&n.events, queued{Event{at, from, to, m.Kind(), encode(m)}, n.order})
}

// Due returns when the next event is, if there is one.
func (n *Net) Due() (at time.Duration, ok bool) {
	n.drop()
	if len(n.events) == 0 {
		return 0, false
	}
	return n.events[0].At, true
}

// Next takes the next event out.
func (n *Net) Next() (Event, bool) {
	n.drop()
	if len(n.events) == 0 {
		return Event{}, false
	}
	return heap.Pop(&n.events).(queued).Event, true
}

// drop loses the next events as long as their way is closed.
func (n *Net) drop() {
	for len(n.events) > 0 && !n.links.open(n.events[0].From, n.events[0].To) {
		heap.Pop(&n.events)
	}
}

// Forget loses everything under way from or to a peer: its process ended.
func (n *Net) Forget(id cluster.PeerID) {
	kept := n.events[:0]
	for _, e := range n.events {
		if e.From != id && e.To != id {
			kept = append(kept, e)
		}
	}
	n.events = kept
	heap.Init(&n.events)
}

type queued struct {
	Event
	order uint64
}

// queue is a heap by time, then by order of sending.
type queue []queued

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].At < q[j].At || q[i].At == q[j].At && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(queued)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
