package segment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// record is one on its way into the stream.
type record struct {
	header header
	set    runs.Set // what it is about; nil: all blocks
	sums   []blockstore.Sum
	data   []byte
	next   *entry // what the extent's entry becomes; nil: gone. Its place is filled in by append.
	before *entry // what it was; nil: absent
	hard   bool   // it is synced next
}

// Put writes each chunk of about 8 MiB with one write.
func (s *Store) Put(ctx context.Context, batches ...blockstore.Batch) error {
	return s.take(ctx, batches, false)
}

// take is Put; hard says that a sync follows.
func (s *Store) take(ctx context.Context, batches []blockstore.Batch, hard bool) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("segment put", fault.Canceled, err)
	}
	for i := range batches {
		if err := batches[i].Check(); err != nil {
			return err
		}
	}
	if err := s.put(ctx, batches, hard); err != nil {
		return err
	}
	return s.pressed(ctx)
}

// spare refuses a put that would eat into the disk's reserve. fault.NoSpace.
func (s *Store) spare(need int64) error {
	if s.o.Free == nil || need == 0 {
		return nil
	}
	free, err := s.o.Free()
	if err != nil {
		return fault.Wrap("segment put", err)
	}
	if free-need < s.o.Reserve {
		return fault.New("segment put", fault.NoSpace, "%d bytes are free on the disk, and %d of them are kept for the log", free, s.o.Reserve)
	}
	return nil
}

func (s *Store) put(ctx context.Context, batches []blockstore.Batch, hard bool) error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	var records []record
	var need int64
	mine := map[blockstore.ID][]blockstore.Sum{}
	for _, b := range batches {
		if sums, twice := mine[b.ID]; twice {
			if !slices.Equal(sums, b.Sums) {
				return fault.New("segment put", fault.Exist, "extent %v twice with different bytes", b.ID)
			}
			continue
		}
		mine[b.ID] = b.Sums
		known, err := s.knows(b)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		n := uint32(len(b.Sums))
		r := record{header: header{kind: kindPut, extent: b.ID, note: b.Note, blocks: n, held: n},
			sums: b.Sums, data: b.Data, next: &entry{blocks: n}, hard: hard}
		need += r.header.size()
		records = append(records, r)
	}
	if err := s.room(need); err != nil {
		return err
	}
	if err := s.spare(need); err != nil {
		return err
	}
	return s.append(ctx, "segment put", records)
}

// knows reports whether b is stored already; fault.Exist when other bytes are. Blocks that compaction has dropped
// cannot be compared.
func (s *Store) knows(b blockstore.Batch) (bool, error) {
	e, err := s.lookup(b.ID)
	if err != nil || e == nil {
		return false, err
	}
	other := fault.New("segment put", fault.Exist, "extent %v has other bytes", b.ID)
	if e.blocks != uint32(len(b.Sums)) {
		return false, other
	}
	seg := s.acquire(e.segment)
	if seg == nil {
		return false, nil // its segment is lost
	}
	defer s.release(seg)
	sums, err := s.readSums(seg, b.ID, e)
	if err != nil {
		return false, err
	}
	at := 0
	for _, r := range e.held() {
		n := int(r.End - r.First)
		if !slices.Equal(sums[at:at+n], b.Sums[r.First:r.End]) {
			return false, other
		}
		at += n
	}
	return true, nil
}

// room returns fault.NoSpace if need more bytes would eat into what deletes and compaction live on.
func (s *Store) room(need int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Capacity > 0 && need > 0 && s.disk0+need > s.o.Capacity-2*s.o.SegmentBytes {
		s.wakeLocked()
		return fault.New("segment put", fault.NoSpace, "%d of %d bytes are taken", s.disk0, s.o.Capacity)
	}
	return nil
}

// Delete appends one tombstone an extent.
func (s *Store) Delete(ctx context.Context, spans ...blockstore.Span) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("segment delete", fault.Canceled, err)
	}
	if err := s.delete(ctx, spans); err != nil {
		return err
	}
	return s.pressed(ctx)
}

func (s *Store) delete(ctx context.Context, spans []blockstore.Span) error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	dead := map[blockstore.ID]runs.Set{}
	var ids []blockstore.ID
	for _, span := range spans {
		if _, seen := dead[span.Extent]; !seen {
			ids = append(ids, span.Extent)
		}
		end := uint32(min(uint64(span.First)+uint64(span.Count), blockstore.MaxBlocks))
		dead[span.Extent] = dead[span.Extent].Add(runs.Run{First: min(span.First, end), End: end})
	}
	var records []record
	for _, id := range ids {
		e, err := s.lookup(id)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		newly := dead[id].And(e.alive())
		if len(newly) == 0 {
			continue
		}
		records = append(records, record{header: header{kind: kindTombstone, extent: id, blocks: e.blocks, from: e.segment},
			set: newly, next: e.without(newly), before: e})
	}
	return s.append(ctx, "segment delete", records)
}

// without returns e with more blocks dead, nil if none is left.
func (e *entry) without(dead runs.Set) *entry {
	next := *e
	next.dead = e.dead.Union(dead)
	if next.liveBytes() == 0 {
		return nil
	}
	return &next
}

// append writes records to the end of the stream and then makes them count. appendMu is held. Records already
// written stay when a later one fails.
func (s *Store) append(ctx context.Context, op string, records []record) error {
	for len(records) > 0 {
		if err := s.roll(); err != nil {
			return err
		}
		n, err := s.appendChunk(op, records)
		if err != nil {
			return err
		}
		if records = records[n:]; len(records) > 0 && ctx.Err() != nil {
			return fault.Because(op, fault.Canceled, ctx.Err())
		}
	}
	return nil
}

// appendChunk writes the first few records with one write and returns how many.
func (s *Store) appendChunk(op string, records []record) (int, error) {
	seg := s.active
	s.mu.Lock()
	at, seq := seg.size, s.seq
	s.mu.Unlock()
	var parts [][]byte
	var size int64
	n := 0
	for ; n < len(records) && size < chunkBytes && len(parts) < chunkParts; n++ {
		r := &records[n]
		r.header.segment, r.header.offset, r.header.cluster = seg.number, at+size, s.id.Cluster
		seq++
		r.header.seq = seq
		parts = append(parts, r.header.encode(s.id.Store, r.set, r.sums))
		if len(r.data) > 0 {
			parts = append(parts, r.data)
		}
		if r.header.kind != kindTombstone {
			r.next.segment, r.next.offset = r.header.segment, r.header.offset
		}
		size += r.header.size()
	}
	if err := s.write(seg, at, size, records[0].hard, parts); err != nil {
		// What was written is overwritten by the next append. Should part of it survive behind that, replay sees a
		// sequence number that goes back and passes over it.
		s.mu.Lock()
		s.seq = seq
		s.mu.Unlock()
		return 0, disk.Error(op, err)
	}
	for i := range records[:n] {
		s.behind.wrote(seg, records[i].header.offset, records[i].header.size())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = seq
	s.grewLocked(seg, size)
	for i := range records[:n] {
		r := &records[i]
		s.setLocked(r.header.extent, r.before, r.next)
		if r.header.kind != kindTombstone {
			s.sums.add(place{r.header.segment, r.header.offset}, slices.Clone(r.sums))
		}
	}
	return n, nil
}

// write writes size bytes at the end of seg, and zeros behind them where a small put is to be synced at once.
func (s *Store) write(seg *segment, at, size int64, hard bool, parts [][]byte) error {
	if hard && size < bulkBytes {
		err := seg.ahead.WriteAll(seg.file, s.o.SegmentBytes, at, parts...)
		if err == nil || fault.KindOf(disk.Error("", err)) != fault.NoSpace {
			return err
		}
	}
	return seg.file.WriteAll(at, parts...)
}

func (s *Store) grewLocked(seg *segment, n int64) {
	seg.size += n
	s.disk0 += n
	s.unsynced += n
}

// setLocked makes next the entry of id and keeps the accounts.
func (s *Store) setLocked(id blockstore.ID, before, next *entry) {
	s.pending[id] = next
	s.entries.set(id)
	s.accountLocked(before, -1)
	s.accountLocked(next, +1)
}

func (s *Store) accountLocked(e *entry, sign int64) {
	if e == nil {
		return
	}
	if seg := s.segments[e.segment]; seg != nil {
		seg.live += sign * e.liveBytes()
		s.live0 += sign * e.liveBytes()
		if sign < 0 && seg.live*2 < seg.size {
			s.wakeLocked()
		}
	}
}

func (s *Store) wakeLocked() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

const suffix = ".seg"

func segmentName(n uint64) string { return fmt.Sprintf("%016x%s", n, suffix) }

func segmentNumber(name string) (uint64, bool) {
	text, is := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(text, 16, 64)
	return n, is && err == nil && n > 0 && segmentName(n) == name
}

// roll starts a new segment if there is none or the last is full, which is synced first: only the last segment can
// ever be torn. appendMu is held.
func (s *Store) roll() error {
	s.mu.Lock()
	full := s.active == nil || s.active.size >= s.o.SegmentBytes
	s.mu.Unlock()
	if !full {
		return nil
	}
	return s.nextSegment()
}

func (s *Store) nextSegment() error {
	number := uint64(1)
	if s.active != nil {
		s.mu.Lock()
		end := s.active.size
		s.mu.Unlock()
		if err := s.active.ahead.Trim(s.active.file, end); err != nil {
			return disk.Error("segment create", err)
		}
		if err := s.active.file.Sync(); err != nil {
			return s.fail(err)
		}
		number = s.active.number + 1
	}
	f, err := s.disk.Open(segmentName(number), true)
	if err != nil {
		return disk.Error("segment create", err)
	}
	if err := s.disk.Sync(); err != nil {
		f.Close()
		return s.fail(err)
	}
	seg := &segment{number: number, file: f, refs: 1}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[number] = seg
	s.active = seg
	s.wakeLocked()
	return nil
}
