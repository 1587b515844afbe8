// Package mem is a blockstore.Store in memory, for tests and the simulator.
//
// Everything put or deleted survives until the Store is garbage. A crash of the machine is modelled by Crash, which
// takes back what was not synced.
package mem

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// Store is a blockstore.Store in memory. The zero value is empty, ready and unlimited.
type Store struct {
	Capacity int64 // bytes; 0 is unlimited; set before use

	mu      sync.RWMutex
	extents map[blockstore.ID]extent
	synced  map[blockstore.ID]extent // what Crash goes back to
	live    int64
	puts    uint64
	through uint64
}

// extent is a value: it is replaced, never changed.
type extent struct {
	data []byte
	sums []blockstore.Sum
	dead runs.Set
	lost runs.Set // neither here nor deleted, for a store that was mended in part
	note blockstore.Note
}

func (e extent) live() int64 {
	return int64(e.alive().Len()) * blockstore.Size
}

func (e extent) alive() runs.Set {
	return runs.Of(0, uint32(len(e.sums))).Minus(e.dead).Minus(e.lost)
}

var (
	_ blockstore.Store  = (*Store)(nil)
	_ blockstore.Lister = (*Store)(nil)
	_ blockstore.Sizer  = (*Store)(nil)
	_ blockstore.Raw    = (*Store)(nil)
	_ blockstore.Noter  = (*Store)(nil)
	_ blockstore.Mender = (*Store)(nil)
)

// New returns an empty, unlimited store.
func New() *Store { return &Store{} }

func (s *Store) Put(ctx context.Context, batches ...blockstore.Batch) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("mem put", fault.Canceled, err)
	}
	for _, b := range batches {
		if err := b.Check(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extents == nil {
		s.extents = map[blockstore.ID]extent{}
	}
	for _, b := range batches {
		if old, known := s.extents[b.ID]; known {
			if !slices.Equal(old.sums, b.Sums) {
				return fault.New("mem put", fault.Exist, "extent %v has other bytes", b.ID)
			}
			continue
		}
		if s.Capacity > 0 && s.live+int64(len(b.Data)) > s.Capacity {
			return fault.New("mem put", fault.NoSpace, "%d of %d bytes are taken", s.live, s.Capacity)
		}
		s.extents[b.ID] = extent{data: bytes.Clone(b.Data), sums: slices.Clone(b.Sums), note: b.Note}
		s.live += int64(len(b.Data))
		s.puts++
	}
	return nil
}

func (s *Store) Get(ctx context.Context, span blockstore.Span, p []byte) error {
	sums, err := s.get(ctx, span, p)
	if err != nil {
		return err
	}
	return fault.Wrap("mem get", blockstore.Verify(p, sums))
}

func (s *Store) GetRaw(ctx context.Context, span blockstore.Span, p []byte, sums []blockstore.Sum) error {
	stored, err := s.get(ctx, span, p)
	copy(sums, stored)
	return err
}

func (s *Store) get(ctx context.Context, span blockstore.Span, p []byte) ([]blockstore.Sum, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Because("mem get", fault.Canceled, err)
	}
	if err := span.Check(p); err != nil {
		return nil, err
	}
	s.mu.RLock()
	e, known := s.extents[span.Extent]
	s.mu.RUnlock()
	end := span.First + span.Count
	if !known || !e.alive().Covers(runs.Run{First: span.First, End: end}) {
		return nil, fault.New("mem get", fault.NotExist, "%v", span)
	}
	copy(p, e.data[int(span.First)*blockstore.Size:])
	return e.sums[span.First:end], nil
}

func (s *Store) Delete(ctx context.Context, spans ...blockstore.Span) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("mem delete", fault.Canceled, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range spans {
		e, known := s.extents[span.Extent]
		if !known {
			continue
		}
		s.live -= e.live()
		end := uint32(min(uint64(span.First)+uint64(span.Count), uint64(len(e.sums))))
		e.dead = e.dead.Add(runs.Run{First: min(span.First, end), End: end})
		if len(e.alive()) == 0 {
			delete(s.extents, span.Extent)
			continue
		}
		s.live += e.live()
		s.extents[span.Extent] = e
	}
	return nil
}

func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Because("mem sync", fault.Canceled, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = make(map[blockstore.ID]extent, len(s.extents))
	for id, e := range s.extents {
		s.synced[id] = e
	}
	s.through = s.puts
	return nil
}

// Mark returns a number for what was put before this moment; SyncedThrough the highest such number that a Sync has
// covered.
func (s *Store) Mark() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.puts
}

func (s *Store) SyncedThrough() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.through
}

// Crash takes back everything since the last Sync, as the crash of a machine may.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extents = make(map[blockstore.ID]extent, len(s.synced))
	s.live = 0
	for id, e := range s.synced {
		s.extents[id] = e
		s.live += e.live()
	}
	s.puts = s.through
}

// Rot flips one bit of a block that is held, for tests of those who read.
func (s *Store) Rot(id blockstore.ID, block uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.extents[id]
	e.data = bytes.Clone(e.data)
	e.data[int(block)*blockstore.Size+7] ^= 0x10
	s.extents[id] = e
}

// Lose forgets an extent without a word, as a disk may.
func (s *Store) Lose(id blockstore.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live -= s.extents[id].live()
	delete(s.extents, id)
}

func (s *Store) List(ctx context.Context, after blockstore.ID, fn func(id blockstore.ID, blocks uint32) bool) error {
	type item struct {
		id     blockstore.ID
		blocks uint32
	}
	var items []item
	s.mu.RLock()
	for id, e := range s.extents {
		if bytes.Compare(id[:], after[:]) > 0 {
			items = append(items, item{id, uint32(e.live() / blockstore.Size)})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, i := range items {
		if err := ctx.Err(); err != nil {
			return fault.Because("mem list", fault.Canceled, err)
		}
		if !fn(i.id, i.blocks) {
			break
		}
	}
	return nil
}

// NoteOf implements blockstore.Noter.
func (s *Store) NoteOf(_ context.Context, id blockstore.ID) (blockstore.Note, uint32, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, known := s.extents[id]
	if !known {
		return blockstore.Note{}, 0, fault.New("mem note", fault.NotExist, "%v", id)
	}
	return e.note, uint32(len(e.sums)), nil
}

func (s *Store) Usage() blockstore.Usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return blockstore.Usage{Live: s.live, Disk: s.live, Capacity: s.Capacity}
}
