package node

import (
	"context"

	"dfs/blockstore"
	"dfs/blockstore/pool"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/vfs"
)

// data is the pool as the file system sees it: pieces become extents.
type data struct{ *pool.Pool }

var _ vfs.Blocks = data{}

// Write implements vfs.Blocks.
func (d data) Write(ctx context.Context, p []byte, n blockstore.Note, w placement.Wish, hard bool) ([]extent.Extent, error) {
	write := d.Pool.Write
	if hard {
		write = d.Pool.WriteHard
	}
	pieces, err := write(ctx, p, n, w)
	if err != nil {
		return nil, err
	}
	out := make([]extent.Extent, len(pieces))
	for i, piece := range pieces {
		out[i] = extent.Extent{Off: piece.Off, Span: piece.Span, Layout: piece.Layout}
	}
	return out, nil
}

// Read implements vfs.Blocks.
func (d data) Read(ctx context.Context, s blockstore.Span, l placement.Layout, p []byte) error {
	return d.Pool.Read(ctx, s, l, p)
}

// Sync implements vfs.Blocks.
func (d data) Sync(ctx context.Context, at []placement.Layout) (whole bool, err error) {
	failed, err := d.Pool.SyncLayouts(ctx, at)
	return len(failed) == 0, err
}
