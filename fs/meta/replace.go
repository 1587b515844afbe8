package meta

import (
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
)

// replace swaps records for others of the same bytes.
func (a *apply) replace(op Replace) error {
	n, err := a.file(op.Ino)
	if err != nil {
		return err
	}
	a.subject = n
	if len(op.Old) == 0 || extent.Map(op.Old).Check() != nil {
		return fault.New("replace", fault.Invalid, "old records")
	}
	if err := checkExtents(op.New); err != nil {
		return err
	}
	if !sameCover(op.Old, op.New) {
		return fault.New("replace", fault.Invalid, "new records cover other bytes")
	}
	if n.Grant != 0 && !sameSpans(op.Old, op.New) {
		return fault.New("replace", fault.Conflict, "inode %d is a mount's alone, which may have written on these blocks", n.Ino)
	}
	cs, err := loadCuts(a.tx, &n.Inode)
	if err != nil {
		return err
	}
	old := make([]record, len(op.Old))
	for i, e := range op.Old {
		rec, ok, err := a.record(n.Ino, e.End())
		if err != nil {
			return err
		}
		if !ok || !rec.Same(e) || cs.doomed(rec) {
			return fault.New("replace", fault.Conflict, "inode %d changed at %d", n.Ino, e.Off)
		}
		old[i] = rec
	}
	if err := checkKept(op.New, old); err != nil {
		return err
	}
	for _, rec := range old {
		if err := a.dropRecord(n, rec); err != nil {
			return err
		}
		gone := rec.freed()
		if k := find(op.New, rec.Extent); k >= 0 {
			gone.Peers = without(gone.Peers, op.New[k].Layout.Peers)
		}
		if err := a.letGo(gone); err != nil {
			return err
		}
	}
	for _, e := range op.New {
		i, _ := slices.BinarySearchFunc(old, e.Off+1, func(rec record, off int64) int {
			if rec.End() < off {
				return -1
			}
			return 1
		})
		next := record{Extent: e, gen: n.TruncGen, copies: old[i].copies}
		var err error
		if old[i].Off == e.Off && old[i].Span == e.Span {
			err = a.keep(n, next, old[i])
		} else {
			err = a.addNew(n, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep puts next, which holds the same span as old did, into n's map. If it is shared, what its layout has besides is counted, but not on a
// peer that has only a part of it for others, or had: what is freed is about to be deleted there.
func (a *apply) keep(n *node, next, old record) error {
	a.ch.Added = append(a.ch.Added, next.Extent)
	next.shared = old.shared
	if !old.shared {
		return a.addRecord(n, next)
	}
	for _, p := range without(next.Layout.Peers, old.Layout.Peers) {
		s, err := a.share(next.Span.Extent, p)
		if err != nil {
			return err
		}
		run := runs.Run{First: next.Span.First, End: next.Span.First + next.Span.Count}
		if s.stored && !s.ts.blocks().Covers(run) {
			return fault.New("replace", fault.Conflict, "%s has, or had, a part of %v", p.Short(), s.id)
		}
		if err := a.hold(next.Span, []cluster.PeerID{p}); err != nil {
			return err
		}
	}
	return a.addRecord(n, next)
}

func (a *apply) record(ino Ino, end int64) (record, bool, error) {
	b, ok, err := a.tx.Get(extentKey(ino, end))
	if err != nil || !ok {
		return record{}, false, err
	}
	rec, err := decodeRecord(end, b)
	return rec, err == nil, err
}

// sameCover reports whether two maps cover the same bytes, with tails in the same places.
func sameCover(x, y extent.Map) bool { return slices.Equal(cover(x), cover(y)) }

func sameSpans(x, y []extent.Extent) bool {
	return slices.EqualFunc(x, y, func(a, b extent.Extent) bool { return a.Off == b.Off && a.Span == b.Span })
}

// stretch is bytes without a gap or a tail inside.
type stretch struct {
	off, end int64
	tail     uint16
}

func cover(m extent.Map) (list []stretch) {
	for _, e := range m {
		if k := len(list) - 1; k >= 0 && list[k].end == e.Off && list[k].tail == 0 {
			list[k].end, list[k].tail = e.End(), e.Tail
			continue
		}
		list = append(list, stretch{e.Off, e.End(), e.Tail})
	}
	return list
}

// find returns the place in list of the record that holds e's span at e's place, -1 if there is none.
func find(list []extent.Extent, e extent.Extent) int {
	return slices.IndexFunc(list, func(x extent.Extent) bool { return x.Span == e.Span && x.Off == e.Off })
}

// checkKept refuses new records that keep old extents in part, or elsewhere.
func checkKept(list []extent.Extent, old []record) error {
	spans := map[blockstore.ID][]extent.Extent{}
	for _, rec := range old {
		spans[rec.Span.Extent] = append(spans[rec.Span.Extent], rec.Extent)
	}
	for _, e := range list {
		same := spans[e.Span.Extent]
		if find(same, e) >= 0 {
			continue
		}
		for _, o := range same {
			if e.Span.First < o.Span.First+o.Span.Count && o.Span.First < e.Span.First+e.Span.Count {
				return fault.New("replace", fault.Invalid, "extent %v is kept in part", e.Span.Extent)
			}
		}
	}
	return nil
}

func without(ps, kept []cluster.PeerID) (rest []cluster.PeerID) {
	for _, p := range ps {
		if !slices.Contains(kept, p) {
			rest = append(rest, p)
		}
	}
	return rest
}
