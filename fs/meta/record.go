package meta

import (
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/net/wire"
)

// addRecord puts rec into n's map. Nothing may lie where it goes.
func (a *apply) addRecord(n *node, rec record) error {
	return a.putRecord(n, rec, 1, a.tx.Set(extentKey(n.Ino, rec.End()), rec.encode()))
}

// dropRecord takes rec out of n's map; its blocks are the caller's to free.
func (a *apply) dropRecord(n *node, rec record) error {
	return a.putRecord(n, rec, ^uint64(0), a.tx.Delete(extentKey(n.Ino, rec.End())))
}

// dropDoomed is dropRecord for one that a truncation has doomed: it counts no more.
func (a *apply) dropDoomed(n *node, rec record) error {
	counted := min(n.doomed, uint64(rec.Span.Count))
	n.doomed -= counted
	n.Blocks += counted
	return a.dropRecord(n, rec)
}

func (a *apply) putRecord(n *node, rec record, count uint64, err error) error {
	if err != nil {
		return err
	}
	c, err := a.counters()
	if err != nil {
		return err
	}
	blocks := count * uint64(rec.Span.Count)
	n.Blocks += blocks
	c.blocks += blocks
	c.extents += count
	n.dirty = true
	a.count.add(rec, count)
	return nil
}

// checkExtents validates what a peer wants in a map.
func checkExtents(list []extent.Extent) error {
	if len(list) > CommitExtents {
		return fault.New("extents", fault.TooBig, "%d extents", len(list))
	}
	if err := extent.Map(list).Check(); err != nil {
		return fault.Because("extents", fault.Invalid, err)
	}
	for _, e := range list {
		l := e.Layout
		if l.Data != 1 || l.Parity != 0 {
			return fault.New("extents", fault.Unsupported, "layout %d+%d", l.Data, l.Parity)
		}
		if len(l.Peers) == 0 || len(sortPeers(slices.Clone(l.Peers))) != len(l.Peers) {
			return fault.New("extents", fault.Invalid, "the peers of %v are none or not distinct", e.Span.Extent)
		}
	}
	return nil
}

// free says that nobody names these blocks any more on these peers.
func (a *apply) free(s blockstore.Span, peers []cluster.PeerID) {
	if len(peers) == 0 {
		return
	}
	if a.freed == nil {
		a.freed = map[cluster.PeerID][]blockstore.Span{}
	}
	a.ch.Freed = append(a.ch.Freed, Freed{Span: s, Peers: peers})
	for _, p := range peers {
		list := a.freed[p]
		if i := len(list) - 1; i >= 0 && list[i].Extent == s.Extent && list[i].First+list[i].Count == s.First {
			list[i].Count += s.Count
			continue
		}
		a.freed[p] = append(list, s)
	}
}

// spansMax is how many spans one stored value holds: 26 bytes each at most, 64 KiB a value.
const spansMax = 1024

// writeFreed records what each member's store has to drop, until it confirms.
func (a *apply) writeFreed() error {
	if len(a.freed) == 0 {
		return nil
	}
	members, err := a.membership()
	if err != nil {
		return err
	}
	for p, list := range a.freed {
		if !isMember(members, p) {
			continue
		}
		n := uint16(0)
		for part := range slices.Chunk(list, spansMax) {
			if err := a.tx.Set(freedKey(p, a.c.Index, a.c.Op, n), encodeSpans(part)); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

func encodeSpans(list []blockstore.Span) []byte {
	b := wire.AppendUint(nil, uint64(len(list)))
	for _, s := range list {
		b = appendSpan(b, s)
	}
	return b
}

func decodeSpans(b []byte) ([]blockstore.Span, error) {
	d := wire.NewReader(b)
	var list []blockstore.Span
	for range d.Count(spansMax) {
		list = append(list, readSpan(d))
	}
	return list, corrupt("freed spans", d.Done())
}
