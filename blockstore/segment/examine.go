package segment

import (
	"context"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

var _ blockstore.Mender = (*Store)(nil)

// Examine implements blockstore.Mender. It takes one read of the record's head and one a run of live blocks, and
// nothing from the cache of sums: those on disk are what a restart will have.
func (s *Store) Examine(ctx context.Context, id blockstore.ID) (c blockstore.Condition, err error) {
	err = s.withRecord(ctx, "segment examine", id, func(seg *segment, e *entry) error {
		c, _, _ = s.examine(seg, id, e)
		return nil
	})
	return c, err
}

// withRecord calls fn with an extent's entry and the segment of its record, and not at all when the store does not
// know the extent or has lost the segment.
func (s *Store) withRecord(ctx context.Context, op string, id blockstore.ID, fn func(*segment, *entry) error) error {
	var last *entry
	for {
		if err := ctx.Err(); err != nil {
			return fault.Because(op, fault.Canceled, err)
		}
		e, err := s.lookup(id)
		if err != nil || e == nil || last != nil && last.segment == e.segment { // the same entry twice without its segment: lost
			return err
		}
		seg := s.acquire(e.segment)
		if seg == nil {
			if last = e; s.isClosed() {
				return s.usable()
			}
			continue
		}
		err = fn(seg, e)
		s.release(seg)
		return fault.Wrap(op, err)
	}
}

// examine reads the record of e. It returns its live blocks' bytes and sums too, in order; both are nil if the sums
// themselves cannot be trusted, and then all live blocks are bad.
func (s *Store) examine(seg *segment, id blockstore.ID, e *entry) (c blockstore.Condition, data []byte, sums []blockstore.Sum) {
	c = blockstore.Condition{Blocks: e.blocks, Live: e.alive()}
	h := e.header()
	head := make([]byte, headerSize+h.metaLen())
	if readAt(seg, head, e.offset) != nil {
		c.Bad = c.Live
		return c, nil, nil
	}
	got, all, err := s.readHead(head, id, e)
	if got.extent == id {
		c.Note, c.Noted = got.note, true
	}
	if err != nil {
		c.Bad = c.Live
		return c, nil, nil
	}
	held := e.held()
	data = make([]byte, int(c.Live.Len())*blockstore.Size)
	at := 0
	for _, run := range c.Live {
		first, n := held.Rank(run.First), int(run.End-run.First)
		part := data[at : at+n*blockstore.Size]
		from := e.offset + h.dataAt() + int64(first)*blockstore.Size
		whole := readAt(seg, part, from) == nil
		for i := range n {
			block, sum := part[i*blockstore.Size:(i+1)*blockstore.Size], all[int(first)+i]
			// Where the disk could not give the run, it may give most of its blocks.
			unread := !whole && readAt(seg, block, from+int64(i)*blockstore.Size) != nil
			if unread || blockstore.SumOf(block) != sum {
				b := run.First + uint32(i)
				c.Bad = c.Bad.Add(runs.Run{First: b, End: b + 1})
			}
			sums = append(sums, sum)
		}
		at += len(part)
	}
	return c, data, sums
}

// readHead checks that b is the head of the record that e speaks of, and returns it with its sums. The header is
// returned, and then sound, also when only the runs or sums behind it are not.
func (s *Store) readHead(b []byte, id blockstore.ID, e *entry) (header, []blockstore.Sum, error) {
	h, err := decodeHeader(s.id.Store, b)
	if err != nil {
		return header{}, nil, err
	}
	want := e.header()
	if h.extent != id || h.segment != e.segment || h.offset != e.offset || h.cluster != s.id.Cluster ||
		h.held != want.held || h.runs != want.runs {
		return header{}, nil, fault.New("segment read", fault.Corrupt, "extent %v lies where %v should", h.extent, id)
	}
	_, sums, err := h.decodeMeta(b[headerSize : headerSize+h.metaLen()])
	return h, sums, err
}

// Live returns the blocks of an extent that a Get should find, as the index has it.
func (s *Store) Live(ctx context.Context, id blockstore.ID) (live runs.Set, err error) {
	err = s.withRecord(ctx, "segment live", id, func(_ *segment, e *entry) error {
		live = e.alive()
		return nil
	})
	return live, err
}
