package identity

import (
	"slices"
	"sync"
	"time"
)

// limiter counts failures by address. It remembers at most limiterAddrs addresses: beyond, the one whose newest
// failure is oldest is forgotten.
type limiter struct {
	most   int
	window time.Duration

	mu       sync.Mutex
	failures map[string][]time.Time // by address, oldest first, at most `most` each
}

const limiterAddrs = 1024

// wait returns how long addr must wait before its next attempt; zero is not at all.
func (l *limiter) wait(addr string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := l.failures[addr]
	if len(times) < l.most {
		return 0
	}
	return max(times[0].Add(l.window).Sub(now), 0)
}

// failed notes a failure.
func (l *limiter) failed(addr string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures == nil {
		l.failures = map[string][]time.Time{}
	}
	if _, known := l.failures[addr]; !known && len(l.failures) >= limiterAddrs {
		l.forgetLocked(now)
	}
	times := append(l.failures[addr], now)
	l.failures[addr] = slices.Clone(times[max(len(times)-l.most, 0):])
}

// forgetLocked makes room: every address whose failures are over, or else the quietest.
func (l *limiter) forgetLocked(now time.Time) {
	oldest, at := "", now
	for addr, times := range l.failures {
		last := times[len(times)-1]
		if now.Sub(last) >= l.window {
			delete(l.failures, addr)
		} else if oldest == "" || last.Before(at) {
			oldest, at = addr, last
		}
	}
	if len(l.failures) >= limiterAddrs {
		delete(l.failures, oldest)
	}
}
