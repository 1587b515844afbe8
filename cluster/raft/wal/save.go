package wal

import (
	"fmt"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// Save makes batches durable, in order. On return all of them are on disk, except lazy ones behind the last that is
// not. The entries' data is the Log's afterwards. A failure is for ever: every later Save returns it.
func (l *Log) Save(batches ...Batch) error {
	if l.broken != nil {
		return l.broken
	}
	err := l.save(batches)
	if err != nil {
		l.broken = fault.Wrap("log save", err)
	}
	return l.broken
}

func (l *Log) save(batches []Batch) error {
	lazy := true
	for _, b := range batches {
		if err := l.add(b); err != nil {
			return err
		}
		lazy = lazy && b.Lazy && len(b.Entries) == 0
	}
	if lazy {
		return nil
	}
	return l.flush()
}

// add puts a batch's records into the buffer, beginning new segments where it must.
func (l *Log) add(b Batch) error {
	if b.Hard != nil {
		l.mu.Lock()
		l.hard = *b.Hard
		l.mu.Unlock()
	}
	if b.Conf != nil && (b.Conf.Index >= l.conf.Index || b.Base != nil) {
		if len(b.Conf.Data) > ConfMax {
			return fault.New("log save", fault.TooBig, "configuration of %d bytes", len(b.Conf.Data))
		}
		l.mu.Lock()
		l.conf = *b.Conf
		l.mu.Unlock()
	}
	switch {
	case b.Base != nil:
		if err := l.reset(*b.Base); err != nil {
			return err
		}
	default:
		if b.Hard != nil {
			h := *b.Hard
			if _, _, err := l.put(kindHard, 32, func(p []byte) []byte { return appendHard(p, h) }); err != nil {
				return err
			}
		}
		if b.Conf != nil {
			c := *b.Conf
			if _, _, err := l.put(kindConf, len(c.Data)+32, func(p []byte) []byte { return appendConf(p, c) }); err != nil {
				return err
			}
		}
	}
	return l.addEntries(b.Entries)
}

func (l *Log) addEntries(entries []Entry) error {
	for _, e := range entries {
		if e.Index <= l.base.Index {
			continue // part of a snapshot by now
		}
		if len(e.Data) > DataMax {
			return fault.New("log save", fault.TooBig, "entry of %d bytes", len(e.Data))
		}
		next := l.last() + uint64(len(l.fresh)) + 1
		if e.Index > next {
			return fault.New("log save", fault.Invalid, "entry %d after %d", e.Index, next-1)
		}
		if e.Index < next {
			if err := l.replace(e.Index); err != nil {
				return err
			}
		}
		seg, off, err := l.put(kindEntry, len(e.Data)+24, func(p []byte) []byte { return appendEntry(p, e) })
		if err != nil {
			return err
		}
		data := e.Data
		if data == nil {
			data = []byte{} // nil means cold
		}
		l.fresh = append(l.fresh, slot{term: e.Term, seg: seg, off: off, kind: e.Kind, size: uint32(len(data)), data: data})
	}
	return nil
}

// put appends one record of at most size bytes of payload, in a new segment if this one is full.
func (l *Log) put(k kind, size int, payload func([]byte) []byte) (*segment, int64, error) {
	seg := l.segs[len(l.segs)-1]
	need := int64(headerBytes + size + align)
	if seg.end+int64(len(l.buf))+need > seg.size {
		if err := l.flush(); err != nil {
			return nil, 0, err
		}
		base := Mark{l.last(), l.base.Term}
		if n := len(l.slots); n > 0 {
			base.Term = l.slots[n-1].term
		}
		if err := l.cut(base, false, need); err != nil {
			return nil, 0, err
		}
		seg = l.segs[len(l.segs)-1]
	}
	off := seg.end + int64(len(l.buf))
	l.buf = appendRecord(l.buf, place{seg.seq, off}, seg.synced, k, payload)
	return seg, off, nil
}

// flush writes and syncs the buffer; then its entries can be read.
func (l *Log) flush() error {
	seg := l.segs[len(l.segs)-1]
	if len(l.buf) > 0 {
		if err := seg.ahead.WriteAll(seg.file, seg.size, seg.end, l.buf); err != nil {
			return disk.Error("log write", err)
		}
		if err := seg.file.Sync(); err != nil {
			return disk.Error("log sync", err)
		}
		seg.end += int64(len(l.buf))
		seg.synced = seg.end
		l.sealed = false
	}
	l.buf = l.buf[:0]
	if cap(l.buf) > 8<<20 {
		l.buf = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.fresh {
		l.warm += int64(s.size)
	}
	l.slots = append(l.slots, l.fresh...)
	l.fresh = l.fresh[:0]
	l.coolLocked()
	return nil
}

// coolLocked forgets data of the oldest entries until the cache is within its bound.
func (l *Log) coolLocked() {
	for l.warm > l.o.CacheBytes && l.cold < len(l.slots) {
		s := &l.slots[l.cold]
		l.warm -= int64(len(s.data))
		s.data = nil
		l.cold++
	}
}

// replace begins a segment at index, where entries that were saved are void.
func (l *Log) replace(index uint64) error {
	if err := l.flush(); err != nil {
		return err
	}
	term, err := l.Term(index - 1)
	if err != nil {
		return err
	}
	if err := l.cut(Mark{index - 1, term}, false, 0); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := int(index - 1 - l.base.Index)
	for i := max(keep, l.cold); i < len(l.slots); i++ {
		l.warm -= int64(len(l.slots[i].data))
	}
	clear(l.slots[keep:])
	l.slots = l.slots[:keep]
	l.cold = min(l.cold, keep)
	return nil
}

// reset makes base the place where the log begins, and deletes what was before.
func (l *Log) reset(base Mark) error {
	if err := l.flush(); err != nil {
		return err
	}
	old := l.segs
	if err := l.cut(base, true, 0); err != nil {
		return err
	}
	l.mu.Lock()
	l.base, l.slots, l.cold, l.warm = base, nil, 0, 0
	l.mu.Unlock()
	l.segs = l.segs[len(old):]
	return l.remove(old)
}

// cut begins a new segment behind base. Every earlier one must be synced.
func (l *Log) cut(base Mark, reset bool, need int64) error {
	h := head{base: base, reset: reset, hard: l.hard, conf: l.conf, seq: 1}
	if n := len(l.segs); n > 0 {
		h.seq = l.segs[n-1].seq + 1
	}
	rec := appendRecord(nil, place{h.seq, 0}, 0, kindHead, h.append)
	size := max(l.o.SegmentBytes, int64(len(rec))+need)
	file, err := l.disk.Open(segmentName(h.seq), true)
	if err != nil {
		return disk.Error("log create", err)
	}
	seg := &segment{seq: h.seq, base: base, file: file, size: size, end: int64(len(rec)), synced: int64(len(rec))}
	l.segs = append(l.segs, seg)
	l.sealed = false
	if err = file.Truncate(0); err == nil {
		err = file.Allocate(size)
	}
	if err == nil {
		err = file.WriteAll(0, rec)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = l.disk.Sync()
	}
	return disk.Error("log create", err)
}

// Compact forgets segments all of whose entries are up to index. Conf is the configuration as of index or later, at
// most of an applied entry; it is saved first, because the records it came from may go.
func (l *Log) Compact(index uint64, conf Conf) error {
	if l.broken != nil {
		return l.broken
	}
	n := l.droppable(index)
	if n == 0 {
		return nil
	}
	if conf.Index < l.segs[n].base.Index {
		return fault.New("log compact", fault.Invalid, "configuration of %d, log to begin at %d", conf.Index, l.segs[n].base.Index)
	}
	if err := l.Save(Batch{Conf: &conf}); err != nil {
		return err
	}
	// Save may have begun a segment; those that go are still the first n.
	old := l.segs[:n:n]
	l.segs = append([]*segment(nil), l.segs[n:]...)
	base := l.segs[0].base
	l.mu.Lock()
	drop := int(base.Index - l.base.Index)
	for i := l.cold; i < drop; i++ {
		l.warm -= int64(len(l.slots[i].data))
	}
	l.slots = append([]slot(nil), l.slots[drop:]...)
	l.cold = max(l.cold-drop, 0)
	l.base = base
	l.mu.Unlock()
	if err := l.remove(old); err != nil {
		l.broken = fault.Wrap("log compact", err)
	}
	return l.broken
}

// droppable returns how many of the oldest segments can go: what is left must begin at index at the latest, and
// nothing in it may begin earlier than its first segment does.
func (l *Log) droppable(index uint64) int {
	least := ^uint64(0)
	for n := len(l.segs) - 1; n > 0; n-- {
		least = min(least, l.segs[n].base.Index)
		if l.segs[n].base.Index <= index && l.segs[n].base.Index == least {
			return n
		}
	}
	return 0
}

// remove deletes segments, oldest first, so that what is left after a loss of power has no gap.
func (l *Log) remove(segs []*segment) error {
	for _, s := range segs {
		s.file.Close()
		if err := l.disk.Remove(segmentName(s.seq)); err != nil {
			return disk.Error("log remove", err)
		}
		// One by one: a directory may keep removals in any order until it is synced.
		if err := l.disk.Sync(); err != nil {
			return disk.Error("log sync", err)
		}
	}
	return nil
}

func segmentName(seq uint64) string { return fmt.Sprintf("%016x.log", seq) }
