package segment

import (
	"context"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

const mendTries = 8 // while deletes and compaction change the extent

// Mend implements blockstore.Mender: a new record holds the patch and whatever else of the extent is live, and the index
// goes over to it. The old record stays where it is until its segment is compacted.
func (s *Store) Mend(ctx context.Context, p blockstore.Patch) error {
	const op = "segment mend"
	if err := p.Check(); err != nil {
		return err
	}
	for range mendTries {
		if err := ctx.Err(); err != nil {
			return fault.Because(op, fault.Canceled, err)
		}
		var rec *record
		err := s.withRecord(ctx, op, p.ID, func(seg *segment, e *entry) error {
			rec = s.patched(seg, e, p)
			return nil
		})
		if err != nil {
			return err
		}
		if rec == nil { // unknown, or its segment is lost
			if rec, err = s.remade(p); err != nil {
				return err
			}
		}
		done, err := s.appendMended(ctx, op, rec)
		if err != nil {
			return err
		}
		if done {
			return s.pressed(ctx)
		}
	}
	return fault.New(op, fault.Conflict, "extent %v keeps changing", p.ID)
}

// remade makes the record of an extent whose old one, if any, is out of reach.
func (s *Store) remade(p blockstore.Patch) (*record, error) {
	before, err := s.lookup(p.ID)
	if err != nil {
		return nil, err
	}
	set := p.Set
	if before != nil {
		set = set.Minus(before.dead)
	}
	return newRecord(p, p.Note, set, nil, before), nil
}

// patched makes the record that takes the place of e's.
func (s *Store) patched(seg *segment, e *entry, p blockstore.Patch) *record {
	c, data, sums := s.examine(seg, p.ID, e)
	if sums == nil {
		c.Live = nil // nothing tells which of them are good
	}
	note := p.Note
	if c.Noted {
		note = c.Note
	}
	own := func(b uint32) ([]byte, blockstore.Sum, bool) {
		if !c.Live.Covers(runs.Run{First: b, End: b + 1}) {
			return nil, 0, false
		}
		i := int(c.Live.Rank(b))
		return data[i*blockstore.Size : (i+1)*blockstore.Size], sums[i], true
	}
	return newRecord(p, note, c.Live.Union(p.Set.Minus(e.dead)), own, e)
}

// newRecord makes a record of the blocks in set: p's, else those that own returns.
func newRecord(p blockstore.Patch, note blockstore.Note, set runs.Set, own func(uint32) ([]byte, blockstore.Sum, bool), before *entry) *record {
	rec := &record{
		header: header{kind: kindMove, extent: p.ID, note: note, blocks: p.Blocks},
		next:   &entry{blocks: p.Blocks}, before: before,
	}
	if set.Len() < p.Blocks {
		rec.set, rec.next.kept = set, set
	}
	for _, run := range set {
		for b := run.First; b < run.End; b++ {
			if p.Set.Covers(runs.Run{First: b, End: b + 1}) {
				i := int(p.Set.Rank(b))
				rec.data = append(rec.data, p.Data[i*blockstore.Size:(i+1)*blockstore.Size]...)
				rec.sums = append(rec.sums, p.Sums[i])
			} else if block, sum, ok := own(b); ok {
				rec.data, rec.sums = append(rec.data, block...), append(rec.sums, sum)
			}
		}
	}
	rec.header.held, rec.header.runs = uint32(len(rec.sums)), uint32(len(rec.set))
	return rec
}

// appendMended appends rec unless the extent has changed since it was made. A record of nothing, because all its blocks
// were deleted, is not needed.
func (s *Store) appendMended(ctx context.Context, op string, rec *record) (bool, error) {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return false, err
	}
	e, err := s.lookup(rec.header.extent)
	if err != nil || !sameEntry(e, rec.before) {
		return false, err
	}
	if len(rec.sums) == 0 {
		return true, nil
	}
	if e != nil && e.blocks != rec.header.blocks {
		return false, fault.New(op, fault.Exist, "extent %v has %d blocks, the patch says %d", rec.header.extent, e.blocks, rec.header.blocks)
	}
	if err := s.room(rec.header.size()); err != nil {
		return false, err
	}
	if err := s.spare(rec.header.size()); err != nil {
		return false, err
	}
	if err := s.append(ctx, op, []record{*rec}); err != nil {
		return false, err
	}
	s.unstick(e)
	return true, nil
}

// unstick lets compaction try the segment again that e's record was in.
func (s *Store) unstick(e *entry) {
	if e == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg := s.segments[e.segment]; seg != nil && seg.stuck {
		seg.stuck = false
		s.wakeLocked()
	}
}

func sameEntry(a, b *entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.segment == b.segment && a.offset == b.offset && a.dead.Len() == b.dead.Len()
}
