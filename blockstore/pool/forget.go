package pool

import (
	"context"
	"slices"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
)

const (
	forgetMax   = 1 << 16 // spans waiting to be deleted; the oldest is dropped and left to the sweep
	forgetTries = 5
	forgetBatch = 1024 // spans in one request
)

// forgotten is a span that may be in a store although no layout lists it.
type forgotten struct {
	peer  cluster.PeerID
	span  blockstore.Span
	due   time.Time
	tries int
}

// Run deletes what failed writes may have left in the stores, once no put of theirs can still be under way. Each is
// tried a few times; the sweep finds what is missed. It returns when ctx has ended.
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.forgetDue(ctx)
		p.prune()
	}
}

// Forgetting returns how many spans wait to be deleted.
func (p *Pool) Forgetting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forget)
}

// Forget has Run delete a span that a caller wrote and did not commit, or that is known to be stray, at its peers.
func (p *Pool) Forget(s blockstore.Span, peers ...cluster.PeerID) {
	for _, peer := range peers {
		p.forgetLater(peer, s)
	}
}

func (p *Pool) forgetLater(peer cluster.PeerID, s blockstore.Span) {
	p.again(forgotten{peer: peer, span: s, due: p.o.Now().Add(p.o.ForgetAfter)})
}

func (p *Pool) again(f forgotten) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.forget) >= forgetMax {
		p.forget = p.forget[1:]
	}
	p.forget = append(p.forget, f)
}

// forgetDue deletes what is due; what fails is due again after twice as long.
func (p *Pool) forgetDue(ctx context.Context) {
	now := p.o.Now()
	due := map[cluster.PeerID][]forgotten{}
	p.mu.Lock()
	var later []forgotten
	for _, f := range p.forget {
		if f.due.After(now) {
			later = append(later, f)
		} else {
			due[f.peer] = append(due[f.peer], f)
		}
	}
	p.forget = later
	p.mu.Unlock()
	for peer, all := range due {
		p.forgetAt(ctx, peer, all, now)
	}
}

func (p *Pool) forgetAt(ctx context.Context, peer cluster.PeerID, all []forgotten, now time.Time) {
	for fs := range slices.Chunk(all, forgetBatch) {
		spans := make([]blockstore.Span, len(fs))
		for i, f := range fs {
			spans[i] = f.span
		}
		if p.Delete(ctx, peer, spans...) == nil {
			continue
		}
		for _, f := range fs {
			if f.tries++; f.tries < forgetTries {
				f.due = now.Add(p.o.ForgetAfter << f.tries)
				p.again(f)
			}
		}
	}
}
