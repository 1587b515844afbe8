package segment

import (
	"container/list"
	"context"
	"sync"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// Get reads the wanted blocks only, and the sums if they are not cached: a small record is read whole at once.
func (s *Store) Get(ctx context.Context, span blockstore.Span, p []byte) error {
	return s.get(ctx, span, p, func(sums []blockstore.Sum) error { return blockstore.Verify(p, sums) })
}

// GetRaw does not look at the blocks.
func (s *Store) GetRaw(ctx context.Context, span blockstore.Span, p []byte, sums []blockstore.Sum) error {
	return s.get(ctx, span, p, func(stored []blockstore.Sum) error {
		copy(sums, stored)
		return nil
	})
}

// get fills p and hands the sums of its blocks to done.
func (s *Store) get(ctx context.Context, span blockstore.Span, p []byte, done func([]blockstore.Sum) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("segment get", fault.Canceled, err)
	}
	if err := span.Check(p); err != nil {
		return err
	}
	want := runs.Run{First: span.First, End: span.First + span.Count}
	var last *entry
	for {
		e, err := s.lookup(span.Extent)
		if err != nil {
			return err
		}
		// The same entry twice without its segment: lost, not moved meanwhile.
		lost := last != nil && e != nil && last.segment == e.segment
		if e == nil || lost || !e.held().Covers(want) || e.dead.Meets(want) {
			return fault.New("segment get", fault.NotExist, "%v", span)
		}
		seg := s.acquire(e.segment)
		if seg == nil {
			if last = e; s.isClosed() {
				return s.usable()
			}
			continue
		}
		err = s.read(seg, span, e, p, done)
		s.release(seg)
		return fault.Wrap("segment get", err)
	}
}

func (s *Store) isClosed() bool { return fault.KindOf(s.usable()) == fault.Closed }

// wholeBytes is the size up to which a record is read in one piece when its sums are needed too.
const wholeBytes = 64 << 10

func (s *Store) read(seg *segment, span blockstore.Span, e *entry, p []byte, done func([]blockstore.Sum) error) error {
	s.warm(seg, span, e)
	first := e.held().Rank(span.First)
	h := e.header()
	at := e.offset + h.dataAt() + int64(first)*blockstore.Size
	sums, cached := s.sums.get(place{e.segment, e.offset})
	if !cached && h.size() <= wholeBytes {
		b := make([]byte, h.size())
		if err := readAt(seg, b, e.offset); err != nil {
			return err
		}
		var err error
		if sums, err = s.decodeSums(b[:headerSize+h.metaLen()], span.Extent, e); err != nil {
			return err
		}
		copy(p, b[at-e.offset:])
		return done(sums[first : first+span.Count])
	}
	if !cached {
		var err error
		if sums, err = s.readSums(seg, span.Extent, e); err != nil {
			return err
		}
	}
	if err := readAt(seg, p, at); err != nil {
		return err
	}
	return done(sums[first : first+span.Count])
}

// readAt fills b. What the disk cannot give back is as good as rotten: another replica will have it.
func readAt(seg *segment, b []byte, off int64) error {
	if n, err := seg.file.ReadAt(b, off); n < len(b) {
		return fault.Because("segment read", fault.Corrupt, err)
	}
	return nil
}

// readSums returns the sums of the record's blocks, from the cache or the disk.
func (s *Store) readSums(seg *segment, id blockstore.ID, e *entry) ([]blockstore.Sum, error) {
	if sums, cached := s.sums.get(place{e.segment, e.offset}); cached {
		return sums, nil
	}
	h := e.header()
	b := make([]byte, headerSize+h.metaLen())
	if err := readAt(seg, b, e.offset); err != nil {
		return nil, err
	}
	return s.decodeSums(b, id, e)
}

// decodeSums is readHead for those who want the sums alone, and caches them.
func (s *Store) decodeSums(b []byte, id blockstore.ID, e *entry) ([]blockstore.Sum, error) {
	_, sums, err := s.readHead(b, id, e)
	if err == nil {
		s.sums.add(place{e.segment, e.offset}, sums)
	}
	return sums, err
}

// place names a record.
type place struct {
	segment uint64
	offset  int64
}

// sumCache keeps the sums of records that were used last, up to a number of bytes. The slices are shared: read only.
type sumCache struct {
	mu     sync.Mutex
	most   int64
	bytes  int64
	order  *list.List // most recently used first
	places map[place]*list.Element
}

type cached struct {
	place place
	sums  []blockstore.Sum
}

func (c *cached) bytes() int64 { return 128 + 4*int64(len(c.sums)) }

func newSumCache(most int64) *sumCache {
	return &sumCache{most: most, order: list.New(), places: map[place]*list.Element{}}
}

func (c *sumCache) get(p place) ([]blockstore.Sum, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.places[p]
	if el == nil {
		return nil, false
	}
	c.order.MoveToFront(el)
	return el.Value.(*cached).sums, true
}

func (c *sumCache) add(p place, sums []blockstore.Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[p] != nil {
		return
	}
	item := &cached{p, sums}
	c.places[p] = c.order.PushFront(item)
	for c.bytes += item.bytes(); c.bytes > c.most; {
		old := c.order.Remove(c.order.Back()).(*cached)
		delete(c.places, old.place)
		c.bytes -= old.bytes()
	}
}
