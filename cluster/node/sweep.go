package node

import (
	"context"
	"time"

	"dfs/fs/meta"
)

const (
	sweepFirst = time.Minute // after the start, when sessions of the past have ended
	sweepEvery = time.Hour
	sweepRest  = 50 * time.Millisecond // between steps of 1024 extents
)

// sweep deletes what was written to this peer's store and never committed, soon after the start and then hourly.
func (n *Node) sweep(ctx context.Context) error {
	next := time.NewTimer(sweepFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if err := n.verifyMaps(); err != nil {
			continue // the daemon ends
		}
		swept, err := n.sweeper.Pass(ctx)
		if swept > 0 || err != nil && ctx.Err() == nil {
			n.log.Info("swept extents that were never committed", "extents", swept, "err", err)
		}
		next.Reset(sweepEvery)
	}
}

// latest returns the sessions that live and then a view, neither older than the call.
func (n *Node) latest(ctx context.Context) (sessions []uint64, v *meta.Image, err error) {
	index, err := n.group.ReadIndex(ctx)
	if err != nil {
		return nil, nil, err
	}
	for n.machine.Applied() < index {
		if err := rest(ctx); err != nil {
			return nil, nil, err
		}
	}
	all, err := n.sessions(ctx)
	if err != nil {
		return nil, nil, err
	}
	return sessionIDs(all), n.store.image(0), nil
}

func rest(ctx context.Context) error {
	t := time.NewTimer(sweepRest)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
