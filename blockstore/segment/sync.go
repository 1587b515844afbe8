package segment

import (
	"context"
	"maps"
	"sync"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

// indexLag is how many changed extents may be synced and not in the index before a Sync writes that too.
const indexLag = 2048

// Sync: the first caller syncs for all who come while it does, the next of them for those. The index follows by itself.
func (s *Store) Sync(ctx context.Context) error { return s.sync(ctx, false) }

// PutHard implements blockstore.Hard.
func (s *Store) PutHard(ctx context.Context, b ...blockstore.Batch) error {
	if err := s.take(ctx, b, true); err != nil {
		return err
	}
	return s.sync(ctx, false)
}

// checkpoint is Sync, and then the index knows it too.
func (s *Store) checkpoint(ctx context.Context) error { return s.sync(ctx, true) }

func (s *Store) sync(ctx context.Context, index bool) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("segment sync", fault.Canceled, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	target := s.seq
	for s.failed == nil && (s.synced < target || index && s.indexed < target) {
		if s.syncing == nil {
			done := make(chan struct{})
			s.syncing = done
			much := len(s.pending) > indexLag
			s.mu.Unlock()
			err := s.syncOnce(index || much)
			s.mu.Lock()
			s.syncing = nil
			close(done)
			if err != nil || index && s.synced >= target { // an index that found no room is not waited for
				return err
			}
			continue
		}
		wait := s.syncing
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return fault.Because("segment sync", fault.Canceled, ctx.Err())
		}
	}
	return s.failed
}

// syncOnce makes everything appended so far safe: the file first, the index after it if it is wanted. A failure of either is
// for ever: the kernel may have dropped the pages, and a second try would find nothing to complain of. Only an index that
// finds no room on the disk may come later: the stream has everything, and memory keeps what the index does not know.
func (s *Store) syncOnce(index bool) error {
	s.mu.Lock()
	seg := s.active
	if seg == nil {
		s.synced, s.indexed = s.seq, s.seq
		s.mu.Unlock()
		return nil
	}
	seg.refs++
	to := position{seg.number, seg.size, s.seq}
	victim := s.victim
	fresh := s.synced < s.seq || s.mended
	if index {
		s.flushing, s.pending = s.pending, changes{}
	}
	s.unsynced = 0
	s.mu.Unlock()
	var err, later error
	if fresh {
		err = seg.file.Sync()
	}
	if err == nil && index {
		later = s.flush(s.flushing, to, victim)
	}
	s.release(seg)
	if later != nil && fault.KindOf(later) != fault.NoSpace {
		err = later
	}
	if err != nil || later != nil {
		s.keepFlushing()
	}
	if err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = to.seq
	if index && later == nil {
		s.flushing = changes{}
		s.indexed = to.seq
	}
	return nil
}

// keepFlushing puts changes back that could not be written, so that reads still find them.
func (s *Store) keepFlushing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.flushing, s.pending)
	s.pending, s.flushing = s.flushing, changes{}
}

// pressed syncs when more waits for it than may.
func (s *Store) pressed(ctx context.Context) error {
	s.mu.Lock()
	much := len(s.pending) > maxPending || s.unsynced > maxUnsynced
	s.mu.Unlock()
	if much {
		return s.checkpoint(ctx)
	}
	return nil
}

// Run syncs what has waited for SyncEvery and compacts, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.compactLoop(ctx) })
	loops.Go(func() { s.warmLoop(ctx) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.o.After(s.o.SyncEvery):
			if err := s.checkpoint(ctx); err != nil && s.Failed() != nil {
				<-ctx.Done() // said once; nothing is ever tried again
			}
		}
	}
	loops.Wait()
	return nil
}
