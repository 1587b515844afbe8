package node

import (
	"context"

	"dfs/fs/coherence"
	"dfs/fs/mount/fuse"
	"dfs/fs/mount/winfsp"
)

// front is a mount as this peer's system has it: appear, in front_windows.go and front_other.go, makes it.
type front interface {
	coherence.Kernel
	Run(ctx context.Context) error // until it is unmounted, by ctx's end or by anybody
	Unmount() error                // ends Run
	Epoch() bool                   // ExpireEpoch works
	Guard() coherence.Guard        // nil: there is none
}

var (
	_ front = (*fuse.Server)(nil)
	_ front = (*winfsp.Server)(nil)
)

// mount makes the drive appear.
func (n *Node) mount(ctx context.Context) (front, error) {
	s, err := n.appear(ctx)
	if err != nil {
		return nil, err
	}
	n.driver.Attach(s, s.Epoch(), s.Guard())
	n.mu.Lock()
	n.server = s
	n.mu.Unlock()
	return s, nil
}
