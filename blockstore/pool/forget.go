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

	keptFirst = time.Minute // after a stray was found to be named; then twice as long each time
	keptMost  = time.Hour
)

// Stray is an extent that may be in a store whose peer its layout does not list.
type Stray struct {
	Span blockstore.Span
	Note blockstore.Note // it was written with
}

// forgotten is a stray to be deleted.
type forgotten struct {
	Stray
	peer  cluster.PeerID
	due   time.Time
	tries int
	kept  time.Duration // how long it was kept last
}

// Run deletes what failed writes may have left in the stores, once no put of theirs can still be under way, and once no
// map names the extent: a write that failed at one peer and was committed on others is below its copies, and repair may
// put it at that very peer. Each is tried a few times; the sweep finds what is missed. It returns when ctx has ended.
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
		p.forgetLater(peer, s, blockstore.Note{})
	}
}

func (p *Pool) forgetLater(peer cluster.PeerID, s blockstore.Span, n blockstore.Note) {
	p.again(forgotten{Stray: Stray{s, n}, peer: peer, due: p.o.Now().Add(p.o.ForgetAfter)})
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
		free, err := p.unnamed(ctx, fs, now)
		spans := make([]blockstore.Span, len(free))
		for i, f := range free {
			spans[i] = f.Span
		}
		if err == nil && len(free) > 0 {
			err = p.Delete(ctx, peer, spans...)
		}
		if err == nil {
			continue
		}
		for _, f := range free {
			if f.tries++; f.tries < forgetTries {
				f.due = now.Add(p.o.ForgetAfter << f.tries)
				p.again(f)
			}
		}
	}
}

// unnamed returns those that no map names; the others are due again later. After an error it returns all.
func (p *Pool) unnamed(ctx context.Context, fs []forgotten, now time.Time) (free []forgotten, err error) {
	var asked []Stray
	for _, f := range fs {
		if f.Note.Ino != 0 { // else the caller knows
			asked = append(asked, f.Stray)
		}
	}
	var named []bool
	if len(asked) > 0 && p.o.Named != nil {
		if named, err = p.o.Named(ctx, asked); err != nil {
			return fs, err
		}
	}
	for _, f := range fs {
		if f.Note.Ino == 0 || len(named) == 0 {
			free = append(free, f)
			continue
		}
		is := named[0]
		named = named[1:]
		if !is {
			free = append(free, f)
			continue
		}
		f.kept = min(max(2*f.kept, keptFirst), keptMost)
		f.due = now.Add(f.kept)
		p.again(f)
	}
	return free, nil
}
