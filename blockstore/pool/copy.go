package pool

import (
	"context"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// Copy makes a replica at to of the whole extent that s spans, from one of from's replicas. On return it is in to's
// store, not yet synced. A replica there already is no error; a rotten one must be deleted first. The kinds are
// those of Read, then those of Store.Put.
func (p *Pool) Copy(ctx context.Context, s blockstore.Span, note blockstore.Note, from placement.Layout, to cluster.PeerID) error {
	if s.First != 0 || s.Count == 0 || s.Count > blockstore.MaxBlocks {
		return fault.New("pool copy", fault.Invalid, "not a whole extent: %+v", s)
	}
	store := p.o.Store(to)
	if store == nil {
		return unknown(to)
	}
	release, err := p.within(ctx, int(s.Bytes()))
	if err != nil {
		return err
	}
	defer release()
	data := make([]byte, s.Bytes())
	if err := p.Read(ctx, s, from, data); err != nil {
		return fault.Wrap("pool copy", err)
	}
	b := blockstore.Batch{ID: s.Extent, Data: data, Sums: blockstore.Sums(data), Note: note}
	return fault.Wrap("pool copy", p.putBatches(ctx, to, store, s.Bytes(), []blockstore.Batch{b}, false))
}
