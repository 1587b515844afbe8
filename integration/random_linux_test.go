package integration

import (
	"os"
	"testing"

	"dfs/fs/fstest"
	"dfs/integration/harness"
)

// Reads, writes, truncations, maps, holes, copies, renames from two mounts in turn match byte arrays.
func TestRandomOperationsOnTwoMounts(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	ops := 20_000
	if harness.Soak() {
		ops = 1_000_000
	}
	const dir = "random"
	if err := os.Mkdir(c.Peer(1).Path(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fstest.RunRandom(t, ops, c.Peer(1).Path(dir), c.Peer(2).Path(dir))
}
