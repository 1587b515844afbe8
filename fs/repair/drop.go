package repair

import (
	"context"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/fs/meta"
)

// Dropper deletes from a peer's own store what the state says is freed. What was freed is remembered in the state until
// this peer has confirmed it, so nothing is leaked however often the peer is away.
type Dropper struct {
	Self  cluster.PeerID
	View  func() (*meta.Image, error)
	Store blockstore.Store

	deleted  uint64 // up to here everything freed is deleted
	dropped  uint64 // and synced: a power cut does not bring it back
	unsynced bool
}

const dropSpans = 4096 // freed in one go

// Pass drops everything freed up to the index released, which no reader on any mount asks for any more, and returns
// the index up to which that is done. It must not run twice at a time.
func (d *Dropper) Pass(ctx context.Context, released uint64) (uint64, error) {
	v, err := d.View()
	if err != nil {
		return d.dropped, err
	}
	defer v.Close()
	until := min(released, v.Index())
	for {
		list, err := v.FreedFor(d.Self, d.deleted, dropSpans)
		if err != nil {
			return d.dropped, err
		}
		last := until
		var spans []blockstore.Span
		for _, f := range list {
			if f.Index > until {
				break
			}
			spans, last = append(spans, f.Spans...), f.Index
		}
		if len(spans) == 0 {
			if d.unsynced {
				if err := d.Store.Sync(ctx); err != nil {
					return d.dropped, err
				}
			}
			d.unsynced, d.dropped = false, max(d.dropped, d.deleted, until)
			d.deleted = d.dropped
			return d.dropped, nil
		}
		if err := d.Store.Delete(ctx, spans...); err != nil {
			return d.dropped, err
		}
		d.deleted, d.unsynced = last, true
	}
}
