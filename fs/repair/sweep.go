package repair

import (
	"context"
	"errors"
	"slices"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Shelf is a peer's own store as a Sweeper uses it.
type Shelf interface {
	blockstore.Store
	blockstore.Lister
	blockstore.Noter
}

// Sweeper deletes from a peer's own store the extents that were written and never committed, because their writer died in
// between.
//
// An extent is such an orphan when the session that wrote it has ended and a state from after that names it nowhere:
// ops of ended sessions are refused, and no op but its writer's first commit can bring an extent into a map that is not the copy of one. A
// further replica that was copied here and never committed goes when the extent itself has gone.
type Sweeper struct {
	Store Shelf

	// Latest returns the sessions that live and then a view, neither older than the call.
	Latest func(ctx context.Context) (sessions []uint64, v *meta.Image, err error)
	// Released returns when an index is released: nobody reads an older state any more.
	Released func(ctx context.Context, index uint64) error
	// Rest is called between steps, and returns an error when the sweep is to end.
	Rest func(ctx context.Context) error
}

const sweepStep = 1024 // extents looked at in one view

// found is an extent in the store.
type found struct {
	id     blockstore.ID
	note   blockstore.Note
	blocks uint32
}

// Pass looks at every extent of the store once, and returns how many orphans it deleted.
func (s *Sweeper) Pass(ctx context.Context) (swept int, err error) {
	var after blockstore.ID
	for {
		list, last, err := s.list(ctx, after)
		if err != nil || last == after {
			return swept, err
		}
		n, err := s.sweep(ctx, list)
		if swept += n; err != nil {
			return swept, err
		}
		if err := s.Rest(ctx); err != nil {
			return swept, err
		}
		after = last
	}
}

// list returns what lies next in the store, and the last ID looked at.
func (s *Sweeper) list(ctx context.Context, after blockstore.ID) (list []found, last blockstore.ID, err error) {
	last = after
	var ids []blockstore.ID
	err = s.Store.List(ctx, after, func(id blockstore.ID, _ uint32) bool {
		ids = append(ids, id)
		last = id
		return len(ids) < sweepStep
	})
	for _, id := range ids {
		if err != nil {
			return nil, last, err
		}
		x := found{id: id}
		x.note, x.blocks, err = s.Store.NoteOf(ctx, id)
		switch {
		case err == nil:
			list = append(list, x)
		case errors.Is(err, fault.NotExist), errors.Is(err, fault.Corrupt): // deleted meanwhile; for the scrub
			err = nil
		}
	}
	return list, last, err
}

// sweep deletes the orphans of list, which was read from the store before.
func (s *Sweeper) sweep(ctx context.Context, list []found) (int, error) {
	sessions, v, err := s.Latest(ctx)
	if err != nil {
		return 0, err
	}
	index := v.Index()
	orphans, err := orphansOf(v, sessions, list)
	v.Close()
	if err != nil || len(orphans) == 0 {
		return 0, err
	}
	if err := s.Released(ctx, index); err != nil {
		return 0, err
	}
	return len(orphans), s.Store.Delete(ctx, orphans...)
}

func orphansOf(v *meta.Image, sessions []uint64, list []found) (orphans []blockstore.Span, err error) {
	var doubted []found
	for _, x := range list {
		if x.note.Ino == 0 || slices.Contains(sessions, x.note.Session) {
			continue
		}
		// Almost always it is where it was written for.
		named, err := names(v, x, x.note.Off&^blockstore.Gathered, int64(x.blocks)*blockstore.Size)
		if err != nil {
			return nil, err
		}
		if !named {
			doubted = append(doubted, x)
		}
	}
	for _, x := range doubted {
		named, err := names(v, x, 0, meta.SizeMax)
		if err != nil {
			return nil, err
		}
		if !named {
			orphans = append(orphans, blockstore.Span{Extent: x.id, Count: x.blocks})
		}
	}
	return orphans, nil
}

// Names reports whether the file that an extent of so many blocks was written for shows anything of it in v, or may yet show
// it again.
func Names(v *meta.Image, id blockstore.ID, note blockstore.Note, blocks uint32) (bool, error) {
	x := found{id: id, note: note, blocks: blocks}
	named, err := names(v, x, note.Off&^blockstore.Gathered, int64(blocks)*blockstore.Size)
	if err == nil && !named {
		named, err = names(v, x, 0, meta.SizeMax)
	}
	return named, err
}

// names reports whether x's file shows anything of x within [off, off+n), or may yet show it again: what was replaced
// by commits that are not on disk everywhere is kept.
func names(v *meta.Image, x found, off, n int64) (bool, error) {
	if shared, err := v.Shared(x.id); err != nil || len(shared) > 0 {
		return true, err // other files have it
	}
	ino := meta.Ino(x.note.Ino)
	m, err := v.Extents(ino, off, n)
	if errors.Is(err, fault.NotExist) {
		m, err = nil, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range m {
		if e.Span.Extent == x.id {
			return true, nil
		}
	}
	volatile, err := v.Volatile(ino)
	return len(volatile) > 0, err
}
