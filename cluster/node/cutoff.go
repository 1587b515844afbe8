package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"dfs/cluster/fault"
)

// cutOffAfter is Config.CutOff's default.
const cutOffAfter = 15 * time.Second

// stopped is the shortest time between two looks that says that this process did not run meanwhile, or its machine was
// suspended: it has not waited for anybody.
const stopped = 3 * time.Second

// cutOff ends waiting for a cluster that this peer has not reached for long, where its owner wants that. Safe for
// concurrent use.
type cutOff struct {
	mu      sync.Mutex
	lost    time.Duration   // when the lease was last known to be held, later by what this process was stopped since; boottime
	looked  time.Duration   // when that was last looked at
	ctx     context.Context // ended while cut off
	release context.CancelFunc
}

func newCutOff(now time.Duration) *cutOff {
	c := &cutOff{lost: now}
	c.ctx, c.release = context.WithCancel(context.Background())
	return c
}

// look takes the present state of the lease.
func (c *cutOff) look(held bool, now, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gap := now - c.looked; c.looked > 0 && gap > stopped {
		c.lost += gap
	}
	c.looked = now
	switch {
	case held:
		c.lost = now
		if c.ctx.Err() != nil {
			c.ctx, c.release = context.WithCancel(context.Background())
		}
	case now-c.lost > after:
		c.release()
	}
}

// within returns a context that ends when the peer is cut off, and how to let go of it.
func (c *cutOff) within(ctx context.Context) (context.Context, func()) {
	c.mu.Lock()
	cut := c.ctx
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(cut, func() { cancel(errCutOff) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// because says of a failed proposal that it failed for being cut off, if it did.
func because(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errCutOff) {
		return errCutOff
	}
	return err
}

var errCutOff = fault.New("change", fault.CutOff,
	"a majority of the voters has not been reached for too long; the change may still happen when it is")

// watchCutOff looks at the lease, on behalf of whoever waits in a change.
func (n *Node) watchCutOff() {
	if n.fs == nil || n.cfg.WhenCutOff == "wait" {
		return
	}
	after := n.cfg.CutOff
	if after == 0 {
		after = cutOffAfter
	}
	_, held := n.driver.Held()
	n.store.cut.look(held || !n.started.Load(), boottime(), after)
}
