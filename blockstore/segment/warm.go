package segment

import (
	"container/list"
	"context"
	"sync"

	"dfs/blockstore"
	"dfs/blockstore/disk"
)

const (
	hotReads  = 16        // small reads of one extent after which all of it is read ahead
	hotAgain  = 64        // and again after so many more, about as many as cost as much: it may have been forgotten
	hotMax    = 256       // extents whose reads are counted: 1 GiB of large ones; the one not read for longest makes room
	hotQueue  = 16        // extents that wait to be read ahead; more are not
	warmBytes = 256 << 10 // smaller extents are not worth it, nor are reads as large as that counted
)

// heat counts small reads of large extents. A disk takes as long for 64 KiB as for 4: where scattered reads come back to
// an extent again and again, reading all of it into the system's memory saves most of their waits. Reads that are scattered
// over more than hotMax extents never get so far, and cost nothing.
type heat struct {
	mu    sync.Mutex
	reads map[blockstore.ID]*list.Element
	order *list.List // of *warmth, read last first
}

type warmth struct {
	id    blockstore.ID
	reads int
}

func newHeat() *heat { return &heat{reads: map[blockstore.ID]*list.Element{}, order: list.New()} }

// read notes a read, and reports whether it made the extent hot.
func (h *heat) read(id blockstore.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	el := h.reads[id]
	if el == nil {
		el = h.order.PushFront(&warmth{id: id})
		h.reads[id] = el
		if h.order.Len() > hotMax {
			delete(h.reads, h.order.Remove(h.order.Back()).(*warmth).id)
		}
	}
	h.order.MoveToFront(el)
	w := el.Value.(*warmth)
	w.reads++
	if w.reads == hotReads+hotAgain {
		w.reads = hotReads
	}
	return w.reads == hotReads
}

// hotRecord is the blocks of a record that is to be read ahead.
type hotRecord struct {
	place
	n int64
}

// warm has the rest of e's record read ahead if it is read again and again in small pieces.
func (s *Store) warm(seg *segment, span blockstore.Span, e *entry) {
	h := e.header()
	data := int64(h.held) * blockstore.Size
	if data < warmBytes || span.Bytes() >= warmBytes || !s.heat.read(span.Extent) {
		return
	}
	select {
	case s.hot <- hotRecord{place{seg.number, e.offset + h.dataAt()}, data}:
	default:
	}
}

// warmLoop reads ahead what is hot until ctx ends. To begin with so much takes milliseconds, which no reader should wait for.
func (s *Store) warmLoop(ctx context.Context) {
	for {
		select {
		case r := <-s.hot:
			s.readAhead(r)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Store) readAhead(r hotRecord) {
	seg := s.acquire(r.segment)
	if seg == nil {
		return // compacted away
	}
	defer s.release(seg)
	if f, can := seg.file.(disk.Hinter); can {
		f.Warm(r.offset, r.n)
	}
}
