package node

import (
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

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
