package repair

import (
	"context"
	"errors"
	"maps"
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// heal does what can be done for one suspect. c is its condition before v was taken.
func (h *Healer) heal(ctx context.Context, v *meta.Image, s *suspect, c blockstore.Condition) (outcome, error) {
	switch s.ino {
	case 0:
		return unknown, nil
	case nobody:
		return dismissed, nil
	}
	pieces, err := h.pieces(v, s, c)
	if err != nil {
		return again, err
	}
	if len(lacks(pieces, c)) == 0 {
		return h.whole(s), nil
	}
	// Again, because a copy may have arrived between the first look and the view.
	if c, err = h.Store.Examine(ctx, s.id); err != nil {
		return again, err
	}
	bad := lacks(pieces, c)
	if len(bad) == 0 {
		return h.whole(s), nil
	}
	h.report(s, pieces, bad, c)
	got, gone, err := h.gather(ctx, pieces, bad)
	if err != nil && len(got.set) == 0 {
		return again, err
	}
	if len(got.set) > 0 {
		merr := h.Store.Mend(ctx, got.patch(s, pieces, c))
		switch fault.KindOf(merr) {
		case fault.NoSpace, fault.ReadOnly:
			if merr != nil && len(gone) == 0 && err == nil {
				return h.retire(ctx, v, s, pieces)
			}
		}
		if merr != nil {
			return again, merr
		}
		if err := h.recheck(ctx, s, got.set); err != nil {
			return again, err
		}
	}
	switch {
	case err != nil:
		return again, err
	case len(gone) > 0:
		h.despair(s, pieces, gone)
		return damaged, nil
	}
	h.tell(s, Healed, pieces, bad)
	return mended, nil
}

// whole is the outcome for a suspect that lacks nothing, or nothing any more: it was overwritten, or healed otherwise.
func (h *Healer) whole(s *suspect) outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.damaged = nil
	return dismissed
}

// pieces returns what the file shows of the extent, and others that share it, and this peer should hold.
func (h *Healer) pieces(v *meta.Image, s *suspect, c blockstore.Condition) ([]meta.Kept, error) {
	list, err := h.piecesOf(v, s, c)
	if err != nil {
		return nil, err
	}
	shared, err := v.Shared(s.id)
	return append(list, h.sharedPieces(s, c, shared, list)...), err
}

// sharedPieces returns what this peer should hold of an extent for other files than the suspect's, list being what it holds for that.
// Which files those are is not known: the place is that where the extent was written first.
func (h *Healer) sharedPieces(s *suspect, c blockstore.Condition, shared []meta.Holding, list []meta.Kept) (more []meta.Kept) {
	var wanted runs.Set
	for _, x := range shared {
		if x.Peer == h.Self {
			wanted = x.Blocks
		}
	}
	for _, k := range list {
		wanted = wanted.Minus(blocksOf(k.Extent))
	}
	for _, r := range wanted {
		span := blockstore.Span{Extent: s.id, First: r.First, Count: r.End - r.First}
		e := extent.Extent{Off: int64(r.First) * blockstore.Size, Span: span, Layout: placement.Layout{Data: 1}}
		if c.Noted {
			e.Off += c.Note.Off &^ blockstore.Gathered
		}
		for _, x := range shared {
			if x.Blocks.Meets(r) {
				e.Layout.Peers = append(e.Layout.Peers, x.Peer)
			}
		}
		more = append(more, meta.Kept{Ino: s.ino, Extent: e})
	}
	return more
}

func (h *Healer) piecesOf(v *meta.Image, s *suspect, c blockstore.Condition) ([]meta.Kept, error) {
	var list []meta.Kept
	var err error
	if c.Noted { // almost always it is where it was written for
		list, err = v.Pieces(s.id, s.ino, c.Note.Off, int64(c.Blocks)*blockstore.Size)
	}
	if err == nil && (!c.Noted || covered(list) < c.Blocks) {
		list, err = v.Pieces(s.id, s.ino, 0, meta.SizeMax)
	}
	return slices.DeleteFunc(list, func(k meta.Kept) bool { return !slices.Contains(k.Extent.Layout.Peers, h.Self) }), err
}

func covered(list []meta.Kept) uint32 {
	var all runs.Set
	for _, k := range list {
		all = all.Union(blocksOf(k.Extent))
	}
	return all.Len()
}

// lacks returns the blocks that pieces want and a store in condition c does not have.
func lacks(pieces []meta.Kept, c blockstore.Condition) (bad runs.Set) {
	good := c.Live.Minus(c.Bad)
	for _, k := range pieces {
		bad = bad.Union(blocksOf(k.Extent).Minus(good))
	}
	return bad
}

func blocksOf(e extent.Extent) runs.Set { return runs.Of(e.Span.First, e.Span.Count) }

// got is blocks that were read from other replicas.
type got struct {
	set  runs.Set
	runs map[uint32][]byte // bytes by first block; disjoint
}

func (g *got) add(r runs.Run, b []byte) {
	if g.runs == nil {
		g.runs = map[uint32][]byte{}
	}
	g.runs[r.First] = b
	g.set = g.set.Add(r)
}

func (g *got) patch(s *suspect, pieces []meta.Kept, c blockstore.Condition) blockstore.Patch {
	p := blockstore.Patch{ID: s.id, Blocks: c.Blocks, Set: g.set}
	p.Note = blockstore.Note{Ino: uint64(s.ino), Off: pieces[0].Extent.Off - int64(pieces[0].Extent.Span.First)*blockstore.Size}
	for _, k := range pieces {
		if c.Blocks == 0 {
			p.Blocks = max(p.Blocks, k.Extent.Span.First+k.Extent.Span.Count)
		}
	}
	for _, first := range slices.Sorted(maps.Keys(g.runs)) {
		p.Data = append(p.Data, g.runs[first]...)
	}
	p.Sums = blockstore.Sums(p.Data)
	return p
}

// gather reads the bad blocks from the other replicas. Gone are those of which none is good; err is why others could not
// be read now.
func (h *Healer) gather(ctx context.Context, pieces []meta.Kept, bad runs.Set) (g got, gone runs.Set, err error) {
	for _, k := range pieces {
		l := h.others(k.Extent.Layout)
		for _, r := range bad.And(blocksOf(k.Extent)).Minus(g.set).Minus(gone) {
			if len(l.Peers) == 0 {
				gone = gone.Add(r)
				continue
			}
			g2, e := h.gatherRun(ctx, k.Extent.Span.Extent, l, r, &g)
			gone = gone.Union(g2)
			if e != nil {
				err = e
			}
		}
	}
	return g, gone, err
}

func (h *Healer) others(l placement.Layout) placement.Layout {
	l.Peers = slices.DeleteFunc(slices.Clone(l.Peers), func(id cluster.PeerID) bool { return id == h.Self })
	return l
}

// gatherRun reads a run, in halves where part of it is gone.
func (h *Healer) gatherRun(ctx context.Context, id blockstore.ID, l placement.Layout, r runs.Run, g *got) (gone runs.Set, err error) {
	s := blockstore.Span{Extent: id, First: r.First, Count: r.End - r.First}
	b := make([]byte, s.Bytes())
	err = h.Read(ctx, s, l, b)
	switch {
	case err == nil:
		g.add(r, b)
		return nil, nil
	case fault.KindOf(err) != fault.Damaged:
		return nil, err
	case s.Count == 1 || !errors.Is(err, fault.Corrupt): // nowhere at all
		return runs.Of(s.First, s.Count), nil
	}
	middle := r.First + s.Count/2
	left, err := h.gatherRun(ctx, id, l, runs.Run{First: r.First, End: middle}, g)
	right, rerr := h.gatherRun(ctx, id, l, runs.Run{First: middle, End: r.End}, g)
	if err == nil {
		err = rerr
	}
	return left.Union(right), err
}

// recheck deletes again what was put back although it was freed meanwhile: nobody else would.
func (h *Healer) recheck(ctx context.Context, s *suspect, set runs.Set) error {
	v, err := h.Latest(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	pieces, err := h.pieces(v, s, blockstore.Condition{})
	if err != nil {
		return err
	}
	for _, k := range pieces {
		set = set.Minus(blocksOf(k.Extent))
	}
	var freed []blockstore.Span
	for _, r := range set {
		freed = append(freed, blockstore.Span{Extent: s.id, First: r.First, Count: r.End - r.First})
	}
	if len(freed) == 0 {
		return nil
	}
	return h.Store.Delete(ctx, freed...)
}

// retire takes this peer out of the layouts of the pieces, and of those of other files, once others have shown every block.
func (h *Healer) retire(ctx context.Context, v *meta.Image, s *suspect, pieces []meta.Kept) (outcome, error) {
	all := pieces
	if shared, err := v.Shared(s.id); err != nil {
		return again, err
	} else if len(shared) > 0 {
		if all, err = h.everywhere(v, s.id); err != nil {
			return again, err
		}
	}
	for _, k := range all {
		l := h.others(k.Extent.Layout)
		if err := h.Read(ctx, k.Extent.Span, l, make([]byte, k.Extent.Span.Bytes())); err != nil {
			return again, err
		}
		if err := withdraw(ctx, h.Propose, h.Self, k); err != nil {
			return again, err
		}
	}
	h.tell(s, Retired, pieces, lacks(pieces, blockstore.Condition{}))
	return retired, nil
}

// everywhere returns what all files show of an extent and this peer should hold. It walks over all maps.
func (h *Healer) everywhere(v *meta.Image, id blockstore.ID) (list []meta.Kept, err error) {
	var at meta.Place
	for done := false; !done; {
		var found []meta.Kept
		if found, at, done, err = v.Replicas(h.Self, at, examine); err != nil {
			return nil, err
		}
		for _, k := range found {
			if k.Extent.Span.Extent == id {
				list = append(list, k)
			}
		}
	}
	return list, nil
}
