package node

import (
	"testing"
	"time"
)

// Cut off is who has waited in vain, not who was stopped.
func TestCutOffCountsTheTimeThatWasWaited(t *testing.T) {
	c := newCutOff(0)
	now := time.Duration(0)
	look := func(held bool, step time.Duration) (cut bool) {
		now += step
		c.look(held, now, 15*time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ctx.Err() != nil
	}
	look(true, time.Second)
	if look(false, time.Hour) {
		t.Fatal("cut off on waking")
	}
	for range 14 {
		if look(false, time.Second) {
			t.Fatal("cut off before it has waited for 15 s")
		}
	}
	if !look(false, time.Second) && !look(false, time.Second) {
		t.Fatal("never cut off")
	}
	if look(true, time.Second) {
		t.Fatal("still cut off with a lease")
	}
}
