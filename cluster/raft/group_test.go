package raft_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore/disk"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft"
	"dfs/net/simnet"
)

// journal is a machine that keeps every op it was given, once: the list is the state.
type journal struct {
	mu      sync.Mutex
	applied uint64
	ops     []string
	results map[[2]uint64][]byte
	low     map[uint64]uint64 // by session: older ones are settled, and not applied again
	durable uint64
}

func newJournal() *journal {
	return &journal{results: map[[2]uint64][]byte{}, low: map[uint64]uint64{}}
}

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
		j.low[p.Session] = max(j.low[p.Session], p.Low)
		if _, known := j.results[key]; !known && p.Seq >= j.low[p.Session] {
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
	maps.Copy(c.low, j.low)
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
	lows []uint64
}

func (j *journal) Snapshot() (raft.Snapshot, error) {
	s := &journalSnap{j: j.clone()}
	for k := range s.j.results {
		s.keys = append(s.keys, k)
	}
	s.lows = slices.Collect(maps.Keys(s.j.low))
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
	case n < len(s.j.ops)+len(s.keys)+len(s.lows):
		session := s.lows[n-len(s.j.ops)-len(s.keys)]
		b := binary.BigEndian.AppendUint64([]byte{'l'}, session)
		return binary.BigEndian.AppendUint64(b, s.j.low[session]), nil
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
			j.applied, j.ops, j.results, j.durable = 0, nil, map[[2]uint64][]byte{}, 0
			return err
		}
		if b == nil {
			break
		}
		if b[0] == 'l' {
			fresh.low[binary.BigEndian.Uint64(b[1:])] = binary.BigEndian.Uint64(b[9:])
			continue
		}
		if b[0] == 'o' {
			fresh.ops = append(fresh.ops, string(b[1:]))
			continue
		}
		fresh.results[[2]uint64{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}] = b[17:]
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied, j.ops, j.results, j.low, j.durable = index, fresh.ops, fresh.results, fresh.low, index
	return nil
}

// replica is one peer of a test's cluster; it can be stopped, killed and started again.
type replica struct {
	*raft.Group
	t       *testing.T
	net     *simnet.Loop
	id      cluster.PeerID
	disk    *disk.Memory
	fail    func(disk.Op, string) error
	machine *journal
	session uint64
	o       raft.Options
	stop    func() error
	resets  int
	boot    time.Time
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
		r := &replica{t: t, net: c.net, id: peerID(i), disk: disk.NewMemory(), machine: newJournal(), session: uint64(i+1) << 32, boot: time.Now().Add(-time.Hour)}
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
	o.Self, o.Cluster, o.Transport, o.Machine, o.Session = r.id, "test", port, r.machine, r.session
	if o.Dir == "" {
		o.Disk = disk.Faulty(r.disk, func(op disk.Op, name string) error {
			if r.fail == nil {
				return nil
			}
			return r.fail(op, name)
		})
	}
	o.Now = func() time.Duration { return time.Since(r.boot) }
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

// TestUnderLoad changes members from one to three, five, three and one voters and kills replicas while every
// peer proposes. Each op is there once, and every op whose proposer was told is there.
func TestUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 5)
		c.net.SetWeather(simnet.Weather{Min: time.Millisecond, Max: 4 * time.Millisecond, Loss: 0.01})
		c.members(1)
		var mu sync.Mutex
		var told []string
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i, r := range c.all[:4] { // the fifth is killed
			for w := range 3 {
				g := r.Group
				wg.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						body := fmt.Sprint(i, "-", w, "-", n)
						one, cancel := context.WithTimeout(context.Background(), time.Minute)
						_, _, err := g.Propose(one, []byte(body))
						cancel()
						if err != nil {
							t.Error(body, err)
							return
						}
						mu.Lock()
						told = append(told, body)
						mu.Unlock()
						time.Sleep(5 * time.Millisecond) // a lone voter on a disk in memory would need no time at all
					}
				})
			}
		}
		for _, voters := range []int{3, 5, 3, 1, 3} {
			c.members(voters)
			c.all[4].kill(rand.New(rand.NewPCG(9, uint64(voters))))
			time.Sleep(time.Second)
			c.all[4].start()
			time.Sleep(time.Second)
		}
		cancel()
		wg.Wait()
		ops := c.agree()
		slices.Sort(ops)
		if n := len(ops); len(slices.Compact(slices.Clone(ops))) != n || n < 500 {
			t.Fatal("ops, some twice:", n)
		}
		for _, op := range told {
			if _, ok := slices.BinarySearch(ops, op); !ok {
				t.Fatal("lost:", op)
			}
		}
	})
}

// TestLearnerCatchesUpBySnapshot lets a log forget its beginning before a new peer joins, and again while one is away.
func TestLearnerCatchesUpBySnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.all[0].stop()
		c.all[0].o.Keep, c.all[0].o.KeepBytes = 1, 1
		c.all[0].start()
		for i := range 300 {
			c.all[0].mustPropose(fmt.Sprint(i, string(make([]byte, 100))))
		}
		forget := func() {
			c.all[0].machine.mu.Lock()
			c.all[0].machine.durable = c.all[0].machine.applied
			c.all[0].machine.mu.Unlock()
			c.all[0].mustPropose("so that the checkpoint is seen")
			first := c.all[0].Status().First
			for range 100 {
				if c.all[0].Status().First > first {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Fatal("the log forgets nothing: ", c.all[0].Status())
		}
		forget()
		c.members(1)
		c.agree()
		if c.all[1].resets == 0 || c.all[2].resets == 0 {
			t.Fatal("snapshots installed:", c.all[1].resets, c.all[2].resets)
		}
		c.all[2].kill(nil)
		for i := range 300 {
			c.all[0].mustPropose(fmt.Sprint("more", i, string(make([]byte, 100))))
		}
		forget()
		c.all[2].start()
		c.all[1].mustPropose("end")
		c.agree()

		// A peer that lost its state, but not its log, gets it back from another.
		c.members(3)
		c.all[2].stop()
		c.all[2].machine = newJournal()
		if c.all[2].disk.Cut(nil); c.all[2].resets == 0 {
			t.Fatal("no snapshot after the second gap")
		}
		resets := c.all[2].resets
		c.all[2].start()
		c.all[2].mustPropose("whole again")
		c.agree()
		if c.all[2].resets != resets+1 {
			t.Fatal("state was not fetched")
		}
	})
}

func TestStateThatDoesNotFitTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 1)
		c.all[0].mustPropose("op")
		c.all[0].stop()
		c.all[0].machine.applied = 1000
		if err := c.all[0].tryStart(); !errors.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		c.all[0].machine = newJournal()
		c.all[0].start()
		if ops := c.agree(); len(ops) != 1 {
			t.Fatal("the log was not replayed:", ops)
		}
	})
}

// TestWhatIsGivenUpIsNotSentAgain gives up waiting while nobody can hear the proposer: nothing comes of it later, unless it was
// under way already.
func TestWhatIsGivenUpIsNotSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		l := c.leader()
		f := c.all[(slices.Index(c.all, l)+1)%3]
		c.net.Isolate(f.id)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := f.Propose(ctx, []byte("late")); !errors.Is(err, fault.Timeout) {
			t.Fatal(err)
		}
		if _, err := f.ReadIndex(ctx); !errors.Is(err, fault.Timeout) {
			t.Fatal(err)
		}
		c.net.Heal()
		f.mustPropose("next")
		for range 100 {
			if f.Status().Window == 0 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		ops := c.agree()
		slices.Sort(ops)
		if !slices.Equal(ops, []string{"next"}) {
			t.Fatal(ops)
		}
		if _, _, err := f.Propose(context.Background(), make([]byte, raft.BodyMax+1)); !errors.Is(err, fault.TooBig) {
			t.Fatal(err)
		}
	})
}

func TestTransferAndStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		l := c.leader()
		to := c.all[(slices.Index(c.all, l)+1)%3]
		if err := to.Transfer(context.Background(), l.id); !errors.Is(err, fault.NotLeader) {
			t.Fatal(err)
		}
		if err := to.SetMembers(context.Background(), []cluster.PeerID{to.id}, nil); !errors.Is(err, fault.NotLeader) {
			t.Fatal(err)
		}
		if err := l.Transfer(context.Background(), to.id); err != nil {
			t.Fatal(err)
		}
		if c.leader() != to {
			t.Fatal("another leads")
		}
		began := time.Now()
		if err := to.stop(); err != nil {
			t.Fatal(err)
		}
		l.mustPropose("soon")
		if d := time.Since(began); d > 800*time.Millisecond {
			t.Errorf("a clean stop cost %v", d)
		}
	})
}

// TestLeasesAndReleases has two mounts: an op is told of when both have taken it in, or one has certainly lost its
// lease.
func TestLeasesAndReleases(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 2)
		c.members(1)
		held := make([]chan time.Duration, 2)
		notes := make(chan string, 1000)
		for i, r := range c.all {
			r.stop()
			held[i] = make(chan time.Duration, 1000)
			r.o.Mounted = true
			r.o.OnLease = func(until time.Duration) { held[i] <- until }
			r.o.OnNote = func(from cluster.PeerID, note []byte) {
				if from == c.all[1].id {
					select {
					case notes <- string(note):
					default:
					}
				}
			}
			r.start()
		}
		r0, r1 := c.all[0], c.all[1]
		took := func(r *replica, index uint64) {
			r.Took(lease.NewSeen(index, nil))
			r.Note([]byte("note"))
		}
		for i, r := range c.all {
			if !r.heldWithin(held[i], func() { took(r, r.Status().Applied) }) {
				t.Fatal("no lease: ", r.Status())
			}
		}
		// Neither has taken the op in yet.
		one, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if _, _, err := r1.Propose(one, []byte("a")); !errors.Is(err, fault.Timeout) {
			t.Fatal("released before it was taken in:", err)
		}
		index, _, err := r1.ProposeApplied(context.Background(), 0, []byte("b"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, _, err := r1.Propose(context.Background(), []byte("c"))
			done <- err
		}()
		time.Sleep(100 * time.Millisecond)
		took(r0, index+1)
		time.Sleep(100 * time.Millisecond)
		select {
		case err := <-done:
			t.Fatal("released before both had taken it in:", err)
		default:
		}
		took(r1, index+1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := <-notes; n != "note" {
			t.Fatal(n)
		}
		// Cut off, a mount loses its lease, and is waited for no longer than that.
		c.net.Isolate(r1.id)
		began := time.Now()
		go func() {
			_, _, err := r0.Propose(context.Background(), []byte("d"))
			done <- err
		}()
		time.Sleep(100 * time.Millisecond)
		took(r0, index+2)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < lease.Length-2*lease.Renew || d > 2*lease.Length {
			t.Errorf("a mount that was cut off was waited for %v", d)
		}
		var last time.Duration = 1
		for len(held[1]) > 0 {
			last = <-held[1]
		}
		if last != 0 || r1.Status().Lease != lease.Lost {
			t.Error("it was not told that its lease is gone:", last, r1.Status().Lease)
		}
		c.net.Heal()
		took(r1, r1.Status().Applied)
		r1.Rejoin()
		if !r1.heldWithin(held[1], func() { took(r1, r1.Status().Applied) }) {
			t.Fatal("no lease after rejoining")
		}
	})
}

// heldWithin runs step until a lease is held, for at most ten seconds.
func (r *replica) heldWithin(held chan time.Duration, step func()) bool {
	for range 100 {
		step()
		select {
		case until := <-held:
			if until > 0 {
				return true
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false
}

// TestEveryCallOfTheLeadersDiskFails fails each call of the leader's log in turn, with an I/O error and with a full disk: the
// replica ends and says why, the others go on, and what was acknowledged is there when it comes back.
func TestEveryCallOfTheLeadersDiskFails(t *testing.T) {
	for n := range 24 {
		inBubble(t, func(t *testing.T) {
			errno := []syscall.Errno{syscall.EIO, syscall.ENOSPC}[n%2]
			c := newPeers(t, 3)
			c.members(3)
			l := c.leader()
			others := slices.DeleteFunc(slices.Clone(c.all), func(r *replica) bool { return r == l })
			var calls atomic.Int64
			l.fail = func(op disk.Op, _ string) error {
				if op.Changes() && calls.Add(1) > int64(n/2) {
					return errno
				}
				return nil
			}
			for i := range 12 {
				others[i%2].mustPropose(fmt.Sprint("op ", i))
			}
			if calls.Load() <= int64(n/2) {
				t.Fatalf("only %d calls", calls.Load())
			}
			if err := l.stop(); !errors.Is(err, errno) || (errno == syscall.ENOSPC) != errors.Is(err, fault.NoSpace) {
				t.Fatalf("call %d: %v", n/2+1, err)
			}
			l.fail = nil
			l.start()
			l.mustPropose("back")
			if ops := c.agree(); len(ops) != 13 {
				t.Fatalf("call %d: %d ops, %v", n/2+1, len(ops), ops)
			}
		})
	}
}

// TestBrokenDiskStopsTheReplica fails a sync: the replica ends with the error, and the others go on.
func TestBrokenDiskStopsTheReplica(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		l := c.leader()
		broken := errors.New("broken disk")
		l.fail = func(op disk.Op, _ string) error {
			if op == disk.Sync {
				return broken
			}
			return nil
		}
		other := c.all[(slices.Index(c.all, l)+1)%3]
		other.mustPropose("a")
		if err := l.stop(); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		l.fail = nil
		l.start()
		l.mustPropose("b")
		if ops := c.agree(); len(ops) != 2 {
			t.Fatal(ops)
		}
	})
}

// TestInRealTime runs once outside of the bubble, on real files.
func TestInRealTime(t *testing.T) {
	c := &peers{T: t, net: simnet.NewLoop(1)}
	for i := range 3 {
		r := &replica{t: t, net: c.net, id: peerID(i), disk: disk.NewMemory(), machine: newJournal(), session: uint64(i+1) << 32, boot: time.Now().Add(-time.Hour)}
		r.o.Bootstrap, r.o.Dir = i == 0, t.TempDir()
		r.start()
		c.all = append(c.all, r)
		t.Cleanup(func() { r.stop() })
	}
	c.members(3)
	var wg sync.WaitGroup
	for i, r := range c.all {
		wg.Go(func() {
			for n := range 30 {
				r.mustPropose(fmt.Sprint(i, n))
			}
		})
	}
	wg.Wait()
	if ops := c.agree(); len(ops) != 90 {
		t.Fatal(len(ops))
	}
}

func BenchmarkPropose(b *testing.B) {
	for _, at := range []int{1, 64} {
		b.Run(fmt.Sprint(at), func(b *testing.B) {
			t := &testing.T{}
			c := &peers{T: t, net: simnet.NewLoop(1)}
			for i := range 3 {
				r := &replica{t: t, net: c.net, id: peerID(i), machine: newJournal(), session: uint64(i+1) << 32, boot: time.Now().Add(-time.Hour)}
				r.o.Bootstrap, r.o.Dir, r.o.SegmentBytes = i == 0, b.TempDir(), 16<<20
				if err := r.tryStart(); err != nil {
					b.Fatal(err)
				}
				c.all = append(c.all, r)
				defer r.stop()
			}
			c.members(3)
			l := c.leader()
			body := make([]byte, 200)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			for range at {
				wg.Go(func() {
					for range left {
						if _, _, err := l.Propose(context.Background(), body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
		})
	}
}

// TestRenew gives a peer another session while it waits for proposals of the old one.
func TestRenew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		r := c.all[2]
		if _, _, err := r.ProposeApplied(t.Context(), r.session, []byte("in the old session")); err != nil {
			t.Fatal(err)
		}
		c.net.Isolate(r.id)
		lost := make(chan error, 2)
		for _, under := range []uint64{0, r.session} {
			go func() {
				_, _, err := r.ProposeApplied(context.Background(), under, []byte("lost"))
				lost <- err
			}()
		}
		time.Sleep(time.Second)
		renewed := make(chan error, 1)
		go func() {
			_, err := r.Renew(context.Background(), 4711, []byte("opened"))
			renewed <- err
		}()
		for range 2 {
			if err := <-lost; !errors.Is(err, fault.Ended) {
				t.Error("a proposal of the old session:", err)
			}
		}
		if _, _, err := r.ProposeApplied(t.Context(), r.session, []byte("too late")); !errors.Is(err, fault.Ended) {
			t.Error("a proposal bound to the old session:", err)
		}
		later := make(chan error, 1)
		go func() {
			_, _, err := r.ProposeApplied(context.Background(), 4711, []byte("in the new one"))
			later <- err
		}()
		time.Sleep(time.Second)
		c.net.Heal()
		if err := errors.Join(<-renewed, <-later); err != nil {
			t.Fatal(err)
		}
		if got := r.machine.list(); !slices.Equal(got, []string{"in the old session", "opened", "in the new one"}) {
			t.Errorf("%q", got)
		}
	})
}
