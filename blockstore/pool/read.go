package pool

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// hedgeMin is how long a get may take, whatever is usual, before another replica is asked too.
const hedgeMin = 50 * time.Millisecond

// Read fills dst, s.Bytes() long, with the blocks of s from one of l's replicas, every block verified: the local
// one, else the one that should answer first. The next is asked when one fails, and also when one takes more than
// three times as long as usual; the first good answer is taken. Replicas found missing or rotten are reported to
// OnBad, and do not fail the read while every block is good in some replica.
//
// fault.Damaged when a block is missing or rotten in every replica; fault.Unreachable when one that may be good did not
// answer in time. dst is then undefined. No store touches dst after Read has returned.
func (p *Pool) Read(ctx context.Context, s blockstore.Span, l placement.Layout, dst []byte) error {
	if int64(len(dst)) != s.Bytes() || s.Count == 0 {
		return fault.New("pool read", fault.Invalid, "%d bytes for %d blocks", len(dst), s.Count)
	}
	if l.Data > 1 || l.Parity > 0 {
		return fault.New("pool read", fault.Unsupported, "erasure coding comes later")
	}
	err := p.readWhole(ctx, s, l.Peers, dst)
	if len(l.Peers) > 1 && s.Count > 1 && fault.KindOf(err) == fault.Damaged && errors.Is(err, fault.Corrupt) {
		// Two replicas that rotted in different places are still one whole: halve until the rot is fenced in. That is
		// two more reads a halving, 26 at most where a block is really gone.
		n := s.Count / 2
		left, right := s, s
		left.Count, right.First, right.Count = n, s.First+n, s.Count-n
		at := left.Bytes()
		if err = p.Read(ctx, left, l, dst[:at:at]); err == nil {
			err = p.Read(ctx, right, l, dst[at:])
		}
	}
	return err
}

// readWhole is Read from one replica.
func (p *Pool) readWhole(ctx context.Context, s blockstore.Span, from []cluster.PeerID, dst []byte) error {
	peers := p.order(from)
	var causes []error
	if len(peers) > 0 && peers[0] == p.o.Self {
		err := p.get(ctx, p.o.Self, s, dst)
		if err == nil {
			return nil
		}
		causes, peers = append(causes, err), peers[1:]
	}
	return p.race(ctx, peers, s, dst, causes)
}

// answer is the outcome of one get of a race.
type answer struct {
	err  error
	into []byte
}

// race asks peers, best first, until one gives a good answer, and returns when all asked have returned.
func (p *Pool) race(ctx context.Context, peers []cluster.PeerID, s blockstore.Span, dst []byte, causes []error) error {
	raceCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(peers))
	running, won := 0, []byte(nil)
	dstFree := true // no get is writing into dst
	var releases []func()
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	hedge := time.NewTimer(time.Hour)
	defer hedge.Stop()

	ask := func() {
		if len(peers) == 0 || won != nil || raceCtx.Err() != nil {
			return
		}
		into := dst
		if !dstFree {
			if !p.bytes.TryAcquire(min(s.Bytes(), p.o.Bytes)) {
				return // too much under way for a second buffer: wait for the first answer
			}
			releases = append(releases, func() { p.bytes.Release(min(s.Bytes(), p.o.Bytes)) })
			into = make([]byte, len(dst))
		}
		peer := peers[0]
		peers = peers[1:]
		dstFree = false
		running++
		hedge.Reset(p.patience(peer, s))
		go func() { answers <- answer{p.get(raceCtx, peer, s, into), into} }() // awaited below
	}

	for ask(); running > 0; {
		select {
		case <-hedge.C:
			ask()
		case a := <-answers:
			running--
			if &a.into[0] == &dst[0] {
				dstFree = true
			}
			switch {
			case a.err == nil && won == nil:
				won = a.into
				cancel()
			case a.err != nil && won == nil:
				causes = append(causes, a.err)
				ask()
			}
		}
	}
	if won == nil {
		return verdict(ctx, causes)
	}
	if &won[0] != &dst[0] {
		copy(dst, won)
	}
	return nil
}

// patience is how long peer may take to answer before another is asked too.
func (p *Pool) patience(peer cluster.PeerID, s blockstore.Span) time.Duration {
	now := p.o.Now()
	p.mu.Lock()
	usual := float64(p.gaugeLocked(peer).read.faded(now)) * scale(s.Bytes())
	p.mu.Unlock()
	return max(hedgeMin, time.Duration(3*usual))
}

// get reads from one peer and reports a replica that is not as it should be.
func (p *Pool) get(ctx context.Context, peer cluster.PeerID, s blockstore.Span, into []byte) error {
	store := p.o.Store(peer)
	if store == nil {
		return unknown(peer)
	}
	done := p.startGet(peer, s)
	getCtx, cancel := context.WithTimeout(ctx, p.o.GetTimeout)
	defer cancel()
	err := outcome(ctx, getCtx, store.Get(getCtx, s, into))
	done(err)
	if err == nil {
		return nil
	}
	if kind := fault.KindOf(err); kind == fault.NotExist || kind == fault.Corrupt {
		p.o.OnBad(peer, s, kind)
	}
	return fault.Wrap("pool get from "+peer.Short(), err)
}

// verdict is the error of a read whose replicas all failed.
func verdict(ctx context.Context, causes []error) error {
	kind := fault.Damaged
	for _, err := range causes {
		if !errors.Is(err, fault.NotExist) && !errors.Is(err, fault.Corrupt) {
			kind = fault.Unreachable
		}
	}
	if ctx.Err() != nil {
		kind = ended(ctx)
	}
	if len(causes) == 0 {
		return fault.New("pool read", kind, "no replica is listed")
	}
	return fault.Because("pool read", kind, errors.Join(causes...))
}

// order returns peers as they should be asked: this one, then alive before suspect before others, and those that
// should answer first before the rest. None is left out: what is believed of a peer may be wrong.
func (p *Pool) order(peers []cluster.PeerID) []cluster.PeerID {
	if len(peers) == 0 || len(peers) == 1 || peers[0] == p.o.Self {
		return peers // the common case costs nothing; should this peer's replica fail, any order will do
	}
	if i := slices.Index(peers, p.o.Self); i > 0 {
		return slices.Concat(peers[i:], peers[:i])
	}
	v, now := p.o.View(), p.o.Now()
	silent := make([]bool, len(peers))
	for i, id := range peers {
		silent[i] = p.o.Silent(id)
	}
	type rank struct {
		class int
		wait  time.Duration
	}
	ranks := map[cluster.PeerID]rank{}
	p.mu.Lock()
	for i, id := range peers {
		r := rank{class: 2}
		switch peer := v.Find(id); {
		case id == p.o.Self:
			r.class = -1
		case peer == nil:
			r.class = 3
		case peer.Available() && !silent[i]:
			r.class = 0
		case peer.Available(), peer.Seen == cluster.Suspect:
			r.class = 1
		}
		g := p.gaugeLocked(id)
		r.wait = g.read.faded(now) * time.Duration(1+g.reading)
		ranks[id] = r
	}
	p.mu.Unlock()
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(a, b cluster.PeerID) int {
		ra, rb := ranks[a], ranks[b]
		return cmp.Or(cmp.Compare(ra.class, rb.class), cmp.Compare(ra.wait, rb.wait))
	})
	return peers
}
