package node

import (
	"context"

	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// beginJournal makes this daemon's journal known.
func (n *Node) beginJournal(ctx context.Context) error {
	return n.alone.Begin(ctx, n.session.id.Load())
}

// redo brings what this peer's last daemon had done, and died before it was in the log, into the log. It waits for the cluster.
func (n *Node) redo(ctx context.Context) error {
	for _, left := range n.undone {
		taken := map[meta.Ino]uint64{}
		for _, r := range left.Records {
			if r.Kind == vfs.KindTaken {
				ino, id, err := vfs.ReadTaken(r.Body)
				if err != nil {
					return err
				}
				taken[ino] = max(taken[ino], id)
			}
		}
		skip := func(r journal.Record) bool {
			if r.Kind != vfs.KindKept {
				return true
			}
			ino, id, err := vfs.ReadKept(r.Body)
			return err == nil && id <= taken[ino]
		}
		if err := n.alone.Redo(ctx, left, n.fs, skip); err != nil {
			return err
		}
	}
	if err := n.journal.Forget(); err != nil {
		return err
	}
	for _, left := range n.undone {
		if err := n.alone.Forget(ctx, left.Session); err != nil {
			return err
		}
	}
	n.undone = nil
	return nil
}

// endJournal says that there is nothing more to come from this daemon, if so.
func (n *Node) endJournal() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := n.alone.End(ctx); err != nil {
		n.log.Info("the journal is not closed in the state; the next start does it", "err", err)
	}
}
