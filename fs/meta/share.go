package meta

import (
	"bytes"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/net/wire"
)

// An extent that a Clone has given a second record is shared. Of such blocks the state counts, peer by peer, how many records place them there
// (and pieces that wait for a Stable op); they are freed on a peer when that is none. Every record that is counted says so (record.shared),
// so what was never shared costs nothing: its one record is its count. DESIGN.md has the rules.

// tally says that refs records name the blocks [first, end).
type tally struct{ first, end, refs uint32 }

// tallies is the counts of an extent's blocks on one peer: sorted, disjoint, none empty, refs above 0, neighbours that touch differ.
// It is a value.
type tallies []tally

// refsMax is how many records may name one block.
const refsMax = 1 << 20

// push appends t, joined to the last one where that is the same.
func (ts tallies) push(t tally) tallies {
	if t.first >= t.end || t.refs == 0 {
		return ts
	}
	if k := len(ts) - 1; k >= 0 && ts[k].end == t.first && ts[k].refs == t.refs {
		ts[k].end = t.end
		return ts
	}
	return append(ts, t)
}

// add returns ts with one reference more to [first, end), and the highest count there.
func (ts tallies) add(first, end uint32) (next tallies, most uint32) {
	at := first
	for _, t := range ts {
		if t.first >= end {
			next = next.push(tally{at, end, 1})
			at = end
		}
		next = next.push(tally{t.first, min(t.end, first), t.refs})
		if from, to := max(t.first, first), min(t.end, end); from < to {
			next = next.push(tally{at, from, 1})
			next = next.push(tally{from, to, t.refs + 1})
			at, most = to, max(most, t.refs+1)
		}
		next = next.push(tally{max(t.first, end), t.end, t.refs})
	}
	return next.push(tally{at, end, 1}), max(most, 1)
}

// take returns ts with one reference less to [first, end), and the blocks to which none is left. Blocks that nobody counted are not
// among them: what is not known to be free stays.
func (ts tallies) take(first, end uint32) (next tallies, gone runs.Set) {
	for _, t := range ts {
		next = next.push(tally{t.first, min(t.end, first), t.refs})
		if from, to := max(t.first, first), min(t.end, end); from < to {
			next = next.push(tally{from, to, t.refs - 1})
			if t.refs == 1 {
				gone = gone.Add(runs.Run{First: from, End: to})
			}
		}
		next = next.push(tally{max(t.first, end), t.end, t.refs})
	}
	return next, gone
}

// blocks returns what has a reference.
func (ts tallies) blocks() (s runs.Set) {
	for _, t := range ts {
		s = s.Add(runs.Run{First: t.first, End: t.end})
	}
	return s
}

func (ts tallies) encode() (b []byte) {
	at := uint32(0)
	for _, t := range ts {
		b = appendUints(b, uint64(t.first-at), uint64(t.end-t.first), uint64(t.refs))
		at = t.end
	}
	return b
}

func decodeTallies(b []byte) (ts tallies, err error) {
	d := wire.NewReader(b)
	at := uint32(0)
	for d.Err() == nil && d.Len() > 0 {
		t := tally{first: at + d.Uint32()}
		t.end = t.first + d.Uint32()
		t.refs = d.Uint32()
		if d.Err() == nil && (t.first < at || t.end <= t.first || t.end > blockstore.MaxBlocks || t.refs == 0) {
			return nil, corrupt("shares", fault.New("tallies", fault.Invalid, "%+v", t))
		}
		ts, at = append(ts, t), t.end
	}
	return ts, corrupt("shares", d.Err())
}

// share is the counts of one shared extent on one peer. One that counts nothing any more stays as long as the extent is shared on any: it says
// that blocks were freed there, which must not be counted on again.
type share struct {
	id      blockstore.ID
	peer    cluster.PeerID
	ts      tallies
	stored  bool
	changed bool
}

func (a *apply) share(id blockstore.ID, peer cluster.PeerID) (*share, error) {
	for _, s := range a.shares[id] {
		if s.peer == peer {
			return s, nil
		}
	}
	s := &share{id: id, peer: peer}
	b, ok, err := a.tx.Get(shareKey(id, peer))
	if err != nil {
		return nil, err
	}
	if s.stored = ok; ok {
		if s.ts, err = decodeTallies(b); err != nil {
			return nil, err
		}
	}
	if a.shares == nil {
		a.shares = map[blockstore.ID][]*share{}
	}
	a.shares[id] = append(a.shares[id], s)
	return s, nil
}

// isShared reports whether anything of an extent is counted. Almost always its id is younger than any that ever was, which costs nothing.
func (a *apply) isShared(id blockstore.ID) (bool, error) {
	c, err := a.counters()
	if err != nil || bytes.Compare(id[:], c.shared[:]) > 0 {
		return false, err
	}
	if len(a.shares[id]) > 0 {
		return true, nil
	}
	found := false
	err = a.tx.Scan(sharesOf(id), nil, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found, err
}

// hold counts one record more that places s on peers. fault.TooManyLinks where there are refsMax.
func (a *apply) hold(s blockstore.Span, peers []cluster.PeerID) error {
	c, err := a.counters()
	if err != nil {
		return err
	}
	if bytes.Compare(s.Extent[:], c.shared[:]) > 0 {
		c.shared = s.Extent
	}
	for _, p := range peers {
		h, err := a.share(s.Extent, p)
		if err != nil {
			return err
		}
		var most uint32
		if h.ts, most = h.ts.add(s.First, s.First+s.Count); most > refsMax {
			return fault.New("share", fault.TooManyLinks, "%d records name %v", most, s.Extent)
		}
		h.changed = true
	}
	return nil
}

// release takes back what hold has counted, and frees on each peer what nothing places there any more.
func (a *apply) release(s blockstore.Span, peers []cluster.PeerID) error {
	var last runs.Set
	var at []cluster.PeerID // that lose last
	free := func() {
		for _, r := range last {
			a.free(blockstore.Span{Extent: s.Extent, First: r.First, Count: r.End - r.First}, at)
		}
	}
	for _, p := range peers {
		h, err := a.share(s.Extent, p)
		if err != nil {
			return err
		}
		var gone runs.Set
		h.ts, gone = h.ts.take(s.First, s.First+s.Count)
		h.changed = true
		if !equalRuns(gone, last) {
			free()
			last, at = gone, nil
		}
		at = append(at, p)
	}
	free()
	return nil
}

func equalRuns(x, y runs.Set) bool { return len(x.Minus(y)) == 0 && len(y.Minus(x)) == 0 }

// letGo frees what a record, or a piece of one, named: at once, or, if it is shared, where it was the last.
func (a *apply) letGo(f Freed) error {
	if f.shared {
		return a.release(f.Span, f.Peers)
	}
	a.free(f.Span, f.Peers)
	return nil
}

func (a *apply) letAllGo(list []Freed) error {
	for _, f := range list {
		if err := a.letGo(f); err != nil {
			return err
		}
	}
	return nil
}

// freed returns all of rec as what is to be let go.
func (rec record) freed() Freed {
	return Freed{Span: rec.Span, Peers: rec.Layout.Peers, shared: rec.shared}
}

// piece returns part of rec as a record.
func (rec record) piece(part extent.Extent) record {
	rec.Extent = part
	return rec
}

// addNew puts an extent that an op names into n's map: a record of its own, counted where somebody shares it.
func (a *apply) addNew(n *node, rec record) error {
	shared, err := a.isShared(rec.Span.Extent)
	if err != nil {
		return err
	}
	if rec.shared = shared; shared {
		if err := a.hold(rec.Span, rec.Layout.Peers); err != nil {
			return err
		}
	}
	a.ch.Added = append(a.ch.Added, rec.Extent)
	return a.addRecord(n, rec)
}

// writeShares writes the counts that changed, and forgets extents of which nothing is counted on any peer.
func (a *apply) writeShares() error {
	for id, list := range a.shares {
		over, err := a.unshared(id, list)
		if err != nil {
			return err
		}
		for _, s := range list {
			key := shareKey(id, s.peer)
			switch {
			case over:
				continue
			case s.changed && (len(s.ts) > 0 || s.stored):
				err = a.tx.Set(key, s.ts.encode())
			}
			if err != nil {
				return err
			}
		}
		if over {
			keys, _, err := a.some(sharesOf(id), nil, func([]byte) bool { return true })
			if err := a.deleteAll(keys, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// unshared reports whether an op has left no count of an extent on any peer.
func (a *apply) unshared(id blockstore.ID, list []*share) (bool, error) {
	emptied := false
	for _, s := range list {
		if len(s.ts) > 0 {
			return false, nil
		}
		emptied = emptied || s.changed && s.stored
	}
	if !emptied {
		return false, nil
	}
	over := true
	err := a.tx.Scan(sharesOf(id), nil, func(k, b []byte) bool {
		known := false
		for _, s := range list {
			known = known || bytes.Equal(k, shareKey(id, s.peer))
		}
		over = known || len(b) == 0
		return over
	})
	return over, err
}

// Holding is the blocks of a shared extent that one peer is to hold.
type Holding struct {
	Peer   cluster.PeerID
	Blocks runs.Set // empty: it held some once, and what was there is freed
}

// Shared returns what peers are to hold of an extent because of records that share it. Nothing: nobody shares any of it. A record that is
// not shared is not among them, and no block of it is.
func (v *Image) Shared(id blockstore.ID) (list []Holding, err error) {
	var failed error
	err = v.r.Scan(sharesOf(id), nil, func(k, b []byte) bool {
		var ts tallies
		ts, failed = decodeTallies(b)
		list = append(list, Holding{Peer: cluster.PeerID(k[18:]), Blocks: ts.blocks()})
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return list, err
}
