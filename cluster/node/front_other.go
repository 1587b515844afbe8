//go:build !windows

package node

import (
	"context"

	"dfs/fs/mount/fuse"
)

func (n *Node) appear(ctx context.Context) (front, error) {
	s, err := fuse.Mount(ctx, n.cfg.Mount, n.fs, fuse.Options{
		Source: n.cfg.Data, AllowOther: n.cfg.AllowOther, NoEpoch: n.cfg.OldKernel, Guard: n.cfg.Guard, Log: n.log,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}
