package vfs

import (
	"container/list"
	"context"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

const (
	stepBlocks  = 2048      // an extent is read ahead in steps of 1 MiB
	provenBytes = 256 << 10 // a reader that has read on for so long will go on
	aheadMax    = 8 << 20   // how far in front of a sequential reader
	aheadJobs   = 16        // steps on their way at once; more wants are dropped
	slackBytes  = 4 << 20   // a kernel's own read-ahead arrives in any order; this far off is sequential still
	aheadWait   = 30 * time.Second
)

// sequence watches one handle's reads.
type sequence struct {
	mu    sync.Mutex
	next  int64 // furthest end of a read
	run   int64 // bytes read in sequence
	asked int64 // what lies before this offset of the file was read ahead, or need not be
}

// ahead notes a read and returns how many bytes behind it should be on their way: 0 until the reader has read on
// for 256 KiB, then twice what it has read, up to aheadMax.
func (s *sequence) ahead(off int64, n int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := off + int64(n)
	if off > s.next+slackBytes || off < s.next-slackBytes || off < s.next && s.run == 0 {
		s.next, s.run, s.asked = end, 0, 0
		return 0
	}
	s.run += min(int64(n), max(0, end-s.next)) // what was leapt over is not read
	s.next = max(s.next, end)
	if s.run < provenBytes {
		return 0
	}
	return min(2*s.run, aheadMax)
}

// proven reports whether the reader reads on.
func (s *sequence) proven() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run >= provenBytes
}

// want has what of e lies behind from read ahead, unless this handle has asked for it before; false if too much is on
// its way, so that what lies behind e must not be asked for either.
func (s *sequence) want(a *ahead, ino meta.Ino, e extent.Extent, from int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from = max(from, s.asked); from < e.End() {
		s.asked = a.want(ino, e, from)
		return s.asked >= e.End()
	}
	return true
}

// ahead is the bounded memory of extents that were read before they were asked for, in steps. Extents never change, so
// nothing in it is ever stale. A step is forgotten when all of it was read, which is once where a kernel keeps pages; when its
// file is open no more; and when room is needed.
type ahead struct {
	blocks Blocks
	limit  int64
	tasks  *tasks

	mu    sync.Mutex
	steps map[step]*list.Element // of *fetched
	order *list.List             // most recently used first
	bytes int64
	jobs  int
	heat  heat
}

type step struct {
	extent blockstore.ID
	n      uint32 // counts stepBlocks
}

// fetched is the part of one step that one record of a map covers.
type fetched struct {
	step
	ino  meta.Ino
	span blockstore.Span
	left int64         // bytes nobody has read yet; guarded by ahead.mu
	done chan struct{} // closed when data or err is set
	data []byte
	err  error
}

func newAhead(b Blocks, limit int64, t *tasks) *ahead {
	return &ahead{blocks: b, limit: limit, tasks: t, steps: map[step]*list.Element{}, order: list.New()}
}

// want begins to read e from file offset from, where there is somebody to do it, and returns how far it came: e's end, unless
// too much is on its way.
func (a *ahead) want(ino meta.Ino, e extent.Extent, from int64) int64 {
	end := e.Span.First + e.Span.Count
	for first := e.Span.First + uint32(max(0, from-e.Off)/blockstore.Size); first < end; {
		k := first / stepBlocks
		next := min((k+1)*stepBlocks, end)
		if !a.begin(ino, e, step{e.Span.Extent, k}, blockstore.Span{Extent: e.Span.Extent, First: first, Count: next - first}) {
			return e.Off + int64(first-e.Span.First)*blockstore.Size
		}
		first = next
	}
	return e.End()
}

// begin starts one step unless it is there; false if too many are on their way.
func (a *ahead) begin(ino meta.Ino, e extent.Extent, s step, span blockstore.Span) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.steps[s] != nil {
		return true
	}
	if a.jobs >= aheadJobs {
		return false
	}
	x := &fetched{step: s, ino: ino, span: span, left: span.Bytes(), done: make(chan struct{})}
	started := a.tasks.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), aheadWait)
		defer cancel()
		data := make([]byte, span.Bytes())
		x.err = a.blocks.Read(ctx, span, e.Layout, data)
		x.data = data
		close(x.done)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.jobs--
		if x.err != nil {
			a.dropLocked(x)
		}
	})
	if !started {
		return false
	}
	a.steps[s] = a.order.PushFront(x)
	a.bytes += span.Bytes()
	a.jobs++
	a.shrinkLocked()
	return true
}

func (a *ahead) shrinkLocked() {
	for a.bytes > a.limit {
		a.dropLocked(a.order.Back().Value.(*fetched))
	}
}

func (a *ahead) dropLocked(x *fetched) {
	el := a.steps[x.step]
	if el == nil || el.Value != x {
		return
	}
	a.order.Remove(el)
	delete(a.steps, x.step)
	a.bytes -= x.span.Bytes()
}

// read fills p from file offset off inside e if all of it was read ahead or is on its way; ok says so.
func (a *ahead) read(ctx context.Context, e extent.Extent, off int64, p []byte) (ok bool, err error) {
	pos := int64(e.Span.First)*blockstore.Size + off - e.Off // inside the extent
	end := pos + int64(len(p))
	var have []*fetched
	a.mu.Lock()
	for at := pos; at < end; {
		el := a.steps[step{e.Span.Extent, uint32(at / (stepBlocks * blockstore.Size))}]
		if el == nil {
			break
		}
		x := el.Value.(*fetched)
		from := int64(x.span.First) * blockstore.Size
		if at < from || at >= from+x.span.Bytes() {
			break
		}
		a.order.MoveToFront(el)
		have = append(have, x)
		at = from + x.span.Bytes()
		ok = at >= end
	}
	a.mu.Unlock()
	if !ok {
		return false, nil
	}
	for _, x := range have {
		select {
		case <-x.done:
		case <-ctx.Done():
			return true, fault.Because("vfs read", fault.Timeout, ctx.Err())
		}
		if x.err != nil {
			return false, nil // let the reader find out for itself
		}
		from := int64(x.span.First) * blockstore.Size
		var n int
		if skip := pos - from; skip > 0 {
			n = copy(p, x.data[skip:])
		} else {
			n = copy(p[-skip:], x.data)
		}
		a.taken(x, n)
	}
	return true, nil
}

// taken notes that n bytes of x were read.
func (a *ahead) taken(x *fetched, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.left -= int64(n); x.left <= 0 {
		a.dropLocked(x)
	}
}

// forget drops what was read ahead of a file.
func (a *ahead) forget(ino meta.Ino) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var next *list.Element
	for el := a.order.Front(); el != nil; el = next {
		next = el.Next()
		if x := el.Value.(*fetched); x.ino == ino {
			a.dropLocked(x)
		}
	}
}
