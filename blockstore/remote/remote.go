// Package remote makes the store of another peer a blockstore.Store here, and serves the store here to the others.
//
// On paper: a put is one request of at most 8,192 blocks (4 MiB), however many extents they belong to, its bytes sent
// without a copy; a get is one request, its answer the bytes and the sums they were stored with. The serving peer
// does not look at what it reads where its store allows that (blockstore.Raw): the reader's check covers its disk,
// both memories and the way. What arrives in a put is checked by the store that takes it.
package remote

import (
	"context"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
)

// Options of a Store. The zero value works.
type Options struct {
	Timeout     time.Duration // of one request but a sync; default 1 s
	SyncTimeout time.Duration // of a sync, which waits for a disk; default 5 s
}

// Store is one other peer's store.
type Store struct {
	to     cluster.PeerID
	caller peer.Caller
	o      Options
}

var (
	_ blockstore.Store  = (*Store)(nil)
	_ blockstore.Lister = (*Store)(nil)
	_ blockstore.Hard   = (*Store)(nil)
)

// New returns the store of peer to. It does not connect: that is the caller's business.
func New(caller peer.Caller, to cluster.PeerID, o Options) *Store {
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.SyncTimeout == 0 {
		o.SyncTimeout = 5 * time.Second
	}
	return &Store{to: to, caller: caller, o: o}
}

// Peer returns whose store it is.
func (s *Store) Peer() cluster.PeerID { return s.to }

// call is one request under a deadline of its own. A caller that has given up already is fault.Canceled.
func (s *Store) call(ctx context.Context, op string, timeout time.Duration, req, reply message) error {
	if err := ctx.Err(); err != nil {
		return fault.Because(op, fault.Canceled, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return fault.Wrap(op, s.caller.Call(ctx, s.to, req, reply))
}

// Put sends as few requests as the bounds allow, one after the other; what was sent before one failed is stored.
func (s *Store) Put(ctx context.Context, batches ...blockstore.Batch) error {
	return s.put(ctx, s.o.Timeout, false, batches)
}

// PutHard has the last of its requests synced over there, which covers those before.
func (s *Store) PutHard(ctx context.Context, batches ...blockstore.Batch) error {
	return s.put(ctx, s.o.Timeout+s.o.SyncTimeout, true, batches)
}

func (s *Store) put(ctx context.Context, timeout time.Duration, hard bool, batches []blockstore.Batch) error {
	for i := range batches {
		if err := batches[i].Shape(); err != nil {
			return err
		}
	}
	for len(batches) > 0 {
		n, blocks := 0, 0
		for ; n < len(batches) && blocks+len(batches[n].Sums) <= blockstore.MaxBlocks; n++ {
			blocks += len(batches[n].Sums)
		}
		m := &put{batches: batches[:n], hard: hard && n == len(batches)}
		if err := s.call(ctx, "remote put", timeout, m, &done{}); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return nil
}

// Get is fault.Corrupt when what arrives does not match its sums, wherever that happened.
func (s *Store) Get(ctx context.Context, span blockstore.Span, p []byte) error {
	if err := span.Check(p); err != nil {
		return err
	}
	reply := &blocks{most: span.Count}
	if err := s.call(ctx, "remote get", s.o.Timeout, &get{span: span}, reply); err != nil {
		return err
	}
	if err := blockstore.Verify(reply.data, reply.sums); err != nil || len(reply.data) != len(p) {
		return fault.New("remote get", fault.Corrupt, "%v from %s: %d bytes, %v", span, s.to.Short(), len(reply.data), err)
	}
	copy(p, reply.data)
	return nil
}

// maxSpans is the most spans in one request.
const maxSpans = 8192

func (s *Store) Delete(ctx context.Context, spans ...blockstore.Span) error {
	for len(spans) > 0 {
		n := min(len(spans), maxSpans)
		if err := s.call(ctx, "remote delete", s.o.Timeout, &remove{spans: spans[:n]}, &done{}); err != nil {
			return err
		}
		spans = spans[n:]
	}
	if err := ctx.Err(); err != nil {
		return fault.Because("remote delete", fault.Canceled, err)
	}
	return nil
}

func (s *Store) Sync(ctx context.Context) error {
	return s.call(ctx, "remote sync", s.o.SyncTimeout, &syncStore{}, &done{})
}

// pageExtents is how many extents a page of a list has.
const pageExtents = 4096

// List asks for a page at a time: what changes between pages may or may not be seen.
func (s *Store) List(ctx context.Context, after blockstore.ID, fn func(id blockstore.ID, blocks uint32) bool) error {
	for {
		var p page
		if err := s.call(ctx, "remote list", s.o.Timeout, &list{after: after, most: pageExtents}, &p); err != nil {
			return err
		}
		for _, i := range p.items {
			if !fn(i.id, i.blocks) {
				return nil
			}
			after = i.id
		}
		if len(p.items) < pageExtents {
			return nil
		}
	}
}
