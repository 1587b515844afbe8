package vfs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

const rereadsMax = 4 // times a map is read again because its extents were gone

// Read fills p with the file's bytes at off, this mount's own writes included, and returns how many there are; fewer
// than len(p) at the end only.
func (f *FS) Read(ctx context.Context, id Handle, off int64, p []byte) (int, error) {
	h, err := f.handle(id)
	if err != nil {
		return 0, err
	}
	n := h.n
	if n == nil || !h.mode.Read {
		return 0, fault.New("vfs read", fault.Invalid, "handle %d is not open for reading", id)
	}
	if h.lost.Load() {
		return 0, lockLost(n.ino)
	}
	if off < 0 || len(p) == 0 || off > meta.SizeMax {
		return 0, nil
	}
	if done, err := f.readDirty(ctx, n, off, p); done || err != nil {
		if err == nil && !h.mode.NoAtime {
			f.noteDirtyAccess(n)
		}
		return len(p), err
	}
	return f.readUnder(ctx, h, off, p)
}

// readDirty fills p if one run of dirty bytes does. It commits a tail first: where its bytes are is known only then.
func (f *FS) readDirty(ctx context.Context, n *node, off int64, p []byte) (done bool, err error) {
	n.mu.Lock()
	for len(n.tail) > 0 || slices.ContainsFunc(n.inflight, func(b *batch) bool { return len(b.tail) > 0 }) {
		n.mu.Unlock()
		if err := f.flush(ctx, n, how{early: true}); err != nil {
			return false, err
		}
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	own := n.dirty.overlap(off, int64(len(p)))
	return len(own) == 1 && copy(p, own[0].data) == len(p), nil
}

// readUnder fills p from the committed map and what this mount has written over it, and returns how many bytes there are. Extents
// that are gone were replaced, and that was released before they went: the map is read again.
func (f *FS) readUnder(ctx context.Context, h *handle, off int64, p []byte) (int, error) {
	n := h.n
	far := h.seq.ahead(off, len(p))
	var last extent.Map
	for try := 0; ; {
		var m extent.Map
		var st meta.Inode
		var at uint64
		here := f.here.of(n.ino)
		_, err := f.coh.Read(ctx, coherence.Bytes(n.ino), func(v meta.View) (err error) {
			at, m = v.Index(), nil
			if st, err = v.Stat(n.ino); err != nil {
				return err
			}
			// Beyond the committed size there is nothing of the map's.
			if k := min(off+int64(len(p))+far, st.Size) - off; k > 0 {
				m, err = v.Extents(n.ino, off, k)
			}
			return err
		})
		if err != nil {
			return 0, stale(err)
		}
		over, whole, err := f.lay(ctx, n, at, st.Written, off, int64(len(p)))
		if err != nil {
			return 0, err
		}
		if here != f.here.of(n.ino) {
			continue // another view has it
		}
		if !whole && try < rereadsMax {
			try++
			continue
		}
		got := int(max(0, min(max(st.Size, over.end)-off, int64(len(p)))))
		if err = f.fill(ctx, h, m, off, p[:got]); err == nil {
			if st.Size < off+int64(got) {
				clear(p[max(0, st.Size-off):got]) // the last block may hold what was truncated away
			}
			err = f.layOver(ctx, n.ino, over, off, p[:got])
		}
		if err == nil {
			if !h.mode.NoAtime {
				f.noteFileAccess(n, st, at)
			}
			return got, nil
		}
		gone := errors.Is(err, fault.NotExist) || errors.Is(err, fault.Damaged)
		if !gone || try >= rereadsMax || try > 0 && sameSpans(m, last) {
			f.tellRead(ctx, n, err)
			return 0, fault.Wrap("vfs read", err)
		}
		last = m
		try++
	}
}

// readTold is how seldom a read that fails is worth a line: the kernel tries again, and has many at once.
const readTold = time.Second

// tellRead says why bytes cannot be read: whoever reads them is told no more than that it is so.
func (f *FS) tellRead(ctx context.Context, n *node, err error) {
	now, last := int64(f.o.Boot()), f.toldRead.Load()
	if ctx.Err() != nil || last != 0 && time.Duration(now-last) < readTold || !f.toldRead.CompareAndSwap(last, now) {
		return
	}
	f.o.Log.Warn("read failed", "ino", n.ino, "err", err)
}

// lay returns what lies over a range of the view at. It is not whole if what is missing in the view has been forgotten here
// since: it was released, and another view has it.
func (f *FS) lay(ctx context.Context, n *node, at, written uint64, off, size int64) (l layer, whole bool, err error) {
	for {
		n.mu.Lock()
		l, wait := n.layLocked(at, written, off, size)
		whole := at >= n.dropped
		n.mu.Unlock()
		if wait == nil {
			return l, whole, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return layer{}, false, fault.Because("vfs read", fault.Timeout, ctx.Err())
		}
	}
}

func sameSpans(a, b extent.Map) bool {
	return slices.EqualFunc(a, b, func(x, y extent.Extent) bool { return x.Off == y.Off && x.Span == y.Span })
}

// fill reads [off, off+len(p)) of m into p, holes as zeros, several extents at once, and has what lies behind
// read ahead.
func (f *FS) fill(ctx context.Context, h *handle, m extent.Map, off int64, p []byte) error {
	end := off + int64(len(p))
	var reads []func() error
	at, full := off, false
	for _, e := range m {
		if e.Off >= end {
			if full {
				break
			}
			full = !slices.Contains(e.Layout.Peers, f.o.Self) && !h.seq.want(f.ahead, h.n.ino, e, e.Off)
			continue
		}
		from, to := max(e.Off, off), min(e.End(), end)
		if from >= to {
			continue
		}
		if from > at {
			clear(p[at-off : from-off])
		}
		at = to
		dst := p[from-off : to-off]
		reads = append(reads, func() error { return f.readExtent(ctx, h.n.ino, e, from, dst) })
		if to < e.End() && !slices.Contains(e.Layout.Peers, f.o.Self) && h.seq.proven() {
			full = !h.seq.want(f.ahead, h.n.ino, e, to)
		}
	}
	clear(p[at-off:])
	if len(reads) == 1 {
		return reads[0]()
	}
	return together(reads)
}

// together runs fns at most placesMax at a time and returns an error if one fails; some of the rest may then not be run.
func together(fns []func() error) error {
	errs := make([]error, placesMax)
	var wg sync.WaitGroup
	for k := range min(placesMax, len(fns)) {
		wg.Go(func() {
			for i := k; i < len(fns) && errs[k] == nil; i += placesMax {
				errs[k] = fns[i]()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// hide clears what lies in p, which begins at off, behind the last byte of e that counts.
func hide(e extent.Extent, off int64, p []byte) {
	if shown := e.Shown(); off+int64(len(p)) > shown {
		clear(p[max(0, shown-off):])
	}
}

// readExtent reads p from file offset off inside e.
func (f *FS) readExtent(ctx context.Context, ino meta.Ino, e extent.Extent, off int64, p []byte) error {
	if ok, err := f.ahead.read(ctx, e, off, p); ok {
		hide(e, off, p)
		return err
	}
	f.missed(ino, e, off, len(p))
	from, to := down(off), up(off+int64(len(p)))
	s := blockstore.Span{
		Extent: e.Span.Extent,
		First:  e.Span.First + uint32((from-e.Off)/blockstore.Size),
		Count:  uint32((to - from) / blockstore.Size),
	}
	buf := p
	if from != off || to != off+int64(len(p)) {
		buf = make([]byte, to-from)
	}
	if err := f.blocks.Read(ctx, s, e.Layout, buf); err != nil {
		return err
	}
	copy(p, buf[off-from:])
	hide(e, off, p)
	return nil
}
