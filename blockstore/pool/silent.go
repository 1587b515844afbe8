package pool

import (
	"context"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

const (
	silentFirst = 100 * time.Millisecond // most requests are answered before anybody looks
	silentPoll  = 25 * time.Millisecond
)

var errSilent = fault.New("pool", fault.Timeout, "no sign of life")

// unlessSilent returns a context that ends, beside with ctx, when peer is found to be silent, and how to let go of it.
func (p *Pool) unlessSilent(ctx context.Context, peer cluster.PeerID) (context.Context, func()) {
	if peer == p.o.Self {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if p.o.Silent(peer) {
		cancel(errSilent)
		return ctx, func() {}
	}
	var mu sync.Mutex // guards timer, which look sets anew
	var timer *time.Timer
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case ctx.Err() != nil:
		case p.o.Silent(peer):
			cancel(errSilent)
		default:
			timer.Reset(silentPoll)
		}
	}
	mu.Lock()
	timer = time.AfterFunc(silentFirst, look)
	mu.Unlock()
	return ctx, func() {
		cancel(nil)
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// silence is err, or that a request was given up because its peer is silent.
func silence(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errSilent {
		return fault.Because("given up", fault.Timeout, errSilent)
	}
	return err
}
