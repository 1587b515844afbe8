package integration

import (
	"os"
	"testing"

	"dfs/fs/fstest"
	"dfs/integration/harness"
)

// On a mount of a cluster, system calls do what POSIX and Linux's manual say; and whatever two mounts do to files in turn is what byte
// arrays become by it.
func TestPosixOnACluster(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	made := func(dir string) {
		if err := os.Mkdir(c.Peer(1).Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("cases", func(t *testing.T) {
		made("cases")
		fstest.RunDir(t, "mount", c.Peer(2).Path("cases"))
	})
	t.Run("random operations on two mounts", func(t *testing.T) {
		ops := 20_000
		if harness.Soak() {
			ops = 1_000_000
		}
		made("random")
		fstest.RunRandom(t, ops, c.Peer(1).Path("random"), c.Peer(2).Path("random"))
	})
}
