package meta

import (
	"math"
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
)

func (a *apply) commit(op Commit) error {
	n, err := a.file(op.Ino)
	if err != nil {
		return err
	}
	a.subject = n
	if err := checkCommit(n, op); err != nil {
		return err
	}
	cs, err := loadCuts(a.tx, &n.Inode)
	if err != nil {
		return err
	}
	if err := a.checkBase(n, cs, op); err != nil {
		return err
	}
	replaced, err := a.insert(n, cs, op.Extents)
	if err != nil {
		return err
	}
	if err := a.retire(n, op, stillNamed(replaced, op.Extents)); err != nil {
		return err
	}
	grown := op.End > n.Size
	n.Size = max(n.Size, op.End)
	if len(op.Extents) > 0 || grown {
		a.wrote(n, op.Append)
	}
	if len(op.Extents) > 0 || grown || op.Mtime != 0 {
		a.dated(n, op.Mtime, op.Time)
	}
	if op.Attrs.Mask != 0 {
		if err := a.attrs(n, op.Attrs); err != nil {
			return err
		}
	}
	if op.EndGrant && n.Grant != 0 && n.Grant == a.c.Session {
		return a.ungrant(n)
	}
	return nil
}

// checkCommit refuses what makes no sense whatever the map holds.
func checkCommit(n *node, op Commit) error {
	switch {
	case n.Type == Dir:
		return fault.New("commit", fault.IsDir, "inode %d", n.Ino)
	case n.Type != File:
		return fault.New("commit", fault.Invalid, "inode %d is no file", n.Ino)
	case op.Attrs.Mask&SetSize != 0:
		return fault.New("commit", fault.Invalid, "a size rides along")
	case op.End < 0:
		return fault.New("commit", fault.Invalid, "end %d", op.End)
	case op.End > SizeMax:
		return fault.New("commit", fault.TooBig, "end %d", op.End)
	}
	if err := checkExtents(op.Extents); err != nil {
		return err
	}
	if op.TruncGen != n.TruncGen {
		return fault.New("commit", fault.Conflict, "inode %d was truncated", n.Ino)
	}
	if op.Append && op.AppendAt != n.Size {
		return fault.New("commit", fault.Conflict, "inode %d ends at %d, not %d", n.Ino, n.Size, op.AppendAt)
	}
	if k := len(op.Extents); k > 0 && op.Extents[k-1].End() > ceilBlock(max(n.Size, op.End)) {
		return fault.New("commit", fault.Invalid, "extents beyond the end")
	}
	return nil
}

// checkBase compares the blocks that ragged edges were completed from with what is there now.
func (a *apply) checkBase(n *node, cs cuts, op Commit) error {
	for _, e := range op.Edges {
		if e.Off < 0 || e.Off%blockstore.Size != 0 {
			return fault.New("commit", fault.Invalid, "an edge at %d", e.Off)
		}
		var now blockstore.Span
		err := scanRecords(a.tx, n.Ino, e.Off, func(rec record) bool {
			if rec.Off <= e.Off && !cs.doomed(rec) {
				now = rec.Block(e.Off)
			}
			return false
		})
		if err != nil {
			return err
		}
		if now != e.Span {
			return fault.New("commit", fault.Conflict, "inode %d changed at %d", n.Ino, e.Off)
		}
	}
	return nil
}

// insert puts a commit's extents over what the map holds and returns the live pieces they replaced. Doomed records
// in their way are dropped and freed.
func (a *apply) insert(n *node, cs cuts, list []extent.Extent) (replaced []Freed, err error) {
	for len(list) > 0 {
		run := 1
		for run < len(list) && list[run].Off == list[run-1].End() {
			run++
		}
		from, to := list[0].Off, list[run-1].End()
		under, _, err := a.firstOverlapping(n, from, to, math.MaxInt)
		if err != nil {
			return nil, err
		}
		gone, err := a.carve(n, cs, under, from, to)
		if err != nil {
			return nil, err
		}
		replaced = append(replaced, gone...)
		for _, e := range list[:run] {
			if err := a.addNew(n, record{Extent: e, gen: n.TruncGen, copies: n.Wish.Copies}); err != nil {
				return nil, err
			}
		}
		list = list[run:]
	}
	return replaced, nil
}

// carve takes [from, to) out of the records under, and returns the live pieces that were there: they are the caller's to free. Doomed
// records are dropped and freed.
func (a *apply) carve(n *node, cs cuts, under []record, from, to int64) (live []Freed, err error) {
	for _, rec := range under {
		if cs.doomed(rec) {
			if err := a.dropDoomed(n, rec); err != nil {
				return nil, err
			}
			if err := a.letGo(rec.freed()); err != nil {
				return nil, err
			}
			continue
		}
		if err := a.dropRecord(n, rec); err != nil {
			return nil, err
		}
		for _, side := range [][2]int64{{rec.Off, from}, {to, rec.End()}} {
			if rest, ok := rec.Clip(side[0], side[1]); ok {
				if err := a.addRecord(n, rec.piece(rest)); err != nil {
					return nil, err
				}
			}
		}
		if gone, ok := rec.Clip(from, to); ok {
			live = append(live, rec.piece(gone).freed())
		}
	}
	return live, nil
}

// firstOverlapping returns the first records, at most limit, within [from, to), doomed ones included, and whether there are more.
func (a *apply) firstOverlapping(n *node, from, to int64, limit int) (list []record, more bool, err error) {
	err = scanRecords(a.tx, n.Ino, from, func(rec record) bool {
		if rec.Off >= to {
			return false
		}
		if more = len(list) >= limit; more {
			return false
		}
		list = append(list, rec)
		return true
	})
	return list, more, err
}

// retire frees what a synced commit replaced, and lets what a volatile one replaced wait for Stable.
func (a *apply) retire(n *node, op Commit, replaced []Freed) error {
	if op.Synced || len(op.Extents) == 0 {
		return a.letAllGo(replaced)
	}
	var peers []cluster.PeerID
	var last []cluster.PeerID
	for _, e := range op.Extents {
		if !slices.Equal(last, e.Layout.Peers) {
			peers, last = append(peers, e.Layout.Peers...), e.Layout.Peers
		}
	}
	return a.putVolatile(n.Ino, sortPeers(peers), replaced)
}

// stillNamed takes out of what was replaced the blocks that the new extents name again: a commit that was proposed
// twice, because its first outcome was unknown, must not free what it committed.
func stillNamed(replaced []Freed, list []extent.Extent) []Freed {
	if len(replaced) == 0 {
		return nil
	}
	again := map[blockstore.ID][]extent.Extent{}
	for _, e := range list {
		again[e.Span.Extent] = append(again[e.Span.Extent], e)
	}
	var rest []Freed
	for _, f := range replaced {
		if f.shared { // what names it again was counted
			rest = append(rest, f)
			continue
		}
		rest = append(rest, unnamed(f, again[f.Span.Extent])...)
	}
	return rest
}

// unnamed returns the parts of f that none of the extents, all of f's own extent, names.
func unnamed(f Freed, list []extent.Extent) []Freed {
	for i, e := range list {
		from := max(f.Span.First, e.Span.First)
		to := min(f.Span.First+f.Span.Count, e.Span.First+e.Span.Count)
		if from >= to {
			continue
		}
		var rest []Freed
		for _, side := range [][2]uint32{{f.Span.First, from}, {to, f.Span.First + f.Span.Count}} {
			if side[0] < side[1] {
				s := blockstore.Span{Extent: f.Span.Extent, First: side[0], Count: side[1] - side[0]}
				rest = append(rest, unnamed(Freed{Span: s, Peers: f.Peers}, list[i+1:])...)
			}
		}
		if ps := without(f.Peers, e.Layout.Peers); len(ps) > 0 {
			rest = append(rest, Freed{Span: blockstore.Span{Extent: f.Span.Extent, First: from, Count: to - from}, Peers: ps})
		}
		return rest
	}
	return []Freed{f}
}
