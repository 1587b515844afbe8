package vfs

import "dfs/fs/extent"

// crowdLocked counts the extents that this mount has committed to each window since it was last worth saying, and returns
// the windows where they are too many: small writes in one place leave a piece each. Counts go with the node; what is missed
// so is found by the walk of repair.
func (n *node) crowdLocked(list []extent.Extent, most int) (windows []int64) {
	for _, e := range list {
		off := e.Off / windowBytes * windowBytes
		if n.crowds == nil || len(n.crowds) > crowdsMax {
			n.crowds = map[int64]int{}
		}
		if n.crowds[off]++; n.crowds[off] > most {
			delete(n.crowds, off)
			windows = append(windows, off)
		}
	}
	return windows
}

// crowdsMax is how many windows of one file are counted: 16 GiB.
const crowdsMax = 4096
