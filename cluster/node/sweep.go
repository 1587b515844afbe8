package node

import (
	"context"
	"time"

	"dfs/blockstore/pool"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

const (
	sweepFirst  = time.Minute // after the start, when sessions of the past have ended
	sweepEvery  = time.Hour
	namedWithin = 5 * time.Second       // to learn what is named
	sweepRest   = 50 * time.Millisecond // between steps of 1024 extents
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
	if err := n.reach(ctx, index); err != nil {
		return nil, nil, err
	}
	all, err := n.sessions(ctx)
	if err != nil {
		return nil, nil, err
	}
	if v, err = n.store.newest(); err != nil {
		return nil, nil, err
	}
	journals, err := v.Journals()
	if err != nil {
		v.Close()
		return nil, nil, err
	}
	sessions = sessionIDs(all)
	for _, j := range journals {
		if _, member := n.roster.member(j.Peer); member {
			sessions = append(sessions, j.Session)
		}
	}
	return sessions, v, nil
}

// reach waits until everything up to index is applied here. Entries without proposals never reach the machine.
func (n *Node) reach(ctx context.Context, index uint64) error {
	for n.machine.Applied() < index && n.group.Status().Applied < index {
		if err := rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// named implements pool.Options.Named.
func (n *Node) named(ctx context.Context, strays []pool.Stray) ([]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, namedWithin)
	defer cancel()
	_, v, err := n.latest(ctx)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	out := make([]bool, len(strays))
	for i, s := range strays {
		if out[i], err = repair.Names(v, s.Span.Extent, s.Note, s.Span.Count); err != nil {
			return nil, err
		}
	}
	return out, nil
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
