package node

import (
	"context"

	"dfs/fs/mount/winfsp"
)

func (n *Node) appear(ctx context.Context) (front, error) {
	s, err := winfsp.Mount(ctx, n.cfg.Mount, n.fs, winfsp.Options{Source: n.cfg.Data, Label: n.id.Name, Log: n.log})
	if err != nil {
		return nil, err
	}
	return s, nil
}
