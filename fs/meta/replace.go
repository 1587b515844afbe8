package meta

import (
	"slices"

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
	for i, rec := range old {
		kept, err := keptPeers(op.New, rec.Extent)
		if err != nil {
			return err
		}
		if err := a.dropRecord(n, old[i]); err != nil {
			return err
		}
		a.free(rec.Span, without(rec.Layout.Peers, kept))
	}
	for _, e := range op.New {
		i, _ := slices.BinarySearchFunc(old, e.Off+1, func(rec record, off int64) int {
			if rec.End() < off {
				return -1
			}
			return 1
		})
		if err := a.addRecord(n, record{Extent: e, gen: n.TruncGen, copies: old[i].copies}); err != nil {
			return err
		}
		a.ch.Added = append(a.ch.Added, e)
	}
	return nil
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

// keptPeers returns the peers on which old's span stays named. An extent is kept whole or not at all.
func keptPeers(list []extent.Extent, old extent.Extent) ([]cluster.PeerID, error) {
	for _, e := range list {
		if e.Span.Extent != old.Span.Extent {
			continue
		}
		if e.Span == old.Span && e.Off == old.Off {
			return e.Layout.Peers, nil
		}
		if e.Span.First < old.Span.First+old.Span.Count && old.Span.First < e.Span.First+e.Span.Count {
			return nil, fault.New("replace", fault.Invalid, "extent %v is kept in part", old.Span.Extent)
		}
	}
	return nil, nil
}

func without(ps, kept []cluster.PeerID) (rest []cluster.PeerID) {
	for _, p := range ps {
		if !slices.Contains(kept, p) {
			rest = append(rest, p)
		}
	}
	return rest
}
