package segment

import (
	"errors"
	"io"
	"maps"
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// recover opens the segments and brings the index up to the end of the stream. An index that makes no sense is made anew.
func (s *Store) recover() error {
	if err := s.openSegments(); err != nil {
		return err
	}
	from, victim, err := s.readPosition()
	if err == nil && !s.reaches(from) {
		err = fault.New("segment index", fault.Corrupt, "it knows more than the segments hold")
	}
	if err == nil {
		err = s.catchUp(from, victim)
		if !errors.Is(err, fault.Corrupt) {
			return err
		}
	}
	s.o.Log.Warn("segment: the index does not fit the segments and is rebuilt", "err", err)
	if err := s.index.Wipe(); err != nil {
		return err
	}
	s.pending, s.live0, s.victim = changes{}, 0, 0
	s.entries = entryCache{} // what it said
	for _, seg := range s.segments {
		seg.live = 0
	}
	return s.catchUp(position{}, 0)
}

// catchUp replays what came after a position and counts what there is.
func (s *Store) catchUp(from position, victim uint64) error {
	s.seq = from.seq
	if s.segments[victim] != nil {
		s.victim = victim
	}
	if err := s.replay(from); err != nil {
		return err
	}
	if err := s.count(); err != nil {
		return err
	}
	if s.active != nil && (from != position{s.active.number, s.active.size, s.seq} || s.mended || len(s.pending) > 0) {
		if err := s.syncOnce(true); err != nil {
			return err
		}
	}
	s.synced, s.indexed = s.seq, s.seq
	return nil
}

func (s *Store) openSegments() error {
	names, err := s.disk.Names()
	if err != nil {
		return disk.Error("segment open", err)
	}
	for _, name := range names {
		n, is := segmentNumber(name)
		if !is {
			continue
		}
		f, err := s.disk.Open(name, false)
		if err != nil {
			return disk.Error("segment open", err)
		}
		seg := &segment{number: n, file: f, refs: 1}
		s.segments[n] = seg
		if seg.size, err = f.Size(); err != nil {
			return disk.Error("segment open", err)
		}
		s.disk0 += seg.size
		if s.active == nil || n > s.active.number {
			s.active = seg
		}
	}
	return s.settle()
}

// settle makes sure that what is found is what the disk holds. A process that was killed may have made the last segment
// without its name being safe, or written to it; one whose sync had failed can still be read in the system's memory.
func (s *Store) settle() error {
	if s.active == nil {
		return nil
	}
	err := s.disk.Sync()
	if err == nil {
		err = s.active.file.Refresh()
	}
	var size int64
	if err == nil {
		size, err = s.active.file.Size()
	}
	if err != nil {
		return disk.Error("segment open", err)
	}
	s.disk0 += size - s.active.size
	s.active.size = size
	return nil
}

// reaches reports whether the stream goes as far as p, which was synced when it was written down.
func (s *Store) reaches(p position) bool {
	if p == (position{}) {
		return true
	}
	if s.active == nil || s.active.number < p.segment {
		return false
	}
	seg := s.segments[p.segment]
	return seg == nil || seg.size >= p.offset // compacted away since, or long enough
}

// replay applies every record after from to the index, the last segment's only if their blocks are whole, and cuts off
// what follows the last of them.
func (s *Store) replay(from position) error {
	for _, n := range slices.Sorted(maps.Keys(s.segments)) {
		if n < from.segment {
			continue
		}
		seg := s.segments[n]
		start := int64(0)
		if n == from.segment {
			start = from.offset
		}
		end, torn, err := s.scan(seg, start, seg == s.active, s.apply)
		if err != nil {
			return err
		}
		if err := s.bury(seg, end, torn); err != nil {
			return err
		}
	}
	return nil
}

// bury clears the headers of torn records, which a later replay would believe once another segment is the last, and
// cuts off what follows the end of the last segment.
func (s *Store) bury(seg *segment, end int64, torn []int64) error {
	for _, at := range torn {
		if at >= end {
			continue
		}
		if err := seg.file.WriteAll(at, make([]byte, headerSize)); err != nil {
			return disk.Error("segment open", err)
		}
		s.mended = true
	}
	if seg == s.active && end < seg.size {
		if err := seg.file.Truncate(end); err != nil {
			return disk.Error("segment open", err)
		}
		s.disk0 -= seg.size - end
		seg.size = end
		s.mended = true
	}
	return nil
}

// scanned is a record met by scan, without its blocks.
type scanned struct {
	header
	meta []byte
}

// scan calls fn for each sound record of seg from start on and returns the end of the last. What is not a record is
// passed over in steps of the alignment. With whole, the blocks must match their sums too; the records whose blocks do
// not are returned as torn.
func (s *Store) scan(seg *segment, start int64, whole bool, fn func(*scanned) error) (end int64, torn []int64, err error) {
	w := &window{file: seg.file, size: seg.size}
	end = start
	var data []byte
	for at := start; at+headerSize <= seg.size; {
		b, err := w.bytes(at, headerSize)
		if err != nil {
			return end, torn, disk.Error("segment scan", err)
		}
		h, err := decodeHeader(s.id.Store, b)
		if errors.Is(err, fault.Unsupported) {
			return end, torn, err
		}
		if err != nil || h.segment != seg.number || h.offset != at || h.cluster != s.id.Cluster || at+h.size() > seg.size {
			at += alignment
			w.ahead = 1 << 18
			continue
		}
		w.ahead = 0
		meta, err := w.bytes(at+headerSize, int64(h.metaLen()))
		if err != nil {
			return end, torn, disk.Error("segment scan", err)
		}
		r := &scanned{h, slices.Clone(meta)}
		_, sums, err := h.decodeMeta(r.meta)
		if err != nil {
			at += alignment
			continue
		}
		if whole && h.held > 0 {
			data = slices.Grow(data[:0], int(h.held)*blockstore.Size)[:int(h.held)*blockstore.Size]
			if _, err := seg.file.ReadAt(data, at+h.dataAt()); err != nil && !errors.Is(err, io.EOF) {
				return end, torn, disk.Error("segment scan", err)
			}
			if blockstore.Verify(data, sums) != nil { // torn
				torn = append(torn, at)
				at += h.size()
				continue
			}
		}
		if err := fn(r); err != nil {
			return end, torn, err
		}
		at += h.size()
		end = at
	}
	return end, torn, nil
}

// apply does to the index what r says. Records whose sequence number goes back are left-overs of failed writes.
func (s *Store) apply(r *scanned) error {
	if r.seq <= s.seq {
		return nil
	}
	s.seq = r.seq
	set, _, err := r.decodeMeta(r.meta)
	if err != nil {
		return err
	}
	var next *entry
	switch r.kind {
	case kindPut, kindMove:
		next = &entry{segment: r.segment, offset: r.offset, blocks: r.blocks, kept: set}
		if r.kind == kindMove && s.segments[r.from] != nil {
			s.victim = r.from
		}
	case kindTombstone:
		e, err := s.lookup(r.extent)
		if err != nil || e == nil {
			return err
		}
		next = e.without(set.And(e.held()))
	}
	s.pending[r.extent] = next
	s.entries.set(r.extent)
	if len(s.pending) >= maxPending {
		// Without a position: should this opening be interrupted, the next replays all of it again.
		return s.flushUnplaced()
	}
	return nil
}

// flushUnplaced moves what is pending into the index, whose position stays what it was.
func (s *Store) flushUnplaced() error {
	from, _, err := s.readPosition()
	if err != nil {
		return err
	}
	if err := s.flush(s.pending, from, s.victim); err != nil {
		return err
	}
	s.pending = changes{}
	return nil
}

// count goes through the index once: live bytes a segment, and entries whose segment is gone are dropped. (Their
// deletes were compacted away after the index's last flush.)
func (s *Store) count() error {
	lost := changes{}
	err := s.each(blockstore.ID{}, func(id blockstore.ID, e *entry) bool {
		seg := s.segments[e.segment]
		h := e.header()
		if seg == nil || e.offset+h.size() > seg.size {
			lost[id] = nil
			return true
		}
		seg.live += e.liveBytes()
		s.live0 += e.liveBytes()
		return true
	})
	maps.Copy(s.pending, lost)
	s.entries = entryCache{}
	return err
}

// window reads a file through a small buffer.
type window struct {
	file  disk.File
	size  int64
	ahead int // bytes to read beyond what is asked for; 0 takes 4 KiB
	at    int64
	buf   []byte
}

func (w *window) bytes(at, n int64) ([]byte, error) {
	if at < w.at || at+n > w.at+int64(len(w.buf)) {
		want := min(max(n, int64(w.ahead), 4096), w.size-at)
		w.buf = slices.Grow(w.buf[:0], int(want))[:want]
		w.at = at
		if got, err := w.file.ReadAt(w.buf, at); got < len(w.buf) && err != nil && !errors.Is(err, io.EOF) {
			w.buf = w.buf[:0]
			return nil, err
		}
	}
	return w.buf[at-w.at : at-w.at+n], nil
}
