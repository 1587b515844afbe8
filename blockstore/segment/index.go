package segment

import (
	"bytes"
	"context"
	"maps"
	"math"
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// entry is what the index knows of an extent. It is a value: changes make a new one.
type entry struct {
	segment uint64
	offset  int64 // of the record
	blocks  uint32
	kept    runs.Set // blocks the record holds; nil: all
	dead    runs.Set // of those, the deleted
}

// held returns the blocks that the record holds.
func (e *entry) held() runs.Set {
	if e.kept == nil {
		return runs.Of(0, e.blocks)
	}
	return e.kept
}

// alive returns the blocks that a Get would find.
func (e *entry) alive() runs.Set { return e.held().Minus(e.dead) }

func (e *entry) liveBytes() int64 {
	held := e.blocks
	if e.kept != nil {
		held = e.kept.Len()
	}
	return int64(held-e.dead.Len()) * blockstore.Size
}

// header returns as much of the record's header as its lengths need.
func (e *entry) header() header {
	h := header{held: e.blocks}
	if e.kept != nil {
		h.held, h.runs = e.kept.Len(), uint32(len(e.kept))
	}
	return h
}

func (e *entry) append(b []byte) []byte {
	b = wire.AppendUint(b, e.segment)
	b = wire.AppendUint(b, uint64(e.offset)/alignment)
	b = wire.AppendUint(b, uint64(e.blocks))
	return e.dead.Append(e.kept.Append(b))
}

func decodeEntry(b []byte) (*entry, error) {
	r := wire.NewReader(b)
	e := &entry{segment: r.Uint(), offset: int64(min(r.Uint(), 1<<56) * alignment), blocks: r.Uint32()}
	var err error
	if e.kept, err = runs.Read(r, blockstore.MaxBlocks); err == nil {
		e.dead, err = runs.Read(r, blockstore.MaxBlocks)
	}
	if err == nil {
		err = r.Done()
	}
	if err != nil {
		return nil, fault.Because("segment index", fault.Corrupt, err)
	}
	sound := e.blocks > 0 && e.blocks <= blockstore.MaxBlocks && e.offset >= 0 && e.offset%alignment == 0
	if !sound || len(e.held().Minus(runs.Of(0, e.blocks))) > 0 || len(e.dead.Minus(e.held())) > 0 {
		return nil, fault.New("segment index", fault.Corrupt, "entry of %d blocks in segment %d at %d", e.blocks, e.segment, e.offset)
	}
	return e, nil
}

// changes are extents whose entries differ from the index's: nil means gone.
type changes map[blockstore.ID]*entry

// Keys of the index.
var (
	positionKey = []byte("p")
	victimKey   = []byte("v")
	entryPrefix = []byte("e")
)

// newest is read in one step: between asking for the newest version and reading it, it may have become one that is
// not kept any more.
const newest = math.MaxUint64

func entryKey(id blockstore.ID) []byte { return append(append([]byte{}, entryPrefix...), id[:]...) }

const (
	indexMemtable = 4 << 20   // badger's, for the index: transactions up to 600 KiB
	flushBytes    = 256 << 10 // of entries in one transaction
)

// lookup returns the entry of id, or nil. Memory first and the index after it: what a flush moves from one to the
// other meanwhile is seen in either.
func (s *Store) lookup(id blockstore.ID) (*entry, error) {
	s.mu.Lock()
	e, known := s.pending[id]
	if !known {
		e, known = s.flushing[id]
	}
	if !known {
		e, known = s.entries.known[id]
	}
	moves := s.entries.moves
	s.mu.Unlock()
	if known {
		return e, nil
	}
	e, err := s.look(id)
	if err == nil && e != nil {
		s.mu.Lock()
		s.entries.learn(id, e, moves)
		s.mu.Unlock()
	}
	return e, err
}

// look returns the index's entry of id, or nil.
func (s *Store) look(id blockstore.ID) (*entry, error) {
	r := s.index.At(newest)
	defer r.Close()
	b, found, err := r.Get(entryKey(id))
	if err != nil || !found {
		return nil, s.distrust(fault.Wrap("segment index", err))
	}
	e, err := decodeEntry(b)
	return e, s.distrust(err)
}

// flush writes changes and the position they lead to into the index. Transactions are bounded; the position goes with
// the last, so that an interrupted flush is replayed.
func (s *Store) flush(c changes, to position, victim uint64) error {
	x := s.index.Begin(s.index.Newest() + 1)
	defer func() { x.Close() }()
	size := 0
	for _, id := range slices.SortedFunc(maps.Keys(c), func(a, b blockstore.ID) int { return bytes.Compare(a[:], b[:]) }) {
		var err error
		if e := c[id]; e == nil {
			err = x.Delete(entryKey(id))
		} else {
			v := e.append(nil)
			size += len(v)
			err = x.Set(entryKey(id), v)
		}
		if size += 64; err == nil && size > flushBytes {
			if err = x.Commit(); err == nil {
				x.Close()
				x, size = s.index.Begin(s.index.Newest()+1), 0
			}
		}
		if err != nil {
			return err
		}
	}
	p := wire.AppendUint(nil, to.segment)
	p = wire.AppendUint(p, uint64(to.offset))
	p = wire.AppendUint(p, to.seq)
	if err := x.Set(positionKey, p); err != nil {
		return err
	}
	if err := x.Set(victimKey, wire.AppendUint(nil, victim)); err != nil {
		return err
	}
	if err := x.Commit(); err != nil {
		return err
	}
	s.index.SetFloor(s.index.Newest())
	return nil
}

// readPosition returns what the index says of itself; zeros when it is empty.
func (s *Store) readPosition() (p position, victim uint64, err error) {
	r := s.index.At(newest)
	defer r.Close()
	b, found, err := r.Get(positionKey)
	if err != nil || !found {
		return p, 0, err
	}
	d := wire.NewReader(b)
	p = position{d.Uint(), int64(d.Uint()), d.Uint()}
	if err := d.Done(); err != nil {
		return p, 0, err
	}
	b, _, err = r.Get(victimKey)
	if err != nil {
		return p, 0, err
	}
	d = wire.NewReader(b)
	victim = d.Uint()
	return p, victim, d.Done()
}

// each calls fn for every entry after the id given, in order: those in memory laid over those in the index.
func (s *Store) each(after blockstore.ID, fn func(id blockstore.ID, e *entry) bool) error {
	s.mu.Lock()
	over := maps.Clone(s.flushing)
	maps.Copy(over, s.pending)
	r := s.index.At(newest)
	s.mu.Unlock()
	defer r.Close()
	less := func(a, b blockstore.ID) int { return bytes.Compare(a[:], b[:]) }
	ids := slices.SortedFunc(maps.Keys(over), less)
	next := 0
	for next < len(ids) && less(ids[next], after) <= 0 {
		next++
	}
	stopped := false
	overBefore := func(id *blockstore.ID) {
		for ; !stopped && next < len(ids) && (id == nil || less(ids[next], *id) < 0); next++ {
			if e := over[ids[next]]; e != nil {
				stopped = !fn(ids[next], e)
			}
		}
	}
	var bad error
	from := append(entryKey(after), 0)
	err := r.Scan(entryPrefix, from, func(k, v []byte) bool {
		if len(k) != 1+len(after) {
			bad = fault.New("segment index", fault.Corrupt, "key of %d bytes", len(k))
			return false
		}
		id := blockstore.ID(k[1:])
		if overBefore(&id); stopped {
			return false
		}
		if _, shadowed := over[id]; shadowed {
			return true
		}
		var e *entry
		if e, bad = decodeEntry(v); bad != nil {
			return false
		}
		stopped = !fn(id, e)
		return !stopped
	})
	if err == nil {
		err = bad
	}
	if err == nil {
		overBefore(nil)
	}
	return s.distrust(fault.Wrap("segment index", err))
}

func (s *Store) List(ctx context.Context, after blockstore.ID, fn func(id blockstore.ID, blocks uint32) bool) error {
	var canceled error
	err := s.each(after, func(id blockstore.ID, e *entry) bool {
		if canceled = ctx.Err(); canceled != nil {
			return false
		}
		return fn(id, uint32(e.liveBytes()/blockstore.Size))
	})
	if canceled != nil {
		return fault.Because("segment list", fault.Canceled, canceled)
	}
	return err
}
