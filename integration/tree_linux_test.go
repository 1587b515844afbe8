package integration

import (
	"os"
	"path/filepath"
	"testing"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

func TestTreeIsTheSameOnEveryMount(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	for _, src := range sources() {
		name := filepath.Base(src)
		want := harness.ReadTree(t, src)
		harness.Copy(t, src, c.Peer(1).Path(name), nil)
		for i := 2; i <= 3; i++ {
			harness.Same(t, c.Peer(i).Path(name), harness.ReadTree(t, c.Peer(i).Path(name)), want)
		}
		if err := os.RemoveAll(c.Peer(2).Path(name)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(c.Peer(3).Path(name)); !os.IsNotExist(err) {
			t.Errorf("removed on mount 2, but mount 3 says %v", err)
		}
	}
	c.WaitHealthy()
}

// A peer that takes no part in a copy dies in the middle of it. The copy goes on; the cluster says that it is degraded,
// and heals when the peer is back.
func TestPeerDiesDuringACopy(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	src := sources()[0]
	want := harness.ReadTree(t, src)
	harness.Copy(t, src, c.Peer(1).Path("tree"), func(files int) {
		if files == 100 {
			c.Peer(3).Kill()
		}
	})
	harness.Same(t, "mount 1 with a peer away", harness.ReadTree(t, c.Peer(1).Path("tree")), want)
	harness.Same(t, "mount 2 with a peer away", harness.ReadTree(t, c.Peer(2).Path("tree")), want)
	var st admin.Status
	until(t, "the cluster says that it is degraded", func() bool { // the copy may be over before anybody misses the peer
		return c.Peer(1).CtlJSON(&st, "status") == 6 && st.Cluster.Health == admin.Degraded
	})
	c.Peer(3).Restart()
	c.WaitHealthy()
	if code := c.Peer(1).CtlJSON(&st, "status"); code != 0 {
		t.Errorf("status after its return: exit code %d, %s", code, st.Cluster.Reason)
	}
	harness.Same(t, "mount 3 after its return", harness.ReadTree(t, c.Peer(3).Path("tree")), want)
	if n := harness.Copies(t, c.Peer(2), "tree", 2); n == 0 {
		t.Error("the stores hold no extents")
	}
}

func TestEverythingIsThereAfterAllPeersDied(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	src := sources()[len(sources())-1]
	want := harness.ReadTree(t, src)
	harness.Copy(t, src, c.Peer(1).Path("tree"), nil)
	c.KillAll()
	c.RestartAll()
	for i, p := range c.Peers() {
		harness.Same(t, "mount "+string(rune('1'+i)), harness.ReadTree(t, p.Path("tree")), want)
	}
}

// Peers join one after the other. Data that was there before gets its second copy.
func TestJoiningRaisesCopies(t *testing.T) {
	c := harness.Start(t, 1, harness.Options{})
	src := sources()[0]
	want := harness.ReadTree(t, src)
	harness.Copy(t, src, c.Peer(1).Path("tree"), nil)
	harness.Copies(t, c.Peer(1), "tree", 1)
	for range 2 {
		p := c.Add()
		harness.Same(t, "the mount of a peer that joined", harness.ReadTree(t, p.Path("tree")), want)
		c.WaitHealthy()
		harness.Copies(t, p, "tree", 2)
	}
	st := c.Peer(2).Status()
	if st.Cluster.Voters != 3 || len(st.Peers) != 3 {
		t.Errorf("%d voters of %d peers", st.Cluster.Voters, len(st.Peers))
	}
	// Now any one of them may go.
	c.Peer(1).Kill()
	harness.Same(t, "mount 2 without peer 1", harness.ReadTree(t, c.Peer(2).Path("tree")), want)
}
