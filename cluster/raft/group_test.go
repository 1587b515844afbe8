package raft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft"
	"dfs/cluster/raft/wal"
	"dfs/net/simnet"
)

// journal is a machine that keeps every op it was given, once: the list is the state.
type journal struct {
	mu      sync.Mutex
	applied uint64
	ops     []string
	results map[[2]uint64][]byte
	durable uint64
}

func newJournal() *journal { return &journal{results: map[[2]uint64][]byte{}} }

func (j *journal) Apply(index uint64, ps []raft.Proposal) ([][]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if index <= j.applied {
		return nil, fmt.Errorf("entry %d after %d", index, j.applied)
	}
	j.applied = index
	var out [][]byte
	for _, p := range ps {
		key := [2]uint64{p.Session, p.Seq}
		if _, known := j.results[key]; !known {
			j.ops = append(j.ops, string(p.Body))
			j.results[key] = binary.BigEndian.AppendUint64(nil, uint64(len(j.ops)))
		}
		out = append(out, j.results[key])
	}
	return out, nil
}

func (j *journal) Applied() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.applied
}

func (j *journal) Durable() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// clone is the machine as its disk would give it back.
func (j *journal) clone() *journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := newJournal()
	c.applied, c.ops, c.durable = j.applied, slices.Clone(j.ops), j.durable
	for k, v := range j.results {
		c.results[k] = v
	}
	return c
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.ops)
}

// journalSnap sends one op, and one result, a chunk.
type journalSnap struct {
	j    *journal
	n    int
	keys [][2]uint64
}

func (j *journal) Snapshot() (raft.Snapshot, error) {
	s := &journalSnap{j: j.clone()}
	for k := range s.j.results {
		s.keys = append(s.keys, k)
	}
	return s, nil
}

func (s *journalSnap) Index() uint64 { return s.j.applied }
func (s *journalSnap) Close()        {}
func (s *journalSnap) Next() ([]byte, error) {
	n := s.n
	s.n++
	switch {
	case n < len(s.j.ops):
		return append([]byte{'o'}, s.j.ops[n]...), nil
	case n < len(s.j.ops)+len(s.keys):
		k := s.keys[n-len(s.j.ops)]
		b := binary.BigEndian.AppendUint64([]byte{'r'}, k[0])
		return append(binary.BigEndian.AppendUint64(b, k[1]), s.j.results[k]...), nil
	}
	return nil, nil
}

func (j *journal) Restore(index uint64, next func() ([]byte, error)) error {
	fresh := newJournal()
	for {
		b, err := next()
		if err != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.applied, j.ops, j.results, j.durable = 0, nil, fresh.results, 0
			return err
		}
		if b == nil {
			break
		}
		if b[0] == 'o' {
			fresh.ops = append(fresh.ops, string(b[1:]))
			continue
		}
		fresh.results[[2]uint64{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}] = b[17:]
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied, j.ops, j.results, j.durable = index, fresh.ops, fresh.results, index
	return nil
}

// replica is one peer of a test's cluster; it can be stopped, killed and started again.
type replica struct {
	*raft.Group
	t       *testing.T
	net     *simnet.Loop
	id      cluster.PeerID
	disk    *wal.Memory
	machine *journal
	session uint64
	o       raft.Options
	stop    func() error
	resets  int
}

type peers struct {
	*testing.T
	net *simnet.Loop
	all []*replica
}

func peerID(n int) cluster.PeerID { return cluster.PeerID{0: byte(n + 1), 19: 7} }

// cluster makes n replicas; the first one has the cluster to itself, the others know nothing yet.
func newPeers(t *testing.T, n int) *peers {
	c := &peers{T: t, net: simnet.NewLoop(1)}
	for i := range n {
		r := &replica{t: t, net: c.net, id: peerID(i), disk: wal.NewMemory(), machine: newJournal(), session: uint64(i+1) << 32}
		r.o.Bootstrap = i == 0
		r.start()
		c.all = append(c.all, r)
	}
	t.Cleanup(func() {
		for _, r := range c.all {
			r.kill(nil)
		}
	})
	return c
}

var boot = time.Now()

// start opens the replica with what its disk has.
func (r *replica) start() {
	r.t.Helper()
	if err := r.tryStart(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) tryStart() error {
	r.session++
	port := r.net.Port(r.id)
	o := r.o
	o.Self, o.Cluster, o.Disk, o.Transport, o.Machine, o.Session = r.id, "test", r.disk, port, r.machine, r.session
	o.Now = func() time.Duration { return time.Since(boot) }
	o.Wall = time.Now
	o.SegmentBytes = max(o.SegmentBytes, 4<<10)
	if os.Getenv("RAFT_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("self", r.id.Short())
	}
	o.OnReset = func(uint64) { r.resets++ }
	g, err := raft.Open(o)
	if err != nil {
		return err
	}
	r.Group = g
	ctx, cancel := context.WithCancel(context.Background())
	netCtx, netCancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { port.Run(netCtx) })
	ended := make(chan error, 1)
	wg.Go(func() { ended <- g.Run(ctx) })
	r.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		netCancel()
		wg.Wait()
		return err
	})
	return nil
}

// kill ends the process without a word to the others. With rng the power goes too, and the machine loses what is
// not durable.
func (r *replica) kill(rng *rand.Rand) {
	r.net.Isolate(r.id)
	if rng != nil {
		r.disk.Cut(rng)
	}
	machine := r.machine.clone()
	r.stop()
	r.disk.Cut(nil)
	r.machine = machine
	r.net.Heal()
}

func (c *peers) leader() *replica {
	c.Helper()
	for range 600 {
		for _, r := range c.all {
			if s := r.Status(); s.Leading {
				return r
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.Fatal("no leader within a minute")
	return nil
}

// members makes the first n replicas vote and the others learn.
func (c *peers) members(voters int) {
	c.Helper()
	var v, l []cluster.PeerID
	for i, r := range c.all {
		if i < voters {
			v = append(v, r.id)
		} else {
			l = append(l, r.id)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := c.leader().SetMembers(ctx, v, l)
		if err == nil {
			return
		}
		if !errors.Is(err, fault.NotLeader) || ctx.Err() != nil {
			c.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (r *replica) propose(body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _, err := r.Propose(ctx, []byte(body))
	return err
}

func (r *replica) mustPropose(body string) {
	r.t.Helper()
	if err := r.propose(body); err != nil {
		r.t.Fatal(err)
	}
}

// agree waits until all replicas have the same ops, and returns them.
func (c *peers) agree() []string {
	c.Helper()
	var want []string
	for range 600 {
		ls := c.leader()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		index, err := ls.ReadIndex(ctx)
		cancel()
		if err == nil {
			want = ls.machine.list()
			same := true
			for _, r := range c.all {
				same = same && r.Status().Applied >= index && slices.Equal(r.machine.list(), want)
			}
			if same {
				return want
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, r := range c.all {
		c.Logf("%v: %v, %d ops", r.id.Short(), r.Status(), len(r.machine.list()))
	}
	c.Fatal("the replicas do not agree within a minute")
	return nil
}

// inBubble runs fn in virtual time.
func inBubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func TestOneVoter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 1)
		for i := range 50 {
			c.all[0].mustPropose(fmt.Sprint(i))
		}
		c.all[0].kill(rand.New(rand.NewPCG(1, 1)))
		c.all[0].start()
		c.all[0].mustPropose("after")
		if ops := c.agree(); len(ops) != 51 || ops[50] != "after" {
			t.Fatal(ops)
		}
		if err := c.all[0].stop(); err != nil {
			t.Fatal(err)
		}
		if err := c.all[0].propose("closed"); !errors.Is(err, fault.Closed) {
			t.Fatal(err)
		}
	})
}

func TestThreeVotersAndLearners(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 5)
		c.all[0].mustPropose("alone")
		c.members(3)
		for i, r := range c.all {
			r.mustPropose(fmt.Sprint("from ", i))
		}
		for i, op := range c.agree() {
			if want := fmt.Sprint("from ", i-1); i > 0 && op != want {
				t.Errorf("op %d is %q", i, op)
			}
		}
		s := c.all[4].Status()
		if len(s.Voters) != 3 || len(s.Learners) != 2 || s.Joint {
			t.Fatal(s.Voters, s.Learners)
		}
	})
}

func TestLeaderDies(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		rng := rand.New(rand.NewPCG(3, 3))
		for round := range 6 {
			l := c.leader()
			others := slices.DeleteFunc(slices.Clone(c.all), func(r *replica) bool { return r == l })
			done := make(chan error, 1)
			l.kill(rng)
			go func() { done <- others[0].propose(fmt.Sprint("round ", round)) }()
			began := time.Now()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("a leader's death cost %v", d)
			}
			l.start()
		}
		if ops := c.agree(); len(ops) != 6 {
			t.Fatal(ops)
		}
	})
}

var _ = lease.Held
