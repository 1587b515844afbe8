package vfs

import (
	"container/list"
	"slices"

	"dfs/blockstore"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

const (
	hotReads = 16       // small reads of one step after which all of it is fetched
	hotSteps = 1024     // whose reads are counted; the one not read for longest makes room
	hotSmall = 64 << 10 // larger reads are not counted, nor is less of a step fetched
)

// heat counts small reads of steps that are on other peers only. Each is a trip, and a step costs as much as some twenty: where
// scattered reads come back to a step again and again, it is fetched as a whole. One that was forgotten since is counted anew.
// ahead.mu guards it.
type heat struct {
	reads map[step]*list.Element
	order *list.List // of *warmth, read last first
}

type warmth struct {
	step
	reads int
}

// read notes a read, and reports whether it made the step hot.
func (h *heat) read(s step) bool {
	if h.reads == nil {
		h.reads, h.order = map[step]*list.Element{}, list.New()
	}
	el := h.reads[s]
	if el == nil {
		el = h.order.PushFront(&warmth{step: s})
		h.reads[s] = el
		if h.order.Len() > hotSteps {
			delete(h.reads, h.order.Remove(h.order.Back()).(*warmth).step)
		}
	}
	h.order.MoveToFront(el)
	w := el.Value.(*warmth)
	if w.reads++; w.reads < hotReads {
		return false
	}
	h.order.Remove(el)
	delete(h.reads, s)
	return true
}

// missed notes a read of n bytes at file offset off inside e that was not read ahead, and begins to fetch what surrounds it
// if that is read again and again.
func (f *FS) missed(ino meta.Ino, e extent.Extent, off int64, n int) {
	if n >= hotSmall || slices.Contains(e.Layout.Peers, f.o.Self) {
		return
	}
	at := e.Span.First + uint32((off-e.Off)/blockstore.Size)
	k := at / stepBlocks
	first, end := max(e.Span.First, k*stepBlocks), min(e.Span.First+e.Span.Count, (k+1)*stepBlocks)
	if int64(end-first)*blockstore.Size < hotSmall {
		return
	}
	s := step{e.Span.Extent, k}
	f.ahead.mu.Lock()
	hot := f.ahead.heat.read(s)
	f.ahead.mu.Unlock()
	if hot {
		f.ahead.begin(ino, e, s, blockstore.Span{Extent: e.Span.Extent, First: first, Count: end - first})
	}
}
