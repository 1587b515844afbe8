package vfs

import (
	"testing"

	"dfs/blockstore"
	"dfs/fs/extent"
)

// A window is named once for every so many extents committed to it, and the memory for that is bounded.
func TestCrowdedWindowsAreNamed(t *testing.T) {
	n := &node{}
	one := func(off int64) []int64 {
		return n.crowdLocked([]extent.Extent{{Off: off, Span: blockstore.Span{Count: 1}}}, 10)
	}
	named := map[int64]int{}
	for i := range int64(33) {
		for _, w := range append(one(i*4096), one(windowBytes+i/2*512)...) {
			named[w]++
		}
	}
	if named[0] != 3 || named[windowBytes] != 3 || len(named) != 2 {
		t.Errorf("%v", named)
	}
	for i := range int64(3 * crowdsMax) {
		one(i * windowBytes)
	}
	if len(n.crowds) > crowdsMax+1 {
		t.Errorf("%d windows are counted", len(n.crowds))
	}
}
