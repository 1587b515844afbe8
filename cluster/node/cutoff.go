package node

import (
	"context"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/mount"
)

// cutOffAfter is Config.CutOff's default.
const cutOffAfter = 15 * time.Second

// forever is how long operations wait where they are to wait.
const forever = 10 * 365 * 24 * time.Hour

// cutOff refuses changes while this peer has been without the cluster for long, where its owner wants that: new ones at
// once, those that wait as soon as it is so. Safe for concurrent use.
type cutOff struct {
	is func() bool // whether it is so now

	mu      sync.Mutex
	why     error
	ctx     context.Context // ended when look found that it is so
	release context.CancelCauseFunc
}

func newCutOff(is func() bool) *cutOff {
	c := &cutOff{is: is, why: fault.CutOff}
	c.ctx, c.release = context.WithCancelCause(context.Background())
	return c
}

// err returns why nothing can be changed now, nil if it can.
func (c *cutOff) err() error {
	if !c.is() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// look ends what waits if it is so. why is what is said to those who ask.
func (c *cutOff) look(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = why
	if c.is() {
		c.release(why)
	}
}

// within returns a context that ends when the peer is cut off, and how to let go of it. The error says that it is.
func (c *cutOff) within(ctx context.Context) (context.Context, func(), error) {
	if err := c.err(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.ctx, c.release = context.WithCancelCause(context.Background())
	}
	cut := c.ctx
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(cut, func() { cancel(cutShort{context.Cause(cut)}) })
	return ctx, func() {
		stop()
		cancel(nil)
	}, nil
}

// cutShort is why a context of within has ended.
type cutShort struct{ error }

// because says of a failed proposal that it failed for being cut off, if it did.
func because(ctx context.Context, err error) error {
	if short, ok := context.Cause(ctx).(cutShort); ok && err != nil {
		return short.error
	}
	return err
}

// cutOff reports whether operations on this mount no longer wait for the cluster.
func (n *Node) cutOff() bool {
	_, cut := n.driver.CutOff()
	return cut && n.fs != nil && (n.started.Load() || n.ending.Load())
}

// plight is how a mount without its lease is: what it misses, and what that means to those who use it.
type plight struct {
	long  bool // for longer than --cut-off-after
	why   string
	state string
}

// plight returns how this mount is now; ok if it has its lease.
func (n *Node) plight() (p plight, ok bool) {
	if _, held := n.driver.Held(); held {
		return p, true
	}
	lost, cut := n.driver.CutOff()
	away := boottime() - lost
	p.long = cut
	p.why = outOfReach(n.roster.view())
	switch policy := whenCutOff(n.cfg.WhenCutOff); {
	case policy == coherence.Wait:
		p.long = away >= n.patience()
		p.state = "operations wait"
	case !p.long:
		p.state = "operations wait, for " + n.patience().String() + " at most"
	case policy == coherence.Read:
		p.state = "the drive is read-only and shows what this peer last knew, at " + time.Now().Add(-away).Format(time.TimeOnly)
	default:
		p.state = "operations fail"
	}
	return p, false
}

// patience is how long operations wait for the cluster.
func (n *Node) patience() time.Duration {
	if n.cfg.CutOff == 0 {
		return cutOffAfter
	}
	return n.cfg.CutOff
}

// watchCutOff looks at the lease, on behalf of whoever waits in a change, and says what has become of this mount.
func (n *Node) watchCutOff() {
	if n.fs == nil || !n.started.Load() {
		return
	}
	p, ok := n.plight()
	switch {
	case ok && n.toldCutOff:
		n.log.Info("the cluster is back: this mount serves again")
		n.events.add("connected", "the cluster is back: this mount serves again")
	case p.long && !n.toldCutOff:
		n.log.Warn("cut off from the cluster", "why", p.why, "now", p.state)
		n.events.add("cut off", p.why+"; "+p.state)
	}
	n.toldCutOff = p.long
	kind := fault.CutOff
	if whenCutOff(n.cfg.WhenCutOff) == coherence.Read {
		kind = fault.ReadOnly
	}
	if p.long {
		n.store.cut.look(fault.New("change", kind, "%s; %s", p.why, p.state))
	}
	n.label(p.long && kind == fault.ReadOnly)
}

// label makes the mount itself say that nothing can be written. Where the kernel will not (somebody has a file open for
// writing, or this is not root) only the answers to writes say so.
func (n *Node) label(readOnly bool) {
	if readOnly == n.labelled.Load() {
		return
	}
	err := mount.SetReadOnly(n.cfg.Mount, readOnly)
	switch {
	case err == nil:
		n.labelled.Store(readOnly)
	case !readOnly:
		n.log.Warn("the mount is still marked read-only", "err", err)
	}
}
