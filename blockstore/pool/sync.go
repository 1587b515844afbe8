package pool

import (
	"context"
	"errors"
	"slices"
	"sync"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// Sync returns when everything that was put at each of peers before the call survives a crash of its machine.
// The peers are asked at once; callers who ask the same peer share its answer. If some fail, the error joins
// theirs, and the others have synced nevertheless.
func (p *Pool) Sync(ctx context.Context, peers []cluster.PeerID) error {
	var failed []error
	for _, err := range p.SyncEach(ctx, peers) {
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fault.Because("pool sync", fault.KindOf(failed[0]), errors.Join(failed...))
}

// SyncEach is Sync with one outcome a peer, in their order, for callers who can do with fewer.
func (p *Pool) SyncEach(ctx context.Context, peers []cluster.PeerID) []error {
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, peer := range peers {
		wg.Go(func() { errs[i] = fault.Wrap("pool sync of "+peer.Short(), p.syncOne(ctx, peer)) })
	}
	wg.Wait()
	return errs
}

// SyncLayouts syncs all peers of the layouts and succeeds if each layout has at least one that did: a peer that dies
// between a write and its fsync costs a replica, not the fsync. It returns the peers that failed, whose replicas
// must not be counted as synced. The error's kind is that of a failure.
func (p *Pool) SyncLayouts(ctx context.Context, layouts []placement.Layout) (failed []cluster.PeerID, err error) {
	var peers []cluster.PeerID
	for _, l := range layouts {
		peers = append(peers, l.Peers...)
	}
	slices.SortFunc(peers, cluster.PeerID.Compare)
	peers = slices.Compact(peers)
	var causes []error
	for i, err := range p.SyncEach(ctx, peers) {
		if err != nil {
			failed, causes = append(failed, peers[i]), append(causes, err)
		}
	}
	for _, l := range layouts {
		if !slices.ContainsFunc(l.Peers, func(id cluster.PeerID) bool { return !slices.Contains(failed, id) }) {
			if len(causes) == 0 {
				return nil, fault.New("pool sync", fault.Invalid, "a layout without peers")
			}
			return failed, fault.Because("pool sync", fault.KindOf(causes[0]), errors.Join(causes...))
		}
	}
	return failed, nil
}

// syncOne gives up on a peer that falls silent: most callers can do without one.
func (p *Pool) syncOne(ctx context.Context, peer cluster.PeerID) error {
	store := p.o.Store(peer)
	if store == nil {
		return unknown(peer)
	}
	p.mu.Lock()
	g := p.syncs[peer]
	if g == nil {
		g = &syncer{}
		p.syncs[peer] = g
	}
	p.mu.Unlock()
	ctx, letGo := p.unlessSilent(ctx, peer)
	defer letGo()
	return silence(ctx, g.do(ctx, func() error {
		// For all that joined: it must not end because the one whose turn it is gives up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.o.SyncTimeout)
		defer cancel()
		ctx, letGo := p.unlessSilent(ctx, peer)
		defer letGo()
		return store.Sync(ctx)
	}))
}

// syncer runs one sync at a time and lets all callers that arrive meanwhile share the next. (A caller may not share
// the one that is running: its bytes may have come too late for it.)
type syncer struct {
	mu      sync.Mutex
	running bool
	next    *turn // joined, not yet begun
}

// turn is one sync to come. Whoever takes its token runs it.
type turn struct {
	token chan struct{} // capacity 1
	done  chan struct{}
	err   error // set before done is closed
}

func (g *syncer) do(ctx context.Context, run func() error) error {
	g.mu.Lock()
	t := g.next
	if t == nil {
		t = &turn{token: make(chan struct{}, 1), done: make(chan struct{})}
		g.next = t
		if !g.running {
			t.token <- struct{}{}
		}
	}
	g.mu.Unlock()
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return fault.Because("wait for sync", ended(ctx), ctx.Err())
	case <-t.token:
	}
	g.mu.Lock()
	g.running, g.next = true, nil
	g.mu.Unlock()
	t.err = run()
	close(t.done)
	g.mu.Lock()
	g.running = false
	if g.next != nil {
		g.next.token <- struct{}{}
	}
	g.mu.Unlock()
	return t.err
}
