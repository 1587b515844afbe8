package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"dfs/cluster/admin"
)

const eventsMax = 1024

// events is what happened on this peer lately.
type events struct {
	mu   sync.Mutex
	next uint64 // number of the next
	ring []admin.Event
}

// add keeps one; pairs are names and values of what it was about.
func (e *events) add(kind, text string, pairs ...any) {
	ev := admin.Event{Time: time.Now().UTC(), Kind: kind, Text: text}
	for i := 0; i+1 < len(pairs); i += 2 {
		if ev.With == nil {
			ev.With = map[string]string{}
		}
		ev.With[fmt.Sprint(pairs[i])] = fmt.Sprint(pairs[i+1])
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	ev.Seq = e.next
	if e.ring = append(e.ring, ev); len(e.ring) > eventsMax {
		e.ring = append(e.ring[:0], e.ring[len(e.ring)-eventsMax:]...)
	}
}

// Events implements admin.Node.
func (n *Node) Events(_ context.Context, after uint64) (admin.Events, error) {
	e := &n.events
	e.mu.Lock()
	defer e.mu.Unlock()
	out := admin.Events{Next: e.next, Events: []admin.Event{}}
	for _, ev := range e.ring {
		if ev.Seq > after {
			out.Events = append(out.Events, ev)
		}
	}
	return out, nil
}
