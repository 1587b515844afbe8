package node

import (
	"context"

	"dfs/fs/vfs"
)

// beginJournal makes this daemon's journal known.
func (n *Node) beginJournal(ctx context.Context) error {
	return n.alone.Begin(ctx, n.session.id.Load())
}

// redo brings what this peer's last daemon had done, and died before it was in the log, into the log. It waits for the cluster.
func (n *Node) redo(ctx context.Context) error {
	skip, err := vfs.TakenBack(n.undone)
	if err != nil {
		return err
	}
	for _, left := range n.undone {
		if err := n.alone.Redo(ctx, left, n.fs, skip); err != nil {
			return err
		}
	}
	if err := n.journal.Forget(); err != nil {
		return err
	}
	n.undone = nil
	return n.forgetJournals(ctx)
}

// forgetJournals takes back what sessions of this peer that are over have said of their journals, redone or never written.
func (n *Node) forgetJournals(ctx context.Context) error {
	v, err := n.store.newest()
	if err != nil {
		return err
	}
	all, err := v.Journals()
	v.Close()
	for _, j := range all {
		if err == nil && j.Peer == n.id.ID() && j.Session != n.session.id.Load() {
			err = n.alone.Forget(ctx, j.Session)
		}
	}
	return err
}

// endJournal says that there is nothing more to come from this daemon, if so.
func (n *Node) endJournal() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := n.alone.End(ctx); err != nil {
		n.log.Info("the journal is not closed in the state; the next start does it", "err", err)
	}
}
