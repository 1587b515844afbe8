package segment

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// compactLoop compacts whenever a segment has become worth it.
func (s *Store) compactLoop(ctx context.Context) {
	for {
		for {
			did, err := s.compact(ctx, s.pace)
			if err != nil && ctx.Err() == nil {
				s.o.Log.Error("segment: compaction", "err", err)
			}
			if !did || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		}
		select { // gather more of the same
		case <-ctx.Done():
			return
		case <-s.o.After(s.o.SyncEvery):
		}
	}
}

// pace waits as long as n bytes may take.
func (s *Store) pace(ctx context.Context, n int64) error {
	select {
	case <-ctx.Done():
		return fault.Because("segment compact", fault.Canceled, ctx.Err())
	case <-s.o.After(time.Duration(float64(n) / float64(s.o.CompactBytes) * float64(time.Second))):
		return nil
	}
}

// Compact compacts the segment that is most worth it, at full speed. It reports whether there was one.
func (s *Store) Compact(ctx context.Context) (bool, error) {
	return s.compact(ctx, func(ctx context.Context, _ int64) error {
		return fault.Because("segment compact", fault.Canceled, ctx.Err())
	})
}

func (s *Store) compact(ctx context.Context, pace func(context.Context, int64) error) (bool, error) {
	if err := s.sealActive(); err != nil {
		return false, err
	}
	if err := s.removeDoomed(); err != nil {
		return false, err
	}
	victim := s.chooseVictim()
	if victim == nil {
		return false, nil
	}
	moved := func(n int64) error { return pace(ctx, n) }
	_, _, err := s.scan(victim, 0, false, func(r *scanned) error {
		n, err := s.carry(ctx, victim, r)
		if err != nil || n == 0 {
			return err
		}
		return moved(n)
	})
	if err != nil {
		s.release(victim)
		return true, s.stickIfRotten(victim, err)
	}
	s.reportUnread(victim)
	if err := s.checkpoint(ctx); err != nil {
		s.release(victim)
		return true, err
	}
	return true, s.retire(victim)
}

// stickIfRotten leaves a segment alone that could not be read: what is in it stays where it is.
func (s *Store) stickIfRotten(seg *segment, err error) error {
	if errors.Is(err, fault.Corrupt) {
		s.mu.Lock()
		seg.stuck = true
		s.victim = 0
		s.mu.Unlock()
	}
	return err
}

// reportUnread tells of extents whose records the scan of a whole segment has passed over: their headers are rotten.
func (s *Store) reportUnread(victim *segment) {
	s.mu.Lock()
	left := victim.live
	s.mu.Unlock()
	if left == 0 {
		return
	}
	err := s.each(blockstore.ID{}, func(id blockstore.ID, e *entry) bool {
		if e.segment == victim.number {
			s.o.OnBad(id)
		}
		return true
	})
	if err != nil {
		s.o.Log.Warn("segment: compaction", "err", err)
	}
}

// sealActive starts a new segment when the last one is mostly dead, so that it can be compacted too.
func (s *Store) sealActive() error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.mu.Lock()
	dead := s.active != nil && s.active.size >= s.o.SegmentBytes/4 && s.active.live*2 < s.active.size
	s.mu.Unlock()
	if !dead {
		return nil
	}
	return s.nextSegment()
}

// chooseVictim returns the segment to compact next, with a reference, or nil. One that was interrupted comes first.
func (s *Store) chooseVictim() *segment {
	most := s.affordable()
	s.mu.Lock()
	defer s.mu.Unlock()
	best := s.segments[s.victim]
	if best == nil {
		share := 0.5
		if c := s.o.Capacity; c > 0 && s.disk0 > c-c/4 {
			share = 0.9
		}
		for _, seg := range s.segments {
			if seg == s.active || seg.stuck || seg.live > most {
				continue
			}
			if mine := float64(seg.live) / float64(max(seg.size, 1)); mine < share {
				best, share = seg, mine
			}
		}
	}
	if best == nil || best == s.active || best.live > most {
		return nil
	}
	s.victim = best.number
	best.refs++
	return best
}

// affordable returns how many live bytes a segment may have to be compacted now: they are copied before the old ones go,
// and the log must not be left without room meanwhile.
func (s *Store) affordable() int64 {
	if s.o.Free == nil {
		return math.MaxInt64
	}
	free, err := s.o.Free()
	if err != nil {
		return 0
	}
	return max(0, free-s.o.Reserve/2)
}

// carry appends again what of r is still needed and returns how many bytes that took.
func (s *Store) carry(ctx context.Context, victim *segment, r *scanned) (int64, error) {
	if r.kind == kindTombstone {
		return s.carryTombstone(ctx, victim, r)
	}
	for {
		e, err := s.lookup(r.extent)
		if err != nil || e == nil || e.segment != victim.number || e.offset != r.offset {
			return 0, err // deleted, or elsewhere
		}
		rec, err := s.moved(victim, r, e)
		if err != nil {
			if errors.Is(err, fault.Corrupt) {
				s.o.OnBad(r.extent)
			}
			return 0, err
		}
		done, err := s.appendMove(ctx, rec)
		if err != nil || done {
			return rec.header.size(), err
		}
	}
}

// moved makes the record that e's live blocks go into. They are copied with their sums as they are: rot stays rot.
func (s *Store) moved(victim *segment, r *scanned, e *entry) (*record, error) {
	held, alive := e.held(), e.alive()
	_, sums, err := r.decodeMeta(r.meta)
	if err != nil {
		return nil, err
	}
	rec := &record{header: r.header, before: e, next: &entry{blocks: e.blocks}}
	rec.header.kind, rec.header.from = kindMove, victim.number
	if alive.Len() < e.blocks {
		rec.set, rec.next.kept = alive, alive
	}
	rec.data = make([]byte, int(alive.Len())*blockstore.Size)
	at := 0
	for _, run := range alive {
		first, n := held.Rank(run.First), run.End-run.First
		rec.sums = append(rec.sums, sums[first:first+n]...)
		part := rec.data[at : at+int(n)*blockstore.Size]
		if err := readAt(victim, part, r.offset+r.dataAt()+int64(first)*blockstore.Size); err != nil {
			return nil, err
		}
		at += len(part)
	}
	rec.header.held, rec.header.runs = uint32(len(rec.sums)), uint32(len(rec.set))
	return rec, nil
}

// appendMove appends rec unless the extent has changed since it was made.
func (s *Store) appendMove(ctx context.Context, rec *record) (bool, error) {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return false, err
	}
	e, err := s.lookup(rec.header.extent)
	if err != nil {
		return false, err
	}
	if e == nil || e.segment != rec.before.segment || e.offset != rec.before.offset || e.dead.Len() != rec.before.dead.Len() {
		return false, nil
	}
	return true, s.append(ctx, "segment compact", []record{*rec})
}

// carryTombstone keeps a tombstone as long as the record it speaks of is on disk.
func (s *Store) carryTombstone(ctx context.Context, victim *segment, r *scanned) (int64, error) {
	set, _, err := r.decodeMeta(r.meta)
	if err != nil {
		return 0, err
	}
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.usable(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	needed := r.from != victim.number && s.segments[r.from] != nil
	for _, seg := range s.segments {
		needed = needed || seg.stuck // it may hold what has long been moved and deleted elsewhere
	}
	s.mu.Unlock()
	if !needed {
		return 0, nil
	}
	e, err := s.lookup(r.extent)
	if err != nil {
		return 0, err
	}
	if e != nil {
		if gone := set.And(e.held()); len(gone.Minus(e.dead)) > 0 {
			return 0, nil // the extent has come again since
		}
	}
	rec := record{header: r.header, set: set, before: e, next: e}
	if err := s.append(ctx, "segment compact", []record{rec}); err != nil {
		return 0, err
	}
	return rec.header.size(), nil
}

// retire removes a segment whose live records have all been moved and synced, and takes the caller's reference.
// Something left in it means that the scan could not read it: then it stays.
func (s *Store) retire(victim *segment) error {
	s.mu.Lock()
	if left := victim.live; left != 0 {
		victim.stuck, s.victim = true, 0
		s.mu.Unlock()
		s.release(victim)
		return fault.New("segment compact", fault.Corrupt, "segment %d: %d live bytes cannot be read", victim.number, left)
	}
	delete(s.segments, victim.number) // from here on nobody new
	idle := make(chan struct{})
	victim.idle = idle
	victim.refs-- // the store's
	s.disk0 -= victim.size
	s.victim, s.doomed = 0, victim.number
	s.mu.Unlock()
	s.release(victim)
	<-idle // readers are in the middle of one read
	if err := victim.file.Close(); err != nil {
		return disk.Error("segment compact", err)
	}
	return s.removeDoomed()
}

// removeDoomed removes the file of a retired segment. Until that has succeeded nothing else is compacted, see the
// package comment.
func (s *Store) removeDoomed() error {
	s.mu.Lock()
	number := s.doomed
	s.mu.Unlock()
	if number == 0 {
		return nil
	}
	if err := s.disk.Remove(segmentName(number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return disk.Error("segment compact", err)
	}
	if err := s.disk.Sync(); err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed = 0
	return nil
}
