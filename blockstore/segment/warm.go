package segment

import (
	"container/list"
	"sync"

	"dfs/blockstore"
	"dfs/blockstore/disk"
)

const (
	hotReads  = 16        // small reads of one extent after which all of it is read ahead
	hotMax    = 256       // extents whose reads are counted: 1 GiB of large ones; the one not read for longest makes room
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
	return w.reads == hotReads
}

// warm has the rest of e's record read ahead if it is read again and again in small pieces.
func (s *Store) warm(seg *segment, span blockstore.Span, e *entry) {
	h := e.header()
	data := int64(h.held) * blockstore.Size
	if data < warmBytes || span.Bytes() >= warmBytes || !s.heat.read(span.Extent) {
		return
	}
	if f, can := seg.file.(disk.Hinter); can {
		f.Warm(e.offset+h.dataAt(), data)
	}
}
