package identity

import (
	"fmt"
	"testing"
	"time"
)

func TestTheLimiterForgetsAfterItsWindow(t *testing.T) {
	l := limiter{most: 3, window: time.Minute}
	now := time.Unix(1000, 0)
	for i := range 3 {
		if w := l.wait("a", now); w != 0 {
			t.Fatalf("after %d failures: wait %v", i, w)
		}
		l.failed("a", now)
		now = now.Add(10 * time.Second)
	}
	if w := l.wait("a", now); w != 30*time.Second {
		t.Errorf("wait %v, want 30 s: until the first failure is a minute old", w)
	}
	if w := l.wait("b", now); w != 0 {
		t.Errorf("another address: wait %v", w)
	}
	if w := l.wait("a", now.Add(30*time.Second)); w != 0 {
		t.Errorf("when it is: wait %v", w)
	}
}

func TestTheLimiterIsBounded(t *testing.T) {
	l := limiter{most: 1, window: time.Hour}
	now := time.Unix(1000, 0)
	for i := range 5 * limiterAddrs {
		now = now.Add(time.Millisecond)
		l.failed(fmt.Sprint(i), now)
		if len(l.failures) > limiterAddrs {
			t.Fatalf("%d addresses are remembered", len(l.failures))
		}
	}
	if l.wait(fmt.Sprint(5*limiterAddrs-1), now) == 0 || l.wait("0", now) != 0 {
		t.Error("it forgets the newest, not the oldest")
	}
}
