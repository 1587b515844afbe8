package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// The cluster grows from one peer to five and shrinks back to one, by leaving and by removal of the dead, while
// somebody works in one mount. Nobody sees an error, the voters are as many as they should be at every size, and everything
// that was ever closed is there at the end. The founder, who leads, is the first to leave.
func TestVotersComeAndGoUnderLoad(t *testing.T) {
	c := harness.Start(t, 1, harness.Options{})
	l := newLoad(t)
	l.pace = 30 * time.Millisecond // what is written must be copied again and again
	end := l.start(c.Peer(1))
	voters := func(members int) {
		t.Helper()
		c.WaitHealthy()
		st := c.Peer(2).Status()
		if st.Cluster.Voters != cluster.VotersFor(members) || len(st.Peers) != members {
			t.Fatalf("%d peers: %d vote, want %d: %+v", len(st.Peers), st.Cluster.Voters, cluster.VotersFor(members), st.Peers)
		}
	}
	for n := 2; n <= 5; n++ {
		c.Add()
		voters(n)
	}
	t.Log(end())
	last, dead := c.Peer(2), c.Peer(3)
	end = l.start(last)
	c.Peer(1).Leave()
	voters(4)
	dead.Kill()
	remove(t, last, "peer-3")
	dead.Forget()
	voters(3)
	c.Peer(5).Leave()
	voters(2)
	c.Peer(4).Leave()
	voters(1)
	t.Log(end())
	l.same([]*harness.Peer{last})
	for _, p := range c.Peers() { // nobody was ever counted for what he did not have
		if n := p.Logged("replica: missing"); n > 0 {
			t.Errorf("%s lacked %d replicas that the maps placed on it", p.Name(), n)
		}
	}
	if t.Failed() {
		return
	}
	// The one that was removed while it was dead is told so when it comes back. Nobody is left whom it knows, but the last.
	dead.Up()
	if code := dead.WaitEnd(); code != 4 {
		t.Errorf("the removed peer ended with exit code %d", code)
	}
}

// remove waits until p sees the member called name as dead, and removes it.
func remove(t *testing.T, p *harness.Peer, name string) {
	t.Helper()
	until(t, name+" is seen as dead", func() bool { return stateOf(p, name) == "dead" })
	if out, code := p.Ctl("peer", "remove", name); code != 0 {
		t.Fatalf("remove %s: %d %s", name, code, out)
	}
	if s := stateOf(p, name); s != "" {
		t.Fatalf("%s was removed and is %s", name, s)
	}
}

// stateOf returns what p says of a member, "" if it is none.
func stateOf(p *harness.Peer, name string) string {
	for _, m := range p.Status().Peers {
		if m.Name == name {
			return m.State
		}
	}
	return ""
}

// until waits for something that is bound to happen.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(90 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// A data directory that is removed under its peer, or whose parts are another's, serves nobody: the process says so and
// ends, the drive goes on, and whoever lost his data joins again as a new peer. Then all is whole.
func TestADirectoryRemovedOrSwapped(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	first := c.Peer(1)
	want := map[string][]byte{}
	write := func(p *harness.Peer, name string, seed uint64) {
		t.Helper()
		want[name] = content(seed, 200_000)
		if err := os.WriteFile(p.Path(name), want[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(peers ...*harness.Peer) {
		t.Helper()
		for _, p := range peers {
			for name, data := range want {
				if got, err := os.ReadFile(p.Path(name)); err != nil || string(got) != string(data) {
					t.Fatalf("%s on %s: %d bytes, %v", name, p.Mount, len(got), err)
				}
			}
		}
	}
	for i := range 20 {
		write(c.Peer(i%3+1), fmt.Sprintf("f%d", i), uint64(i))
	}

	// Removed while it runs: the process ends by itself, and is not begun anew.
	victim := c.Peer(3)
	if err := os.RemoveAll(victim.Data); err != nil {
		t.Log(err) // what is being made meanwhile
	}
	if code := victim.WaitEnd(); code != 7 {
		t.Errorf("it ended with exit code %d", code)
	}
	if victim.Logged("removed under") == 0 {
		t.Error("it does not say why")
	}
	if left := harness.Mounts(victim.Mount); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	write(first, "meanwhile", 100)
	check(first, c.Peer(2))
	os.RemoveAll(victim.Data) // what the locks left
	if out, code := victim.Dfsd("up"); code != 2 || !strings.Contains(out, "next:") {
		t.Errorf("an empty directory that remembers nothing: %d %s", code, out)
	}
	os.RemoveAll(victim.Data)
	victim.Join(first.Token())
	remove(t, first, "peer-3")
	c.WaitHealthy()
	check(c.Peers()...)
	harness.Copies(t, first, ".", 2)

	// Removed while it was stopped: what is left of it is a stranger's.
	victim = c.Peer(2)
	victim.Terminate()
	for _, part := range []string{"log", "blocks", "identity"} {
		aside := victim.Data + "." + part
		rename := func(from, to string) {
			t.Helper()
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		rename(filepath.Join(victim.Data, part), aside)
		out, code := victim.Dfsd("up")
		if code != 7 || !strings.Contains(out, "missing") || !strings.Contains(out, "next:") {
			t.Errorf("without its %s: %d %s", part, code, out)
		}
		os.RemoveAll(filepath.Join(victim.Data, part))
		rename(aside, filepath.Join(victim.Data, part))
	}
	victim.Restart()
	c.WaitHealthy()

	// Swapped.
	two, three := c.Peer(2), c.Peer(3)
	two.Terminate()
	three.Terminate()
	swap := func(part string) {
		t.Helper()
		a, b := filepath.Join(two.Data, part), filepath.Join(three.Data, part)
		for _, step := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
			if err := os.Rename(step[0], step[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	ids := map[*harness.Peer]string{}
	for _, p := range []*harness.Peer{two, three} {
		for _, m := range first.Status().Peers {
			if m.Name == fmt.Sprintf("peer-%s", filepath.Base(p.Data)) || strings.HasPrefix(m.Name, fmt.Sprintf("peer-%s-", filepath.Base(p.Data))) {
				ids[p] = m.ID[:7]
			}
		}
	}
	for _, part := range []string{"log", "blocks", "identity"} {
		swap(part)
		for _, p := range []*harness.Peer{two, three} {
			out, code := p.Dfsd("up")
			if code != 7 || !strings.Contains(out, ids[two]) || !strings.Contains(out, ids[three]) || !strings.Contains(out, "next:") {
				t.Errorf("on the %s of another: %d %s", part, code, out)
			}
		}
		swap(part)
	}
	two.Restart()
	three.Restart()
	c.WaitHealthy()
	check(c.Peers()...)
	harness.Copies(t, first, ".", 2)
}

// A peer that was away while the log was cut catches up by snapshot: after a kill, after a kill in the middle of that, and
// in the running process after it was frozen. Its mount then knows everything that happened meanwhile, and its store
// gives back what was deleted.
func TestAwayForLongCatchesUpBySnapshot(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{Env: []string{"DFS_LOG_KEEP=50"}})
	first, away := c.Leader(t, c.Peer(1)), (*harness.Peer)(nil)
	for _, p := range c.Peers() {
		if p != first {
			away = p
		}
	}
	round, began := 0, time.Now()
	path := func(p *harness.Peer, kind string) string { return p.Path(fmt.Sprintf("%s-%d", kind, round)) }
	kinds := []string{"stays", "changes", "goes", "moves", "shrinks", "appears"}
	now, then := content(1, 300_000), content(2, 300_001)
	before := func() {
		t.Helper()
		round++
		for _, kind := range kinds[:5] {
			must(t, os.WriteFile(path(away, kind), now, 0o644))
		}
		for _, kind := range kinds[:5] { // and now its kernel knows them
			if got, err := os.ReadFile(path(away, kind)); err != nil || !bytes.Equal(got, now) {
				t.Fatalf("%s: %d bytes, %v", kind, len(got), err)
			}
		}
		os.Stat(path(away, "appears"))
		os.ReadDir(away.Path())
	}
	// meanwhile changes all that and goes on until the log does not reach back to where the peer left.
	meanwhile := func() {
		t.Helper()
		after(2 * time.Second) // until what is under way to a frozen peer has given up
		reached := first.Metric("dfs_raft_commit_index")
		must(t, os.WriteFile(path(first, "changes"), then, 0o644))
		must(t, os.Remove(path(first, "goes")))
		must(t, os.Rename(path(first, "moves"), path(first, "moved")))
		must(t, os.Truncate(path(first, "shrinks"), 100))
		must(t, os.WriteFile(path(first, "appears"), then, 0o644))
		must(t, os.Mkdir(path(first, "many"), 0o755))
		var full atomic.Bool
		var work sync.WaitGroup
		for k := range 8 { // each in a directory of its own
			work.Go(func() {
				dir := filepath.Join(path(first, "many"), fmt.Sprint(k))
				err := os.Mkdir(dir, 0o755)
				for n := 0; err == nil && !full.Load(); n++ {
					if err = os.Symlink(strings.Repeat("x", 4000), filepath.Join(dir, fmt.Sprint(n))); n > 5000 {
						err = errors.New("the log is never cut")
					}
				}
				if err != nil {
					t.Error(err)
					full.Store(true)
				}
			})
		}
		until(t, "the log is cut", func() bool { return full.Load() || first.Metric("dfs_raft_first_index") > reached })
		full.Store(true)
		work.Wait()
	}
	afterwards := func() {
		t.Helper()
		for _, kind := range []string{"stays", "changes", "moved", "shrinks", "appears"} {
			want := map[string][]byte{"stays": now, "changes": then, "moved": now, "shrinks": now[:100], "appears": then}[kind]
			got, err := os.ReadFile(path(away, kind))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("round %d, %s: %d bytes, %v", round, kind, len(got), err)
			}
		}
		for _, kind := range []string{"goes", "moves"} {
			if _, err := os.Lstat(path(away, kind)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("round %d, %s: %v", round, kind, err)
			}
		}
		for k := range 8 {
			here, err := os.ReadDir(filepath.Join(path(first, "many"), fmt.Sprint(k)))
			must(t, err)
			if there, err := os.ReadDir(filepath.Join(path(away, "many"), fmt.Sprint(k))); err != nil || len(there) != len(here) {
				t.Errorf("round %d: %d names, want %d, %v", round, len(there), len(here), err)
			}
		}
		t.Logf("round %d took until %v", round, time.Since(began).Round(time.Millisecond))
	}
	const begins = "snapshot begins"

	before()
	away.Kill()
	meanwhile()
	seen := away.Logged(begins)
	away.Restart()
	if away.Logged(begins) == seen {
		t.Error("it caught up, but not by snapshot")
	}
	afterwards()
	c.WaitHealthy()

	// Killed again and again in the middle of it.
	before()
	away.Kill()
	meanwhile()
	for range 3 {
		seen = away.Logged(begins)
		away.Up()
		until(t, "the snapshot begins", func() bool { return away.Logged(begins) > seen })
		away.Kill()
	}
	away.Restart()
	afterwards()
	c.WaitHealthy()

	// Frozen: the same process, kernel and caches, and what programs there have open: a file that others delete
	// meanwhile, and one that is being written.
	before()
	orphan, err := os.Open(path(away, "goes"))
	must(t, err)
	defer orphan.Close()
	draft, err := os.Create(path(away, "draft"))
	must(t, err)
	defer draft.Close()
	_, err = draft.Write(now)
	must(t, err)
	away.Freeze()
	meanwhile()
	seen = away.Logged(begins)
	away.Thaw()
	afterwards()
	if got, err := io.ReadAll(orphan); err != nil || !bytes.Equal(got, now) {
		t.Errorf("a file that was open when others deleted it: %d bytes, %v", len(got), err)
	}
	_, err = draft.Write(then)
	must(t, errors.Join(err, draft.Close()))
	if got, err := os.ReadFile(path(first, "draft")); err != nil || !bytes.Equal(got, append(bytes.Clone(now), then...)) {
		t.Errorf("a file that was being written: %d bytes, %v", len(got), err)
	}
	must(t, orphan.Close())
	until(t, "it has caught up by snapshot", func() bool { return away.Logged(begins) > seen })
	c.WaitHealthy()

	// Everything that was deleted meanwhile has gone from its store too: it holds what the maps say, and no more.
	until(t, "its store holds nothing else", func() bool {
		var i admin.PeerInfo
		if code := first.CtlJSON(&i, "peer", "info", away.Name()); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		return i.StoredBytes == i.HeldBytes
	})
	if away.Logged("panic") > 0 {
		t.Error("a panic")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
