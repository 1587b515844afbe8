package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

// offer returns what a peer offers that was not told: nine tenths of what its disk has left for it, and of what it
// holds already. A new peer on too small a disk is refused; one that holds data starts, however full its disk has become.
func (n *Node) offer() (int64, error) {
	free, err := freeSpace(n.cfg.Data)
	if err != nil {
		return 0, fault.Wrap("capacity", err)
	}
	var held int64
	err = filepath.WalkDir(n.dir("blocks"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what vanishes meanwhile takes no room
		}
		if info, err := d.Info(); err == nil {
			held += info.Size()
		}
		return nil
	})
	_, fresh := os.Stat(n.dir("blocks"))
	if have := free + held; have < 2*diskReserve && errors.Is(fresh, fs.ErrNotExist) {
		return 0, fault.New("capacity", fault.NoSpace, "%d MiB are free at %s; a new peer needs %d MiB, for its log, its state and data: choose another --data",
			have>>20, n.cfg.Data, 2*diskReserve>>20)
	}
	return max(1, (free+held)/10*9), err
}

// capacity is what this peer can hold now: what it offers, or less if others have filled its disk, or it has failed.
func (n *Node) capacity(live int64) int64 {
	if n.blocks.Failed() != nil {
		return live
	}
	free, err := n.left("blocks")
	if err != nil {
		return n.cfg.Capacity
	}
	return min(n.cfg.Capacity, live+max(0, free-diskReserve))
}

// space returns what the drive can hold under the root's layout, and how much of that can still be written: what
// users see in df. Peers that are away count as full.
func (n *Node) space() (total, free int64) {
	v := n.pool.View()
	copies := int64(n.rootCopies(len(v.Peers)))
	for _, p := range v.Peers {
		total += p.Capacity
		if p.Available() && p.State != cluster.Draining {
			free += max(0, p.Capacity-p.Reserve-p.Stored-p.InFlight)
		}
	}
	return total / copies, free / copies
}

// rootCopies returns how many copies the root's layout means for so many members, at least 1.
func (n *Node) rootCopies(members int) int {
	v := n.store.image(0)
	defer v.Close()
	var w placement.Wish
	if root, err := v.Stat(meta.Root); err == nil {
		w = root.Wish
	}
	return max(1, placement.Target(w, members))
}
