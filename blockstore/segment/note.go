package segment

import (
	"context"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

var _ blockstore.Noter = (*Store)(nil)

// NoteOf implements blockstore.Noter: it reads the header of the extent's record.
func (s *Store) NoteOf(ctx context.Context, id blockstore.ID) (n blockstore.Note, blocks uint32, err error) {
	const op = "segment note"
	var last *entry
	for {
		if err := ctx.Err(); err != nil {
			return n, 0, fault.Because(op, fault.Canceled, err)
		}
		e, err := s.lookup(id)
		if err != nil {
			return n, 0, err
		}
		if e == nil || last != nil && last.segment == e.segment { // the same entry twice without its segment: lost
			return n, 0, fault.New(op, fault.NotExist, "%v", id)
		}
		seg := s.acquire(e.segment)
		if seg == nil {
			if last = e; s.isClosed() {
				return n, 0, s.usable()
			}
			continue
		}
		n, err = s.readNote(seg, id, e)
		s.release(seg)
		return n, e.blocks, fault.Wrap(op, err)
	}
}

func (s *Store) readNote(seg *segment, id blockstore.ID, e *entry) (blockstore.Note, error) {
	b := make([]byte, headerSize)
	if err := readAt(seg, b, e.offset); err != nil {
		return blockstore.Note{}, err
	}
	h, err := decodeHeader(s.id.Store, b)
	if err == nil && h.extent != id {
		err = fault.New("header", fault.Corrupt, "of %v, not %v", h.extent, id)
	}
	return h.note, err
}
