package link

import (
	"context"
	"slices"
	"sync"
)

const topicsMax = 1_000 // told at once; more are told as all

// Hub tells followers what has changed. Tell never waits: what a follower has not taken yet is told as one.
// The zero value works. Safe for concurrent use.
type Hub struct {
	mu        sync.Mutex
	followers map[*follower]struct{}
}

// follower is one who follows, and what he has not been told.
type follower struct {
	topics []string
	all    bool
	ready  chan struct{} // one slot
}

// Tell says that topics have changed; nil: anything may have.
func (h *Hub) Tell(topics []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.followers {
		for _, t := range topics {
			if !slices.Contains(f.topics, t) {
				f.topics = append(f.topics, t)
			}
		}
		if topics == nil || len(f.topics) > topicsMax {
			f.all, f.topics = true, nil
		}
		select {
		case f.ready <- struct{}{}:
		default:
		}
	}
}

// Follow implements the method of Log.
func (h *Hub) Follow(ctx context.Context, fn func([]string)) error {
	f := &follower{all: true, ready: make(chan struct{}, 1)}
	f.ready <- struct{}{}
	h.mu.Lock()
	if h.followers == nil {
		h.followers = map[*follower]struct{}{}
	}
	h.followers[f] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.followers, f)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.ready:
		}
		h.mu.Lock()
		topics, all := f.topics, f.all
		f.topics, f.all = nil, false
		h.mu.Unlock()
		if all {
			fn(nil)
		} else if len(topics) > 0 {
			fn(topics)
		}
	}
}
