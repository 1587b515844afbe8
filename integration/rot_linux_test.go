package integration

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

const healWithin = 60 * time.Second // generous: it takes a few on a quiet machine

// flipAt inverts one bit of a file, behind the back of whoever has it open.
func flipAt(t *testing.T, path string, off int64, bit uint) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// segments returns the segment files of a peer.
func segments(t *testing.T, p *harness.Peer) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(p.Data, "blocks", "*.seg"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return list
}

// find returns where the segments of a peer hold some bytes.
func find(t *testing.T, p *harness.Peer, want []byte) (path string, off int64) {
	t.Helper()
	for _, s := range segments(t, p) {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, want); i >= 0 {
			return s, int64(i)
		}
	}
	return "", 0
}

// files writes n files through p and returns what is in them, once they are on all disks.
func files(t *testing.T, p *harness.Peer, dir string, n, most int) map[string][]byte {
	t.Helper()
	if err := os.MkdirAll(p.Path(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("f%03d", i))
		want[name] = content(uint64(i+1), 300+(i*7919*13)%most) // long enough to be found again
		if err := writeSynced(p.Path(name), want[name]); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// identical reads every file through every mount.
func identical(t *testing.T, c *harness.Cluster, want map[string][]byte) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil { // what kernels keep does not rot
		t.Fatal(err)
	}
	for i, p := range c.Peers() {
		for name, data := range want {
			if got, err := os.ReadFile(p.Path(name)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("peer %d, %s: %d of %d bytes, %v", i+1, name, len(got), len(data), err)
			}
		}
	}
}

// states counts what the stores hold of files.
func states(t *testing.T, p *harness.Peer, want map[string][]byte) map[string]int {
	t.Helper()
	n := map[string]int{}
	for name := range want {
		w, err := p.Admin.Where(t.Context(), "/"+name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range w.Extents {
			for _, r := range e.Replicas {
				n[r.State]++
			}
		}
	}
	return n
}

// healed waits until every replica of the files is good.
func healed(t *testing.T, p *harness.Peer, want map[string][]byte) {
	t.Helper()
	var n map[string]int
	for end := time.Now().Add(healWithin); time.Now().Before(end); <-time.After(200 * time.Millisecond) {
		if n = states(t, p, want); len(n) == 1 && n["ok"] > 0 {
			return
		}
	}
	t.Fatalf("not healed: %v", n)
}

func logOf(t *testing.T, p *harness.Peer) string {
	t.Helper()
	b, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Blocks, headers and sums that flip under a running peer are read from elsewhere, found by those reads or, where the peer remembers
// the sums, by who asks for their state, said once each, and made whole within seconds.
func TestFlippedBlocksAreServedFromElsewhereAndHealed(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{Copies: 2})
	p := c.Peer(1)
	want := files(t, p, "d", 24, 200_000)
	c.WaitHealthy()
	flips := 0
	for _, data := range want {
		for _, q := range c.Peers() {
			head := data[:min(len(data), 300)]
			if path, off := find(t, q, head); path != "" {
				switch flips % 3 {
				case 0:
					flipAt(t, path, off+int64(len(head)/2), 3)
				case 1: // before the blocks lie the sums; a byte of them, not of what fills up
					blocks := int64(len(data)+511) / 512
					flipAt(t, path, off-(128+4*blocks+63)&^63+128+2, 1)
				default: // and before those the header
					blocks := int64(len(data)+511) / 512
					flipAt(t, path, off-(128+4*blocks+63)&^63+50, 1)
				}
				flips++
				break
			}
		}
	}
	if flips < len(want) {
		t.Fatalf("%d flips", flips)
	}
	identical(t, c, want)
	healed(t, p, want)
	identical(t, c, want)
	found, done := 0, 0
	for _, q := range c.Peers() {
		log := logOf(t, q)
		found += strings.Count(log, "replica: rotten")
		done += strings.Count(log, "replica: healed")
	}
	if found == 0 || found != done || found > flips {
		t.Fatalf("%d flips, %d said to be found, %d healed", flips, found, done)
	}
}

// scrub verifies everything on every peer and returns when that is done and what can be healed is.
func scrub(t *testing.T, p *harness.Peer) admin.Scrub {
	t.Helper()
	var doc admin.Scrub
	if code := p.CtlJSON(&doc, "scrub", "start", "--wait", "--timeout", "120s"); code != 0 {
		t.Fatalf("scrub: exit code %d, %+v", code, doc)
	}
	return doc
}

// total sums what the peers of a scrub say of their replicas.
func total(doc admin.Scrub) (h admin.Health) {
	for _, p := range doc.Peers {
		h.Rotten += p.Rotten
		h.Missing += p.Missing
		h.Healed += p.Healed
		h.Retired += p.Retired
		h.Waiting += p.Waiting
		h.Damaged += p.Damaged
	}
	return h
}

// Hundreds of bits flipped all over one peer's segments while it runs: a scrub finds what they cost, has it healed, and the
// counts, the events and the log agree.
func TestScrubFindsAndHealsWhatFlipped(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{Copies: 2})
	p := c.Peer(2)
	want := files(t, p, "d", 40, 300_000)
	c.WaitHealthy()
	flips := 300
	if harness.Soak() {
		flips = 5000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range segments(t, p) {
		info, err := os.Stat(s)
		if err != nil {
			t.Fatal(err)
		}
		for range flips {
			flipAt(t, s, rng.Int64N(info.Size()), uint(rng.IntN(8)))
		}
	}
	bad := states(t, p, want)
	if bad["rotten"] == 0 || len(bad) != 2 {
		t.Fatalf("%d flips: %v", flips, bad)
	}
	h := total(scrub(t, p))
	if n := states(t, p, want); len(n) != 1 || n["ok"] == 0 {
		t.Fatalf("after the scrub: %v", n)
	}
	if int(h.Rotten) < bad["rotten"] || h.Healed != h.Rotten || h.Missing+h.Retired != 0 || h.Waiting+h.Damaged != 0 {
		t.Fatalf("%v before, then %+v", bad, h)
	}
	if n := strings.Count(logOf(t, p), "replica: rotten"); n != int(h.Rotten) {
		t.Errorf("%d lines in the log for %d replicas", n, h.Rotten)
	}
	var ev admin.Events
	p.CtlJSON(&ev, "events")
	found := 0
	for _, e := range ev.Events {
		if e.Kind == "replica rotten" {
			found++
		}
	}
	if found != int(h.Rotten) {
		t.Errorf("%d events for %d replicas", found, h.Rotten)
	}
	if st := p.Status(); st.Repair.Here.Healed != h.Healed || st.Repair.BadReplicas != 0 || st.Cluster.Health != admin.Healthy {
		t.Errorf("%+v, %s %s", st.Repair, st.Cluster.Health, st.Cluster.Reason)
	}
	identical(t, c, want)
	if again := total(scrub(t, p)); again.Rotten != h.Rotten {
		t.Errorf("a second scrub found more: %+v", again)
	}
}

// below returns the files of a peer's data directory under a folder whose names match.
func below(t *testing.T, p *harness.Peer, folder, pattern string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(p.Data, folder), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ok, _ := filepath.Match(pattern, d.Name()); ok && d.Type().IsRegular() {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// rot flips bits all over what is written in a file: many in a small one, and in a large one in its first mebibyte. Room that was made
// beforehand, as in the log, holds zeros.
func rot(t *testing.T, rng *rand.Rand, path string, flips int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	written := len(bytes.TrimRight(head, "\x00"))
	for range flips {
		if written > 0 {
			flipAt(t, path, rng.Int64N(int64(written)), uint(rng.IntN(8)))
		}
	}
}

// Whatever file of a peer rots while it is stopped, or was killed, the drive shows what it did, the peer comes back by itself, and
// everything is whole again.
func TestEveryFileOfAPeerMayRot(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{Copies: 2})
	want := files(t, c.Peer(1), "d", 24, 200_000)
	c.WaitHealthy()
	rng := rand.New(rand.NewPCG(3, 4))
	cases := []struct {
		name, folder, pattern string
		flips                 int
		killed                bool
	}{
		{"segments", "blocks", "*.seg", 40, false},
		{"the index's tables and manifest", "blocks/index", "[^B]*", 3, false},
		{"the index after a kill", "blocks/index", "*", 3, true},
		{"the identity of the store", "blocks", "ID", 2, false},
		{"the state", "state", "[^B]*", 3, false},
		{"the state after a kill", "state", "*", 3, true},
		{"the log", "log", "*.log", 20, false},
		{"the log after a kill", "log", "*.log", 20, true},
		{"whose log it is", "log", "id", 2, false},
		{"what the parts are", ".", "parts.json", 3, false},
		{"how far the scrub is", ".", "scrub.json", 3, false},
	}
	for i, x := range cases {
		p := c.Peer(i%3 + 1) // the leader is among them
		if x.killed {
			p.Kill()
		} else {
			p.Terminate()
		}
		rotten := below(t, p, x.folder, x.pattern)
		if len(rotten) == 0 {
			t.Fatalf("%s: no files", x.name)
		}
		for _, path := range rotten {
			rot(t, rng, path, x.flips)
		}
		p.Up()
		p.WaitReady()
		identical(t, c, want)
		scrub(t, p)
		if n := states(t, p, want); len(n) != 1 || n["ok"] == 0 {
			t.Fatalf("%s: %v", x.name, n)
		}
		c.WaitHealthy()
		t.Logf("%s of peer %d: fine at %s", x.name, i%3+1, time.Now().Format(time.TimeOnly))
	}
	identical(t, c, want)
	said := 0
	for _, p := range c.Peers() {
		said += strings.Count(logOf(t, p), "the log has rotted")
	}
	if said != 2 {
		t.Errorf("a rotten log was said %d times", said)
	}
}
