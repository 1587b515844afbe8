package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/integration/harness"
)

// cut is a partial partition: some packets between two peers of three are lost, and the third hears and reaches both.
type cut struct {
	name         string
	a, b, bridge int
	drop         func(c *split, a, b int)
	led          bool // a leads
}

// reachStall is how long a read takes whose bytes cannot be reached: a recall's way round, and the deadline of a get.
const reachStall = 2 * time.Second

// cuts are the partial partitions, both ways and one way, with each role for the leader.
func (s *split) cuts() []cut {
	both := func(c *split, a, b int) { c.Cut(a, b) }
	there := func(c *split, a, b int) { c.CutOneWay(a, b) }
	back := func(c *split, a, b int) { c.CutOneWay(b, a) }
	all := []cut{
		{name: "two followers", drop: both},
		{name: "the leader and a follower", drop: both, led: true},
		{name: "from the leader to a follower", drop: there, led: true},
		{name: "from a follower to the leader", drop: back, led: true},
	}
	if harness.Soak() {
		all = append(all, cut{name: "from a follower to another", drop: there}, cut{name: "back from a follower to another", drop: back})
		all = append(all, all...)
	}
	return all
}

// Two of three peers cannot hear each other, or one cannot hear the other; both hear the third. People in all three mounts write,
// sync, read, list and rename all the time: nobody sees an error, anything old, or waits longer than where a peer falls
// silent: where the leader is one of the two it hands over to the third.
func TestPartialPartitions(t *testing.T) {
	s := newSplit(t, 3)
	s.alone()
	for n, c := range s.cuts() {
		lead := s.leader()
		rest := s.others(lead)
		c.a, c.b, c.bridge = rest[0], rest[1], lead
		promise := otherStall
		if c.led {
			c.a, c.b, c.bridge = lead, rest[0], rest[1]
			promise = leaderStall
		}
		t.Logf("%s: peers %d and %d; %d hears both", c.name, c.a, c.b, c.bridge)
		began := time.Now()
		l := newLoad(t)
		l.tag, l.pace = fmt.Sprintf("%d-", n), 50*time.Millisecond
		end := l.start(s.Peers()...)
		after(500 * time.Millisecond)
		c.drop(s, c.a, c.b)
		s.across(c)
		s.behind(c)
		after(2 * time.Second)
		worst := end()
		if who := s.leader(); who != c.bridge {
			t.Errorf("%s: peer %d leads", c.name, who)
		}
		t.Logf("%s: %v", c.name, worst)
		for kind, d := range worst.worst {
			if d > allowed(promise) {
				t.Errorf("%s: some %s took %v, promised within %v", c.name, kind, d, promise)
			}
		}
		for i, p := range s.Peers() {
			st := p.Status()
			if !st.Self.Ready {
				t.Errorf("%s: mount %d does not serve: %s", c.name, i+1, st.Self.Reason)
			}
			for _, q := range st.Peers {
				if q.State == cluster.Dead.String() || q.State == cluster.Lost.String() {
					t.Errorf("%s: peer %d takes %s for %s", c.name, i+1, q.Name, q.State)
				}
			}
		}
		cutFor := time.Since(began)
		s.Heal()
		s.WaitHealthy()
		l.same(s.Peers())
		looked := 0
		for name := range l.files {
			if s.copiesOf(name, 2); looked == 50 {
				break
			}
			looked++
		}
		for name := range l.files {
			if err := os.Remove(s.Peer(c.b).Path(name)); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		s.healed()
		t.Logf("cut for %v, all in %v", cutFor, time.Since(began))
	}
}

// across checks that what is written on one side of the cut is read on the other, and that its second copy is with the
// third peer.
func (s *split) across(c cut) {
	s.t.Helper()
	for k, from := range []int{c.a, c.b} {
		to := []int{c.b, c.a}[k]
		name := fmt.Sprintf("across-%d-%d", len(s.files), from)
		data := content(uint64(len(s.files)), 300_000)
		f, err := os.Create(s.Peer(from).Path(name))
		if err != nil {
			s.t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, err = f.Write(data)
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			s.t.Errorf("%s: write on mount %d: %v", c.name, from, err)
			continue
		}
		s.files[name] = data
		if got, err := os.ReadFile(s.Peer(to).Path(name)); err != nil || !bytes.Equal(got, data) {
			s.t.Errorf("%s: mount %d reads %d of %d bytes that were written on mount %d, %v", c.name, to, len(got), len(data), from, err)
		}
		for _, who := range s.replicas(name, c.bridge) {
			if strings.Contains(strings.Join(who, " "), s.id(to)) || len(who) != 2 {
				s.t.Errorf("%s: written on mount %d, its copies are with %v", c.name, from, who)
			}
		}
	}
}

// alone makes a directory whose files have one copy, with their writer.
func (s *split) alone() {
	dir := s.Peer(1).Path("alone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if out, code := s.Peer(1).Ctl("layout", "set", dir, "copies=1,policy=local-first"); code != 0 {
		s.t.Fatalf("layout: %s", out)
	}
}

// behind reads what has its only copy behind the cut: that fails soon, and the log says whom it was wanted from. The third peer
// reads it.
func (s *split) behind(c cut) {
	s.t.Helper()
	name := fmt.Sprintf("alone/%d-%d", c.a, len(s.files))
	data := content(uint64(len(s.files)), 20_000)
	if _, err := s.write(c.a, name, data); err != nil {
		s.t.Errorf("%s: write on mount %d: %v", c.name, c.a, err)
	}
	began := time.Now()
	got, err := os.ReadFile(s.Peer(c.b).Path(name))
	if took := time.Since(began); !errors.Is(err, syscall.EIO) || took > allowed(reachStall) {
		s.t.Errorf("%s: mount %d reads %d bytes whose only copy is with peer %d: %v after %v", c.name, c.b, len(got), c.a, err, took)
	}
	log, err := os.ReadFile(s.Peer(c.b).Log)
	if err != nil || !strings.Contains(string(log), "msg=\"read failed\"") || !strings.Contains(string(log), "pool get from "+s.id(c.a)[:7]) {
		s.t.Errorf("%s: the log of peer %d does not say that a read needs peer %d (%v)", c.name, c.b, c.a, err)
	}
	if got, err := os.ReadFile(s.Peer(c.bridge).Path(name)); err != nil || !bytes.Equal(got, data) {
		s.t.Errorf("%s: mount %d reads %d of %d bytes of %s, %v", c.name, c.bridge, len(got), len(data), name, err)
	}
}

func (s *split) id(i int) string { return s.Peer(i).Status().Self.ID }

// replicas returns where peer i says the extents of a file are.
func (s *split) replicas(name string, i int) (all [][]string) {
	s.t.Helper()
	w, err := s.Peer(i).Admin.Where(s.t.Context(), "/"+name)
	if err != nil {
		s.t.Errorf("where %s: %v", name, err)
	}
	for _, x := range w.Extents {
		var who []string
		for _, r := range x.Replicas {
			if r.State == "ok" {
				who = append(who, r.Peer)
			}
		}
		all = append(all, who)
	}
	return all
}

// copiesOf checks how many good copies each extent of a file has.
func (s *split) copiesOf(name string, n int) {
	s.t.Helper()
	for _, who := range s.replicas(name, 1) {
		if len(who) != n {
			s.t.Errorf("%s has copies with %v", name, who)
		}
	}
}
