package fstest

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/vfs"
)

// Blocks is a data plane in memory, for tests: one peer, extents cut at the wish's unit. Set the hooks before use.
type Blocks struct {
	Peer    cluster.PeerID
	OnWrite func(data []byte) error       // before bytes are kept; an error is the Write's
	OnRead  func(s blockstore.Span) error // before bytes are read; an error is the Read's
	OnSync  func(at []placement.Layout)   // at every Sync
	mu      sync.Mutex
	extents map[blockstore.ID][]byte
	writes  int
	hard    int // of the writes
	reads   int
}

var _ vfs.Blocks = (*Blocks)(nil)

// NewBlocks returns an empty data plane.
func NewBlocks() *Blocks {
	return &Blocks{Peer: cluster.PeerID{1}, extents: map[blockstore.ID][]byte{}}
}

// Write implements vfs.Blocks.
func (b *Blocks) Write(_ context.Context, data []byte, _ blockstore.Note, w placement.Wish, hard bool) ([]extent.Extent, error) {
	if len(data) == 0 || len(data)%blockstore.Size != 0 {
		return nil, fault.New("blocks write", fault.Invalid, "%d bytes", len(data))
	}
	if b.OnWrite != nil {
		if err := b.OnWrite(data); err != nil {
			return nil, err
		}
	}
	unit := int(w.UnitBlocks)
	if unit == 0 {
		unit = blockstore.MaxBlocks
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	var out []extent.Extent
	for off := 0; off < len(data); off += unit * blockstore.Size {
		p := slices.Clone(data[off:min(off+unit*blockstore.Size, len(data))])
		var id blockstore.ID
		rand.Read(id[:])
		b.extents[id] = p
		out = append(out, extent.Extent{
			Off:    int64(off),
			Span:   blockstore.Span{Extent: id, Count: uint32(len(p) / blockstore.Size)},
			Layout: placement.Layout{Data: 1, Peers: []cluster.PeerID{b.Peer}},
		})
	}
	if hard {
		b.hard++
		if b.OnSync != nil {
			b.OnSync([]placement.Layout{out[0].Layout})
		}
	}
	return out, nil
}

// Read implements vfs.Blocks.
func (b *Blocks) Read(_ context.Context, s blockstore.Span, _ placement.Layout, p []byte) error {
	if b.OnRead != nil {
		if err := b.OnRead(s); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	data, there := b.extents[s.Extent]
	from := int(s.First) * blockstore.Size
	if !there || from+len(p) > len(data) || int64(len(p)) != s.Bytes() {
		return fault.New("blocks read", fault.NotExist, "%v into %d bytes", s, len(p))
	}
	copy(p, data[from:])
	return nil
}

// Sync implements vfs.Blocks.
func (b *Blocks) Sync(_ context.Context, at []placement.Layout) (bool, error) {
	if b.OnSync != nil {
		b.OnSync(at)
	}
	return true, nil
}

// Drop forgets an extent, as the freeing of replaced blocks does.
func (b *Blocks) Drop(id blockstore.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.extents, id)
}

// Hard returns how many of the writes were to be synced too.
func (b *Blocks) Hard() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hard
}

// Counts returns how many writes and reads there were.
func (b *Blocks) Counts() (writes, reads int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes, b.reads
}
