package sim

import "time"

// way is one direction between two peers.
type way struct{ from, to int }

// network carries messages, late and sometimes not at all, but in order on each way.
type network struct {
	*queue
	cut   map[way]bool
	last  map[way]time.Duration
	slow  time.Duration // most that a message takes
	heard func(to int) *inbox
}

// inbox holds what arrives at a peer that is frozen.
type inbox struct {
	frozen bool
	kept   []func()
}

func (n *network) reaches(from, to int) bool { return !n.cut[way{from, to}] }

// send calls take at the other peer, or never.
func (n *network) send(from, to int, take func()) {
	w := way{from, to}
	if n.cut[w] {
		return
	}
	at := max(n.now+n.between(50*time.Microsecond, n.slow), n.last[w])
	if from == to {
		at = n.now
	}
	n.last[w] = at
	n.after(at-n.now, func() {
		if n.cut[w] {
			return
		}
		if box := n.heard(to); box.frozen {
			box.kept = append(box.kept, take)
			return
		}
		take()
	})
}

// isolate cuts a peer off from all others, or from one direction of them.
func (n *network) isolate(peers, one int, in, out bool) {
	for p := range peers {
		if p != one {
			n.cut[way{p, one}] = in
			n.cut[way{one, p}] = out
		}
	}
}
