package repair

import (
	"context"
	"errors"
	"slices"
	"sync"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

const (
	examine  = 4096 // records looked at in one view
	batch    = 32   // extents copied before their peers are synced once
	parallel = 4    // copies under way: at most 16 MiB
)

// Raise walks over all extents once and gives those below their copies what they lack, where a peer is available. It
// returns how many it raised, and how many it could not.
func (k *Keeper) Raise(ctx context.Context) (raised, left int, err error) {
	var at meta.Place
	for done := false; !done; {
		var below []meta.Short
		if below, at, done, err = k.look(at); err != nil {
			return raised, left, err
		}
		for len(below) > 0 && ctx.Err() == nil {
			n := min(batch, len(below))
			ok := k.raiseSome(ctx, below[:n])
			raised, left = raised+ok, left+n-ok
			below = below[n:]
		}
		if ctx.Err() != nil {
			return raised, left, ctx.Err()
		}
	}
	return raised, left, nil
}

func (k *Keeper) look(at meta.Place) ([]meta.Short, meta.Place, bool, error) {
	v, err := k.o.View()
	if err != nil {
		return nil, at, false, err
	}
	defer v.Close()
	return v.Repairs(at, examine)
}

// plan is one extent on its way to its target.
type plan struct {
	meta.Short
	next []extent.Extent // what takes its place in the map
	new  []cluster.PeerID
	own  bool // next are extents of our own, which nothing names before the commit
	err  error
}

// tidyUp deletes what was written for a p that came to nothing. It is for failures that say that the commit did not
// happen and never will.
func (k *Keeper) tidyUp(p *plan) {
	if !p.own {
		return // a further replica of what the map may name: if it does not, the sweep finds it
	}
	for _, e := range p.next {
		k.o.Pool.Forget(e.Span, e.Layout.Peers...)
	}
}

// raiseSome copies a batch of extents, syncs the peers that got copies, and commits what worked.
func (k *Keeper) raiseSome(ctx context.Context, below []meta.Short) (raised int) {
	plans := make([]plan, len(below))
	each(len(below), func(i int) {
		plans[i].Short = below[i]
		plans[i].err = k.copy(ctx, &plans[i])
	})
	synced := k.sync(ctx, plans)
	each(len(plans), func(i int) {
		if p := &plans[i]; p.err == nil {
			p.err = k.commit(ctx, p, synced)
		}
	})
	for i := range plans {
		switch p := &plans[i]; {
		case p.err == nil:
			raised++
		case !errors.Is(p.err, fault.Conflict) && ctx.Err() == nil:
			k.o.Log.Debug("an extent stays below its copies", "ino", p.Ino, "extent", p.Extent.Span.Extent, "err", p.err)
		}
	}
	return raised
}

// each runs fn(0..n-1), parallel at a time, and waits for all.
func each(n int, fn func(i int)) {
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			fn(i)
		})
	}
	wg.Wait()
}

// copy makes the replicas that p lacks, on peers of its file's choice. Fewer than it lacks, but one, is a success.
func (k *Keeper) copy(ctx context.Context, p *plan) error {
	v, err := k.o.View()
	if err != nil {
		return err
	}
	defer v.Close()
	file, err := v.Stat(p.Ino)
	if err != nil {
		return err
	}
	note := blockstore.Note{Ino: uint64(p.Ino), Off: p.Extent.Off, Time: int64(file.Mtime)}
	e := p.Extent
	shared, err := v.Shared(e.Span.Extent)
	if err != nil {
		return err
	}
	have, policy := e.Layout.Peers, k.o.Pick(file.Wish, e.Layout.Peers)
	p.new = k.sharers(policy, p, shared)
	missing := p.Target - p.Have - len(p.new)
	whole, err := whole(v, p.Short, shared)
	if err != nil {
		return err
	}
	if !whole && len(p.new) == 0 {
		return k.rewrite(ctx, p, note, file.Wish)
	}
	var picked []cluster.PeerID
	if whole && missing > 0 {
		// Where others that share it have a part, or had, none is made: a store takes an extent once.
		picked, _, err = policy.Pick(k.o.Members(), missing, e.Span.Count, slices.Concat(have, peersOf(shared)))
		switch {
		case err == nil || len(p.new) > 0:
		case len(shared) > 0:
			return k.rewrite(ctx, p, note, file.Wish)
		default:
			return err
		}
	}
	for _, to := range picked {
		if err = k.o.Pool.Copy(ctx, e.Span, note, e.Layout, to); err == nil {
			p.new = append(p.new, to)
		}
	}
	if len(p.new) == 0 { // err says why
		if errors.Is(err, fault.Exist) { // more of it than the map shows is left there from an earlier try
			return k.rewrite(ctx, p, note, file.Wish)
		}
		return err
	}
	members := k.o.Members()
	e.Layout.Peers = slices.DeleteFunc(slices.Concat(have, p.new), func(id cluster.PeerID) bool { return members.Find(id) == nil })
	p.next = []extent.Extent{e}
	return nil
}

// sharers returns peers that p lacks and that hold all of it already, for another file: their replicas need only be named.
func (k *Keeper) sharers(policy placement.Policy, p *plan, shared []meta.Holding) []cluster.PeerID {
	run := runs.Run{First: p.Extent.Span.First, End: p.Extent.Span.First + p.Extent.Span.Count}
	members := k.o.Members()
	avoid, any := p.Extent.Layout.Peers, false
	for _, m := range members.Peers {
		i := slices.IndexFunc(shared, func(h meta.Holding) bool { return h.Peer == m.ID })
		if i < 0 || m.Seen != cluster.Alive || !shared[i].Blocks.Covers(run) {
			avoid = append(slices.Clip(avoid), m.ID)
		} else {
			any = any || !slices.Contains(p.Extent.Layout.Peers, m.ID)
		}
	}
	if !any {
		return nil
	}
	picked, _, err := policy.Pick(members, p.Target-p.Have, 0, avoid)
	if err != nil {
		return nil
	}
	return picked
}

func peersOf(shared []meta.Holding) (ids []cluster.PeerID) {
	for _, h := range shared {
		ids = append(ids, h.Peer)
	}
	return ids
}

// whole reports whether the map's record is all there is of its extent. Overwriting leaves pieces, and a copy of one
// would pass for the extent itself.
func whole(v meta.View, s meta.Short, shared []meta.Holding) (bool, error) {
	if len(shared) > 0 {
		var all runs.Set
		for _, h := range shared {
			all = all.Union(h.Blocks)
		}
		return s.Extent.Span.First == 0 && all.Len() == s.Extent.Span.Count && all.Covers(runs.Run{End: s.Extent.Span.Count}), nil
	}
	const reach = blockstore.MaxBlocks * blockstore.Size
	m, err := v.Extents(s.Ino, max(0, s.Extent.Off-reach), 2*reach)
	if err != nil {
		return false, err
	}
	pieces := 0
	for _, e := range m {
		if e.Span.Extent == s.Extent.Span.Extent {
			pieces++
		}
	}
	return pieces == 1 && s.Extent.Span.First == 0, nil
}

// rewrite makes new extents of a piece of one.
func (k *Keeper) rewrite(ctx context.Context, p *plan, note blockstore.Note, w placement.Wish) error {
	e := p.Extent
	data := make([]byte, e.Span.Bytes())
	if err := k.o.Pool.Read(ctx, e.Span, e.Layout, data); err != nil {
		return err
	}
	note.Session = k.session.Load()
	pieces, err := k.o.Pool.Write(ctx, data, note, w)
	if err != nil {
		return err
	}
	p.own = true
	for i, piece := range pieces {
		n := extent.Extent{Off: e.Off + piece.Off, Span: piece.Span, Layout: piece.Layout}
		if i == len(pieces)-1 {
			n.Tail = e.Tail
		}
		p.next = append(p.next, n)
		p.new = append(p.new, piece.Layout.Peers...)
	}
	for _, piece := range pieces {
		if len(piece.Layout.Peers) <= p.Have {
			k.tidyUp(p)
			return fault.New("raise", fault.Unreachable, "a piece found no further peer")
		}
	}
	return nil
}

// sync syncs every peer that got a copy, once, and returns those that did.
func (k *Keeper) sync(ctx context.Context, plans []plan) map[cluster.PeerID]bool {
	var peers []cluster.PeerID
	for _, p := range plans {
		for _, id := range p.new {
			if !slices.Contains(peers, id) {
				peers = append(peers, id)
			}
		}
	}
	synced := map[cluster.PeerID]bool{}
	for i, err := range k.o.Pool.SyncEach(ctx, peers) {
		synced[peers[i]] = err == nil
	}
	return synced
}

// commit puts the new records in the old one's place, if all that is new in them is on disk.
func (k *Keeper) commit(ctx context.Context, p *plan, synced map[cluster.PeerID]bool) error {
	for _, id := range p.new {
		if !synced[id] {
			k.tidyUp(p)
			return fault.New("raise", fault.Unreachable, "%s could not sync its copy", id.Short())
		}
	}
	_, err := k.o.Propose(ctx, meta.Replace{Ino: p.Ino, Old: []extent.Extent{p.Extent}, New: p.next})
	if errors.Is(err, fault.Conflict) || errors.Is(err, fault.Stale) {
		k.tidyUp(p)
	}
	return err
}
