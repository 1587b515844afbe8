package discover

import (
	"sync"
	"time"
)

const (
	packetsPerSecond = 200         // looked at; more are dropped unread
	peersMax         = 1024        // remembered
	repeatAfter      = time.Second // the same beacon again, by the other way or interface, is dropped before
)

// filter bounds the work that packets cause.
type filter struct {
	mu     sync.Mutex // guards what follows
	tokens float64
	at     time.Time
	seen   map[Beacon]time.Time
}

// spend reports whether one more packet may be looked at.
func (f *filter) spend(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = min(packetsPerSecond, f.tokens+packetsPerSecond*now.Sub(f.at).Seconds())
	f.at = now
	if f.tokens < 1 {
		return false
	}
	f.tokens--
	return true
}

// fresh reports whether b was not heard within repeatAfter. When more beacons are about than it remembers it
// forgets them all, and repeats get through until it knows them again.
func (f *filter) fresh(b Beacon, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.seen[b]; ok && now.Sub(last) < repeatAfter {
		return false
	}
	if f.seen == nil || len(f.seen) >= peersMax {
		f.seen = map[Beacon]time.Time{}
	}
	f.seen[b] = now
	return true
}
