package plane_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/net/simnet"
	"dfs/osmodel/kv"
	"dfs/sched/plane"
)

var (
	linearSeed = flag.Uint64("plane.seed", 0, "seed of the faults and clients; 0: another each time")
	linearTime = flag.Duration("plane.time", 20*time.Second, "how long clients work, in virtual time")
)

// rounds is how often each history is made anew: many times in make soak.
func rounds() int {
	if os.Getenv("DFS_SOAK") == "1" {
		return 100
	}
	return 1
}

// replica is one peer: a log, a machine behind it, and what survives a kill.
type replica struct {
	id   cluster.PeerID
	disk *disk.Memory
	boot time.Time

	mu      sync.Mutex // guards what a restart replaces
	group   *raft.Group
	machine *state.Machine
	stop    func()
	applied chan struct{} // closed and replaced at every entry
	session uint64
}

// peers are three replicas that vote, on a network that can be cut.
type peers struct {
	t   *testing.T
	net *simnet.Loop
	all []*replica
}

func newPeers(t *testing.T) *peers {
	c := &peers{t: t, net: simnet.NewLoop(1)}
	for i := range 3 {
		r := &replica{id: cluster.PeerID{0: byte(i + 1)}, disk: disk.NewMemory(), boot: time.Now().Add(-time.Hour), session: uint64(i+1) << 32}
		c.all = append(c.all, r)
		c.start(r, i == 0)
	}
	ids := []cluster.PeerID{c.all[0].id, c.all[1].id, c.all[2].id}
	c.insist("members", func(ctx context.Context) error { return c.all[0].group.SetMembers(ctx, ids, nil) })
	for _, r := range c.all {
		c.open(r)
	}
	t.Cleanup(func() {
		for _, r := range c.all {
			r.stop()
		}
	})
	return c
}

// insist repeats what is bound to succeed.
func (c *peers) insist(what string, fn func(context.Context) error) {
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := fn(ctx)
		cancel()
		if err == nil {
			return
		}
		if try == 100 {
			c.t.Fatal(what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// start opens a replica on what its disk has; its state is made anew from the log.
func (c *peers) start(r *replica, first bool) {
	m, err := state.New(mem.New(), state.Options{Parts: map[byte]state.Part{state.TagPlane: plane.Part{}}})
	if err != nil {
		c.t.Fatal(err)
	}
	r.session++
	port := c.net.Port(r.id)
	g, err := raft.Open(raft.Options{
		Self: r.id, Cluster: "test", Disk: r.disk, Transport: port, Machine: m, Session: r.session, Bootstrap: first, Keep: 1 << 20,
		SegmentBytes: 64 << 10, Now: func() time.Duration { return time.Since(r.boot) }, Wall: time.Now, OnApplied: func(uint64) { r.tell() },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	netCtx, netCancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { port.Run(netCtx) })
	ended := make(chan struct{})
	wg.Go(func() {
		g.Run(ctx)
		close(ended)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.group, r.machine, r.applied = g, m, make(chan struct{})
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		netCancel()
		wg.Wait()
	})
}

// open begins the replica's session.
func (c *peers) open(r *replica) {
	c.insist("session", func(ctx context.Context) error {
		_, raw, err := r.group.ProposeApplied(ctx, 0, state.Encode(state.OpenSession{Peer: r.id, Incarnation: r.session}))
		if err == nil {
			_, err = state.DecodeResult(raw)
		}
		return err
	})
}

func (r *replica) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.applied != nil {
		close(r.applied)
	}
	r.applied = make(chan struct{})
}

func (r *replica) now() (*raft.Group, *state.Machine, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.group, r.machine, r.applied
}

// propose is what the daemon does with an op.
func (r *replica) propose(ctx context.Context, op plane.Op) (plane.Result, error) {
	for {
		g, _, _ := r.now()
		_, raw, err := g.ProposeApplied(ctx, 0, plane.Encode(op))
		var res plane.Result
		if err == nil {
			res, err = plane.ResultOf(raw)
		}
		if !errors.Is(err, fault.Busy) && !errors.Is(err, fault.Ended) {
			return res, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// read is what the daemon does with a question that must be fresh.
func (r *replica) read(ctx context.Context, fn func(plane.View) error) error {
	g, m, _ := r.now()
	index, err := g.ReadIndex(ctx)
	if err != nil {
		return err
	}
	for {
		_, _, next := r.now()
		if g.Status().Applied >= index && m.Applied() > 0 {
			break
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	rd, _ := m.At(0)
	defer rd.Close()
	return fn(plane.NewView(rd))
}

// harm cuts links, stops peers for a while and kills them, one at a time, until ctx ends.
func (c *peers) harm(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(500+rng.IntN(1500)) * time.Millisecond)
		r := c.all[rng.IntN(3)]
		lasts := time.Duration(200+rng.IntN(3000)) * time.Millisecond
		switch rng.IntN(3) {
		case 0: // it is cut off, or does not run: the others cannot tell
			c.net.Isolate(r.id)
			time.Sleep(lasts)
			c.net.Heal()
		case 1: // in one direction
			c.net.Cut(r.id, c.all[rng.IntN(3)].id)
			time.Sleep(lasts)
			c.net.Heal()
		case 2:
			c.net.Isolate(r.id)
			r.stop()
			r.disk.Cut(rng)
			time.Sleep(lasts)
			c.net.Heal()
			c.start(r, false)
			c.open(r)
		}
	}
}

// history is what clients asked and heard.
type history struct {
	mu     sync.Mutex
	began  time.Time
	ops    []porcupine.Operation
	client int
}

func (h *history) newClient() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.client++
	return h.client
}

// add notes an operation. One whose outcome is unknown may happen at any time from its call on.
func (h *history) add(client int, in any, call time.Time, out any, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	back := int64(math.MaxInt64)
	if known {
		back = int64(time.Since(h.began))
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(call.Sub(h.began)), Output: out, Return: back})
}

// under lets clients work on three peers under faults, and returns the history.
func under(t *testing.T, clients int, setup []plane.Op, work func(c *peers, r *replica, rng *rand.Rand, h *history, client *int), after func(c *peers, h *history)) []porcupine.Operation {
	seed := *linearSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Log("seed", seed)
	h := &history{}
	synctest.Test(t, func(t *testing.T) {
		c := newPeers(t)
		for _, op := range setup {
			c.insist("setup", func(ctx context.Context) error { _, err := c.all[0].propose(ctx, op); return err })
		}
		h.began = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), *linearTime)
		defer cancel()
		var wg sync.WaitGroup
		for i := range clients {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				client := h.newClient()
				for ctx.Err() == nil {
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
					work(c, c.all[rng.IntN(3)], rng, h, &client)
				}
			})
		}
		wg.Go(func() { c.harm(ctx, rand.New(rand.NewPCG(seed, 1<<32))) })
		wg.Wait()
		if after != nil {
			time.Sleep(10 * time.Second) // what is under way arrives
			after(c, h)
		}
	})
	return h.ops
}

func check(t *testing.T, m porcupine.Model, ops []porcupine.Operation) {
	t.Helper()
	known := 0
	for _, o := range ops {
		if o.Return != math.MaxInt64 {
			known++
		}
	}
	t.Logf("%d operations, of %d nobody knows the outcome", len(ops), len(ops)-known)
	if known < 50 {
		t.Fatal("too few operations to say anything")
	}
	if r := porcupine.CheckOperationsTimeout(m, ops, time.Minute); r != porcupine.Ok {
		t.Fatalf("not linearizable: %v", r)
	}
}

// keyOp is a question of the memory: get, or set and cas with new; keyGot its answer.
type keyOp struct{ do, key, old, new string }
type keyGot struct {
	value string // "-" none
	held  bool
	known bool
}

var memoryModel = porcupine.Model{
	Partition: func(h []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range h {
			k := o.Input.(keyOp).key
			by[k] = append(by[k], o)
		}
		var all [][]porcupine.Operation
		for _, ops := range by {
			all = append(all, ops)
		}
		return all
	},
	Init: func() any { return "-" },
	Step: func(st, in, out any) (bool, any) {
		s, op, got := st.(string), in.(keyOp), out.(keyGot)
		switch op.do {
		case "get":
			return got.value == s, s
		case "set":
			return true, op.new
		}
		if s != op.old {
			return !got.known || !got.held, s
		}
		return !got.known || got.held, op.new
	},
}

func TestMemoryIsLinearizable(t *testing.T) {
	for range rounds() {
		testMemoryIsLinearizable(t)
	}
}

func testMemoryIsLinearizable(t *testing.T) {
	ops := under(t, 6, nil, func(_ *peers, r *replica, rng *rand.Rand, h *history, client *int) {
		op := keyOp{do: []string{"get", "set", "cas"}[rng.IntN(3)], key: fmt.Sprint("k", rng.IntN(3)), old: fmt.Sprint(rng.IntN(4)), new: fmt.Sprint(rng.IntN(4))}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		call := time.Now()
		got := keyGot{value: "-", known: true}
		var err error
		switch op.do {
		case "get":
			err = r.read(ctx, func(v plane.View) error {
				e, ok, err := v.Get(op.key)
				if ok {
					got.value = string(e.Value)
				}
				return err
			})
			if err == nil {
				h.add(*client, op, call, got, true)
			}
			return // one that failed tells nothing
		case "set":
			_, err = r.propose(ctx, &plane.Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: op.key, Value: []byte(op.new)}}}})
		case "cas":
			var res plane.Result
			res, err = r.propose(ctx, &plane.Commit{Txn: kv.Txn{If: []kv.Condition{{Key: op.key, Field: kv.Value, Value: []byte(op.old)}},
				Then: []kv.Step{{Do: kv.Set, Key: op.key, Value: []byte(op.new)}}}})
			got.held = err == nil && res.KV.Held
		}
		got.known = err == nil
		h.add(*client, op, call, got, got.known)
		if !got.known {
			*client = h.newClient() // the old one is still waiting, as far as anybody knows
		}
	}, nil)
	check(t, memoryModel, ops)
}

// surely proposes on one peer after the other until the outcome is known.
func (c *peers) surely(op plane.Op) (res plane.Result, err error) {
	for i := 0; i < 1000; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		res, err = c.all[i%3].propose(ctx, op)
		cancel()
		if !unknown(err) {
			return res, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return res, err
}

func unknown(err error) bool {
	return errors.Is(err, fault.Timeout) || errors.Is(err, fault.Canceled) || errors.Is(err, fault.Closed) || errors.Is(err, context.DeadlineExceeded)
}

const permits = 2

// The semaphore's state is what is free; operations are true for a wait that does not wait and false for a signal.
var semaphoreModel = porcupine.Model{
	Init: func() any { return permits },
	Step: func(st, in, out any) (bool, any) {
		free, granted := st.(int), out.(bool)
		switch {
		case !in.(bool):
			return free < permits, free + 1
		case granted:
			return free > 0, free - 1
		}
		return free == 0, free
	},
}

func TestSemaphoresAreLinearizable(t *testing.T) {
	for range rounds() {
		testSemaphoresAreLinearizable(t)
	}
}

func testSemaphoresAreLinearizable(t *testing.T) {
	setup := []plane.Op{&plane.CreateSemaphore{Name: "s", Permits: permits}}
	var last sync.Map // newest token of all that are known to be granted before another was asked for
	ops := under(t, 6, setup, func(c *peers, r *replica, rng *rand.Rand, h *history, client *int) {
		session, err := c.surely(&plane.Open{TTL: int64(time.Hour)})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.surely(&plane.Close{Session: session.ID})
		before := uint64(0)
		if v, ok := last.Load("token"); ok {
			before = v.(uint64)
		}
		call := time.Now()
		op := &plane.Wait{Name: "s", Session: session.ID, Ask: rng.Uint64(), Permits: 1, Try: true}
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		res, err := r.propose(ctx, op)
		cancel()
		if unknown(err) {
			res, err = c.surely(&plane.CancelWait{Name: "s", Session: session.ID, Ask: op.Ask})
			if err == nil && res.Outcome == plane.Waits {
				return // it was not granted, and never will be
			}
		}
		h.add(*client, true, call, err == nil, true)
		if err != nil {
			if !errors.Is(err, fault.Refused) {
				t.Error(err)
			}
			return
		}
		if res.ID <= before {
			t.Errorf("token %d after %d", res.ID, before)
		}
		last.Store("token", max(before, res.ID))
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		call = time.Now()
		if _, err := c.surely(&plane.Signal{Name: "s", Token: res.ID}); err != nil && !errors.Is(err, fault.Stale) {
			t.Error(err) // a first try may have given it back
		}
		h.add(*client, false, call, true, true)
	}, nil)
	check(t, semaphoreModel, ops)
}

// A queue's operations are a send of a text, or a receive ("") of one: "-" none.
var queueModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(st, in, out any) (bool, any) {
		s, got := st.(string), out.(string)
		if in.(string) != "" {
			return true, s + in.(string) + ","
		}
		head, rest, some := strings.Cut(s, ",")
		if got == "-" {
			return !some, s
		}
		return some && head == got, rest
	},
}

// open is a receive of which nobody knows what became of it.
type open struct {
	client int
	call   time.Time
}

func TestQueuesAreLinearizable(t *testing.T) {
	for range rounds() {
		testQueuesAreLinearizable(t)
	}
}

func testQueuesAreLinearizable(t *testing.T) {
	setup := []plane.Op{&plane.CreateQueue{Name: "q", Visible: int64(time.Hour)}}
	var mu sync.Mutex
	number, unsettled := 0, map[uint64]open{} // by session
	work := func(c *peers, r *replica, rng *rand.Rand, h *history, client *int) {
		if rng.IntN(3) == 0 { // so that few wait: many make the search long
			mu.Lock()
			number++
			text := fmt.Sprint(number)
			mu.Unlock()
			call := time.Now()
			if _, err := c.surely(&plane.Send{Name: "q", Body: []byte(text), Key: text}); err != nil { // once, however often
				t.Error(err)
				return
			}
			h.add(*client, text, call, "", true)
			return
		}
		session, err := c.surely(&plane.Open{TTL: int64(time.Hour)})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		call := time.Now()
		res, err := r.propose(ctx, &plane.Receive{Name: "q", Session: session.ID})
		switch {
		case unknown(err):
			mu.Lock()
			defer mu.Unlock()
			unsettled[session.ID] = open{*client, call}
			*client = h.newClient()
			return
		case err != nil:
			t.Error(err)
			return
		case res.Outcome == plane.Empty:
			h.add(*client, "", call, "-", true)
			return
		}
		h.add(*client, "", call, string(res.Message.Body), true)
		if _, err := c.surely(&plane.Settle{Name: "q", Receipt: res.ID}); err != nil && !errors.Is(err, fault.Stale) {
			t.Error(err)
		}
	}
	// In the end the state tells what became of those: what such a session has was received, whenever that was.
	after := func(c *peers, h *history) {
		c.insist("read", func(ctx context.Context) error {
			return c.all[0].read(ctx, func(v plane.View) error {
				q, err := v.Queue("q")
				if err != nil {
					return err
				}
				flying, err := v.Flying(q, 10_000)
				for _, m := range flying {
					if o, ok := unsettled[m.Holder]; ok {
						h.add(o.client, "", o.call, string(m.Body), true)
					}
				}
				return err
			})
		})
	}
	check(t, queueModel, under(t, 4, setup, work, after))
}
