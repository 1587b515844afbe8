package remote

import (
	"context"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
	"dfs/net/wire"
)

// Serve answers the requests of other peers' Stores from s. Call it before the transport's Run.
func Serve(t peer.Transport, s blockstore.Store) {
	t.Serve(wire.KindBlock, wire.KindRecall-1, Handler(s))
}

// Handler answers one request from s; every request is checked before s sees it.
func Handler(s blockstore.Store) peer.Handler {
	return func(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error) {
		switch kind {
		case kindPut, kindHard:
			m := put{hard: kind == kindHard}
			defer body.Reuse() // a store keeps nothing of a put
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			if m.hard {
				return &done{}, blockstore.PutHard(ctx, s, m.batches...)
			}
			return &done{}, s.Put(ctx, m.batches...)
		case kindGet:
			var m get
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			return read(ctx, s, m.span)
		case kindDelete:
			var m remove
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			return &done{}, s.Delete(ctx, m.spans...)
		case kindSync:
			var m syncStore
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			return &done{}, s.Sync(ctx)
		case kindList:
			var m list
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			return listPage(ctx, s, m)
		}
		return nil, fault.New("remote serve", fault.Unsupported, "kind %v", kind)
	}
}

// read leaves the checking to the asker if the store can; else it sends sums of what the store has checked.
func read(ctx context.Context, s blockstore.Store, span blockstore.Span) (wire.Message, error) {
	m := &blocks{data: make([]byte, span.Bytes())}
	if raw, can := s.(blockstore.Raw); can {
		m.sums = make([]blockstore.Sum, span.Count)
		return m, raw.GetRaw(ctx, span, m.data, m.sums)
	}
	if err := s.Get(ctx, span, m.data); err != nil {
		return nil, err
	}
	m.sums = blockstore.Sums(m.data)
	return m, nil
}

func listPage(ctx context.Context, s blockstore.Store, m list) (wire.Message, error) {
	l, can := s.(blockstore.Lister)
	if !can {
		return nil, fault.New("remote serve", fault.Unsupported, "this store does not list")
	}
	p := &page{}
	err := l.List(ctx, m.after, func(id blockstore.ID, n uint32) bool {
		p.items = append(p.items, item{id, n})
		return len(p.items) < int(m.most)
	})
	return p, err
}
