package repair

import (
	"context"
	"errors"
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// Verifier looks, once after a start, for what a power cut took from a peer's own store: extents of commits that nobody
// had synced yet. Until that is done the peer must not say that it has synced anything, or the commits would count as
// safe, and what they replaced would be freed.
type Verifier struct {
	Self    cluster.PeerID
	View    func() (*meta.Image, error)
	Store   blockstore.Store
	Propose func(context.Context, meta.Op) (meta.Result, error)
}

const verifyInos = 256 // files looked at in one view

// Run takes this peer out of the layouts of extents it has lost, so that they count as below their copies. Damaged
// are extents that have no other replica: nothing is left of them here, and their files will say so.
func (r *Verifier) Run(ctx context.Context) (lost, damaged int, err error) {
	for after := meta.Ino(0); ; {
		missing, last, err := r.look(ctx, after)
		if err != nil {
			return lost, damaged, err
		}
		for _, m := range missing {
			if len(m.Extent.Layout.Peers) == 1 {
				damaged++
				continue
			}
			if err := r.retire(ctx, m); err != nil {
				return lost, damaged, err
			}
			lost++
		}
		if last == after {
			return lost, damaged, nil
		}
		after = last
	}
}

// look returns what this peer should hold of volatile files and does not, and the last file looked at.
func (r *Verifier) look(ctx context.Context, after meta.Ino) (missing []meta.Short, last meta.Ino, err error) {
	v, err := r.View()
	if err != nil {
		return nil, after, err
	}
	defer v.Close()
	inos, err := v.VolatileInos(after, verifyInos)
	if err != nil || len(inos) == 0 {
		return nil, after, err
	}
	for _, ino := range inos {
		file, err := v.Stat(ino)
		if errors.Is(err, fault.NotExist) {
			continue
		}
		if err != nil {
			return nil, after, err
		}
		m, err := v.Extents(ino, 0, file.Size)
		if err != nil {
			return nil, after, err
		}
		for _, e := range m {
			has, err := r.has(ctx, e)
			if err != nil {
				return nil, after, err
			}
			if !has {
				missing = append(missing, meta.Short{Ino: ino, Extent: e})
			}
		}
	}
	return missing, inos[len(inos)-1], nil
}

// has reports whether the store holds its replica of e, or need not. Records are whole or absent, so one block tells.
func (r *Verifier) has(ctx context.Context, e extent.Extent) (bool, error) {
	if !slices.Contains(e.Layout.Peers, r.Self) {
		return true, nil
	}
	one := e.Span
	one.Count = 1
	err := r.Store.Get(ctx, one, make([]byte, blockstore.Size))
	switch fault.KindOf(err) {
	case fault.NotExist, fault.Corrupt:
		return err == nil, nil
	}
	return err == nil, err
}

// retire takes this peer out of an extent's layout.
func (r *Verifier) retire(ctx context.Context, m meta.Short) error {
	return withdraw(ctx, r.Propose, r.Self, meta.Kept{Ino: m.Ino, Extent: m.Extent})
}

// withdraw takes a peer out of an extent's layout. Whoever changed the map meanwhile has decided otherwise.
func withdraw(ctx context.Context, propose func(context.Context, meta.Op) (meta.Result, error), self cluster.PeerID, k meta.Kept) error {
	next := k.Extent
	next.Layout.Peers = slices.DeleteFunc(slices.Clone(next.Layout.Peers), func(id cluster.PeerID) bool { return id == self })
	_, err := propose(ctx, meta.Replace{Ino: k.Ino, Old: []extent.Extent{k.Extent}, New: []extent.Extent{next}})
	if errors.Is(err, fault.Conflict) || errors.Is(err, fault.Stale) {
		return nil
	}
	return err
}
