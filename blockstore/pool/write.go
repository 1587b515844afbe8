package pool

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// putRate is the slowest a peer's queue may move before a put behind it counts as late, in bytes a second.
const putRate = 16 << 20

// draft is an extent being written. Invariant: a peer is in at most one of have and failed, and in tried if it ever
// was in either.
type draft struct {
	batch  blockstore.Batch
	have   []cluster.PeerID // acknowledged
	failed []cluster.PeerID // not to be asked again
	tried  []cluster.PeerID // may hold the extent
	next   []cluster.PeerID // picked for this round
}

// Write stores data, a positive multiple of blockstore.Size, as extents of at most w's unit, and returns them in
// order; together they cover it. Each is on at least one peer, and survives a crash of that peer's process, Sync
// making it survive the machine's. Peers that fail or are late are replaced by others, Options.Tries rounds long;
// what then has fewer replicas than wished for is Degraded. A replica whose outcome is not known is not listed.
//
// On an error nothing has been written, apart from what Run will delete: fault.NoSpace when no peer may take an
// extent, fault.Unreachable when those picked did not answer, fault.Unsupported for erasure coding. The data
// remain the caller's and must not change before Write has returned.
func (p *Pool) Write(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish) ([]Piece, error) {
	return p.write(ctx, data, note, w, false)
}

// WriteHard is Write whose extents are synced at every peer they are listed on, in the same requests. It waits
// Options.SyncTimeout longer for each; a peer that is gone is noticed by its link before that.
func (p *Pool) WriteHard(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish) ([]Piece, error) {
	return p.write(ctx, data, note, w, true)
}

func (p *Pool) write(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish, hard bool) ([]Piece, error) {
	if len(data) == 0 || len(data)%blockstore.Size != 0 {
		return nil, fault.New("pool write", fault.Invalid, "%d bytes are no blocks", len(data))
	}
	if w.Data > 0 {
		return nil, fault.New("pool write", fault.Unsupported, "erasure coding comes later")
	}
	release, err := p.within(ctx, len(data))
	if err != nil {
		return nil, err
	}
	defer release()
	drafts, err := p.cut(data, note, w.Unit())
	if err != nil {
		return nil, err
	}
	want, err := p.place(ctx, drafts, w, hard)
	pieces := make([]Piece, len(drafts))
	off := int64(0)
	for i, d := range drafts {
		s := span(d)
		pieces[i] = Piece{off, s, placement.Layout{Data: 1, Peers: d.have}, len(d.have) < want}
		off += s.Bytes()
		for _, peer := range d.tried {
			if err != nil || !slices.Contains(d.have, peer) {
				p.forgetLater(peer, s, d.batch.Note)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return pieces, nil
}

// cut makes extents of at most unit blocks from data. The drafts' bytes and sums are slices of the whole's.
func (p *Pool) cut(data []byte, note blockstore.Note, unit uint32) ([]*draft, error) {
	sums := blockstore.Sums(data)
	var drafts []*draft
	for first := 0; first < len(sums); first += int(unit) {
		end := min(first+int(unit), len(sums))
		id, err := p.newID()
		if err != nil {
			return nil, err
		}
		n := note
		n.Off += int64(first) * blockstore.Size
		drafts = append(drafts, &draft{batch: blockstore.Batch{
			ID: id, Data: data[first*blockstore.Size : end*blockstore.Size : end*blockstore.Size], Sums: sums[first:end:end], Note: n,
		}})
	}
	return drafts, nil
}

// newID returns an id of this millisecond that nobody else has.
func (p *Pool) newID() (blockstore.ID, error) {
	var id blockstore.ID
	binary.BigEndian.PutUint64(id[:8], uint64(p.o.Now().UnixMilli())<<16)
	if _, err := io.ReadFull(p.o.Random, id[6:]); err != nil {
		return id, fault.Because("pool id", fault.Other, err)
	}
	return id, nil
}

// place puts every draft on as many peers as w wants, if it can, and at least on one, or fails.
func (p *Pool) place(ctx context.Context, drafts []*draft, w placement.Wish, hard bool) (want int, err error) {
	var causes []error
	for try := range p.o.Tries {
		v := p.View()
		var missing bool
		if want, missing, err = p.pick(v, drafts, w); err != nil {
			causes = append(causes, err)
		}
		if !missing {
			break
		}
		if try == p.o.Tries-1 {
			v.Peers = nil // at last even who is silent is waited for
		}
		failed := p.putAll(ctx, v, drafts, hard)
		causes = append(causes, failed...)
		if len(failed) == 0 || ctx.Err() != nil {
			break
		}
	}
	if slices.ContainsFunc(causes, func(err error) bool { return errors.Is(err, fault.Exist) }) {
		return want, fault.Because("pool write", fault.Exist, errors.Join(causes...)) // an id was not unique after all
	}
	if !slices.ContainsFunc(drafts, func(d *draft) bool { return len(d.have) == 0 }) {
		return want, nil
	}
	kind := fault.Unreachable
	if ctx.Err() != nil {
		kind = ended(ctx)
	} else if !slices.ContainsFunc(causes, func(err error) bool { return !errors.Is(err, fault.NoSpace) }) {
		kind = fault.NoSpace
	}
	return want, fault.Because("pool write", kind, errors.Join(causes...))
}

// pick chooses this round's peers for every draft that lacks replicas. Those chosen for one draft count as in
// flight for the next. The error is the reason why there is nothing to choose for some.
func (p *Pool) pick(v cluster.View, drafts []*draft, w placement.Wish) (want int, missing bool, err error) {
	want = target(w, &v)
	first := p.Policy(w, nil)
	for _, d := range drafts {
		d.next = nil
		if len(d.have) >= want {
			continue
		}
		policy := first
		if len(d.have) > 0 {
			policy = p.Policy(w, d.have)
		}
		blocks, n := uint32(len(d.batch.Sums)), want-len(d.have)
		picked, _, e := policy.Pick(v, n, blocks, slices.Concat(d.have, d.failed))
		if e != nil && len(d.have) == 0 && len(d.failed) > 0 {
			d.failed = nil // nobody else is left: asking again those that failed is better than losing the bytes
			picked, _, e = policy.Pick(v, n, blocks, nil)
		}
		if e != nil {
			err = e
			continue
		}
		d.next, missing = picked, true
		for _, id := range picked {
			v.Find(id).InFlight += int64(len(d.batch.Data))
		}
	}
	return want, missing, err
}

// putAll sends every draft to the peers picked for it, one request a peer, notes who has it, and returns the
// failures. It returns when all have answered or were given up: who falls silent soon, where v has others to turn to.
func (p *Pool) putAll(ctx context.Context, v cluster.View, drafts []*draft, hard bool) (failed []error) {
	byPeer := map[cluster.PeerID][]*draft{}
	for _, d := range drafts {
		for _, peer := range d.next {
			byPeer[peer] = append(byPeer[peer], d)
		}
	}
	needless := map[cluster.PeerID]bool{}
	for peer, ds := range byPeer {
		needless[peer] = spared(v, peer, ds)
	}
	var mu sync.Mutex // guards the drafts and failed
	var wg sync.WaitGroup
	one := func(peer cluster.PeerID, ds []*draft) {
		putCtx, letGo := ctx, func() {}
		if needless[peer] {
			putCtx, letGo = p.unlessSilent(ctx, peer)
		}
		err := silence(putCtx, p.put(putCtx, peer, ds, hard))
		letGo()
		mu.Lock()
		defer mu.Unlock()
		for _, d := range ds {
			if err == nil {
				d.have = append(d.have, peer)
			} else {
				d.failed = append(d.failed, peer)
			}
			if !errors.Is(err, fault.Exist) && !slices.Contains(d.tried, peer) {
				d.tried = append(d.tried, peer)
			}
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	for peer, ds := range byPeer {
		if peer != p.o.Self {
			wg.Go(func() { one(peer, ds) })
		}
	}
	if ds := byPeer[p.o.Self]; len(ds) > 0 {
		one(p.o.Self, ds)
	}
	wg.Wait()
	return failed
}

// spared reports whether the drafts can do without peer: each is somewhere already, or another peer that answers is left.
func spared(v cluster.View, peer cluster.PeerID, ds []*draft) bool {
	return !slices.ContainsFunc(ds, func(d *draft) bool {
		return len(d.have) == 0 && !slices.ContainsFunc(v.Peers, func(q cluster.Peer) bool {
			return q.ID != peer && q.Available() && !slices.Contains(d.failed, q.ID)
		})
	})
}

// put sends drafts to one peer.
func (p *Pool) put(ctx context.Context, peer cluster.PeerID, ds []*draft, hard bool) error {
	store := p.o.Store(peer)
	if store == nil {
		return unknown(peer)
	}
	batches := make([]blockstore.Batch, len(ds))
	bytes := int64(0)
	for i, d := range ds {
		batches[i] = d.batch
		bytes += int64(len(d.batch.Data))
	}
	err := p.putBatches(ctx, peer, store, bytes, batches, hard)
	if err != nil {
		p.o.Log.Warn("put failed", "peer", peer.Short(), "extents", len(ds), "err", err)
	}
	return err
}

func (p *Pool) putBatches(ctx context.Context, peer cluster.PeerID, store blockstore.Store, bytes int64, b []blockstore.Batch, hard bool) error {
	queue, done := p.startPut(peer, bytes)
	limit := p.o.PutTimeout + time.Duration(float64(queue+bytes)/putRate*float64(time.Second))
	if hard {
		limit += p.o.SyncTimeout
	}
	putCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	if hard {
		err = blockstore.PutHard(putCtx, store, b...)
	} else {
		err = store.Put(putCtx, b...)
	}
	err = outcome(ctx, putCtx, err)
	done(err)
	if err == nil {
		return nil
	}
	return fault.Wrap("pool put to "+peer.Short(), err)
}

// outcome is err with its kind made plain, however a store words it: Canceled when the caller's context has ended,
// Timeout when only ours has.
func outcome(caller, ours context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case caller.Err() != nil:
		return fault.Because("given up", fault.Canceled, err)
	case ours.Err() != nil:
		return fault.Because("late", fault.Timeout, err)
	}
	return err
}

func span(d *draft) blockstore.Span {
	return blockstore.Span{Extent: d.batch.ID, Count: uint32(len(d.batch.Sums))}
}
