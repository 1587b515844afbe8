// Package repair finishes what the committed state says is unfinished: extents below their copies, commits not known
// to be on disk, windows of files in many pieces, orphans nobody holds, truncations not trimmed, freed blocks not dropped,
// written extents never committed.
//
// Every loop here is the same: look at a view, decide, do a bounded piece of work, propose one op that says it is done. What
// is not done shows in the next view, so that any of it may be interrupted, repeated, or taken over by a new leader.
//
// Keeper's passes are the leader's; Dropper and Sweeper are every peer's own.
package repair

import (
	"context"
	"log/slog"
	"sync/atomic"

	"dfs/blockstore"
	"dfs/blockstore/pool"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

// Pool is the data plane as repair uses it.
type Pool interface {
	Copy(ctx context.Context, s blockstore.Span, note blockstore.Note, from placement.Layout, to cluster.PeerID) error
	Read(ctx context.Context, s blockstore.Span, l placement.Layout, p []byte) error
	Write(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish) ([]pool.Piece, error)
	SyncEach(ctx context.Context, peers []cluster.PeerID) []error
	Forget(s blockstore.Span, peers ...cluster.PeerID) // delete, by and by, what no map will ever name
}

// Options of a Keeper.
type Options struct {
	Session uint64                      // of this peer: goes with what it writes
	View    func() (*meta.Image, error) // the newest state
	Propose func(context.Context, meta.Op) (meta.Result, error)
	Members func() cluster.View
	Pool    Pool
	Pick    func(w placement.Wish, have []cluster.PeerID) placement.Policy // of the peers for further replicas
	Log     *slog.Logger
}

// Keeper does the leader's passes. Passes of one kind must not run twice at a time.
type Keeper struct {
	o       Options
	session atomic.Uint64

	orphans    []meta.Ino // of Bury: seen, not yet known to be held by nobody
	orphansAt  uint64     // the state they were seen in
	lastOrphan meta.Ino
}

// New returns a Keeper.
func New(o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o}
	k.Renew(o.Session)
	return k
}

// Renew says that this peer's session is another now.
func (k *Keeper) Renew(session uint64) { k.session.Store(session) }
