package mem

import (
	"bytes"
	"context"
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// Examine implements blockstore.Mender.
func (s *Store) Examine(ctx context.Context, id blockstore.ID) (c blockstore.Condition, err error) {
	if err := ctx.Err(); err != nil {
		return c, fault.Because("mem examine", fault.Canceled, err)
	}
	s.mu.RLock()
	e, known := s.extents[id]
	s.mu.RUnlock()
	if !known {
		return c, nil
	}
	c = blockstore.Condition{Blocks: uint32(len(e.sums)), Live: e.alive(), Note: e.note, Noted: true}
	for _, run := range c.Live {
		for b := run.First; b < run.End; b++ {
			if blockstore.SumOf(e.data[int(b)*blockstore.Size:][:blockstore.Size]) != e.sums[b] {
				c.Bad = c.Bad.Add(runs.Run{First: b, End: b + 1})
			}
		}
	}
	return c, nil
}

// Mend implements blockstore.Mender.
func (s *Store) Mend(ctx context.Context, p blockstore.Patch) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("mem mend", fault.Canceled, err)
	}
	if err := p.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extents == nil {
		s.extents = map[blockstore.ID]extent{}
	}
	e, known := s.extents[p.ID]
	if !known {
		n := int(p.Blocks)
		e = extent{data: make([]byte, n*blockstore.Size), sums: make([]blockstore.Sum, n), note: p.Note, lost: runs.Of(0, p.Blocks)}
	} else if len(e.sums) != int(p.Blocks) {
		return fault.New("mem mend", fault.Exist, "extent %v has %d blocks, the patch says %d", p.ID, len(e.sums), p.Blocks)
	}
	s.live -= e.live()
	e.data, e.sums = bytes.Clone(e.data), slices.Clone(e.sums)
	at := 0
	for _, run := range p.Set {
		n := int(run.End - run.First)
		copy(e.data[int(run.First)*blockstore.Size:], p.Data[at*blockstore.Size:(at+n)*blockstore.Size])
		copy(e.sums[run.First:], p.Sums[at:at+n])
		at += n
	}
	e.lost = e.lost.Minus(p.Set)
	if len(e.alive()) > 0 {
		s.extents[p.ID] = e
	}
	s.live += e.live()
	return nil
}
