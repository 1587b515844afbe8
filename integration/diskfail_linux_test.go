package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// The disk under one peer's blocks fails, then that under another's log, while files are written: nobody notices but the
// peers themselves, who say so. The block store stays stopped, and the daemon goes on; the peer without a log ends, and is
// not started again and again.
func TestFailedDisks(t *testing.T) {
	harness.NeedFUSE(t)
	blocks, log := harness.NewLoopDisk(t, "ext4", 1<<30), harness.NewLoopDisk(t, "ext4", 1<<30)
	c := harness.Start(t, 3, harness.Options{})
	for p, d := range map[int]*harness.LoopDisk{2: blocks, 3: log} {
		c.Peer(p).Terminate()
		d.Become(t, filepath.Join(c.Peer(p).Data, map[int]string{2: "blocks", 3: "log"}[p]))
		c.Peer(p).Restart()
	}
	c.WaitHealthy()
	written := map[string][]byte{}
	n := 0
	write := func(peer int, what string) {
		t.Helper()
		for range 20 {
			n++
			name, data := fmt.Sprint("f-", n), content(uint64(n), 1+n*7919%200_000)
			err := put(c.Peer(peer).Path(name), data)
			if n%3 == 0 {
				err = writeSynced(c.Peer(peer).Path(name), data)
			}
			if err != nil {
				t.Fatalf("%s, mount %d, file %d: %v", what, peer, n, err)
			}
			written[name] = data
		}
	}
	for p := 1; p <= 3; p++ {
		write(p, "before")
	}
	daemon := c.Peer(2).Daemon()
	cut := time.Now()
	blocks.Cut(t)
	for p := 1; p <= 3; p++ {
		write(p, "with the blocks of peer 2 gone")
	}
	eventually(t, "everybody to know of peer 2", func() error {
		for _, p := range c.Peers() {
			if st := p.Status(); !strings.Contains(st.Cluster.Reason, "peer-2: its block store has stopped: input/output error") {
				return fmt.Errorf("it is %s: %s", st.Cluster.Health, st.Cluster.Reason)
			}
		}
		return nil
	})
	eventually(t, "what peer 2 has lost to be made elsewhere", func() error {
		var doc admin.Scrub
		c.Peer(2).CtlJSON(&doc, "scrub", "status")
		for _, p := range doc.Peers {
			if p.Name == "peer-2" && (p.State != "idle" || p.Ended.Before(cut)) {
				return fmt.Errorf("its scrub: %+v", p)
			}
		}
		st := c.Peer(2).Status()
		if st.Repair.ExtentsBelowTarget > 0 || st.Repair.BadReplicas > 0 {
			return fmt.Errorf("%d extents are below their copies, %d replicas are bad", st.Repair.ExtentsBelowTarget, st.Repair.BadReplicas)
		}
		return nil
	})
	if now := c.Peer(2).Daemon(); now != daemon {
		t.Errorf("daemon 2 was %d and is %d", daemon, now)
	}
	check := func(peers ...int) {
		t.Helper()
		bad := 0
		for name, data := range written {
			for _, p := range peers {
				if got, err := os.ReadFile(c.Peer(p).Path(name)); err != nil || !bytes.Equal(got, data) {
					if bad++; bad < 5 {
						t.Errorf("%s in mount %d: %d of %d bytes, %v", name, p, len(got), len(data), err)
					}
				}
			}
		}
	}
	check(1, 2, 3)

	log.Cut(t)
	for p := 1; p <= 2; p++ {
		write(p, "with the log of peer 3 gone")
	}
	if code, _ := c.Peer(3).Ended(); code != 4 {
		t.Errorf("exit code %d of a peer whose log has failed, want 4", code)
	}
	text, err := os.ReadFile(c.Peer(3).Log)
	if err != nil || !strings.Contains(string(text), "has failed") || strings.Count(string(text), "starting it again") > 1 {
		t.Errorf("peer 3 says (%v):\n%s", err, text)
	}
	check(1, 2)
}
