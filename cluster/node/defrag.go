package node

import (
	"context"
	"time"

	"dfs/fs/meta"
	"dfs/fs/repair"
)

const (
	defragCalm = time.Minute // a window is left alone for so long before it is rewritten
	defragRate = 32 << 20    // bytes a second
	crowdQueue = 64          // windows that wait to be gathered here; more are left to the leader's walk
)

// crowd is a window of a file that this peer's mount has crowded.
type crowd struct {
	ino meta.Ino
	off int64
}

// crowded notes a window for gather. It never blocks.
func (n *Node) crowded(ino meta.Ino, off int64) {
	select {
	case n.crowds <- crowd{ino, off}:
	default:
	}
}

// gather rewrites the windows that this peer's mount writes to in too many pieces.
func (n *Node) gather(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-n.crowds:
			bytes, err := n.keeper.Gather(ctx, c.ino, c.off)
			n.gathered.Add(bytes)
			if err != nil && ctx.Err() == nil {
				n.log.Debug("a crowded window was not gathered", "ino", c.ino, "off", c.off, "err", err)
			}
		}
	}
}

// defragment is the leader's: now and then, when something has changed, it walks over all extents.
func (n *Node) defragment(ctx context.Context) error {
	calm := n.cfg.Calm
	if calm == 0 {
		calm = defragCalm
	}
	tick := time.NewTicker(max(calm/2, choreEvery))
	defer tick.Stop()
	var seen uint64 // the state of the last walk that left nothing for later
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		v := n.store.image(0)
		at := v.Index()
		v.Close()
		if !n.leading.Load() || !n.started.Load() || at == seen {
			continue
		}
		began := time.Now()
		bytes, young, err := n.keeper.Defragment(ctx, calm, defragRate)
		n.gathered.Add(bytes)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("the walk for defragmentation ended early", "err", err)
		}
		if bytes > 0 {
			n.log.Info("defragmented", "bytes", bytes, "took", time.Since(began).Round(time.Millisecond))
		}
		if err == nil && !young {
			seen = at
		}
	}
}

// crowdMax is when a mount says that a window is crowded.
const crowdMax = repair.CrowdMax
