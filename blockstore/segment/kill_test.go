package segment

import (
	"os"
	"testing"

	"dfs/blockstore/storetest"
)

// A process that dies without a word loses nothing, synced or not: the page cache has it. What it leaves is the
// directory as it is, here copied while the store is open.
func TestKill(t *testing.T) {
	rng := storetest.Rand(t)
	dir, left := t.TempDir(), t.TempDir()
	o := Options{SegmentBytes: 1 << 17}
	s := open(t, dir, o)
	m := storetest.NewModel()
	for range 200 {
		m.Step(t, rng, s, 20)
	}
	ok(t, os.CopyFS(left, os.DirFS(dir)))
	found := open(t, left, o)
	m.Check(t, found)
	if found.Usage().Live != s.Usage().Live {
		t.Fatalf("usage %+v, was %+v", found.Usage(), s.Usage())
	}
	for range 50 {
		m.Step(t, rng, found, 20)
	}
	m.Check(t, found)
}
