package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

// log is a link.Log over a machine in memory: what is proposed is applied at once.
type log struct {
	link.Hub
	local *plane.Local

	mu     sync.Mutex
	m      *state.Machine
	index  uint64
	broken int // so many proposals happen, and nobody is told
}

var _ link.Log = (*log)(nil)

func newLog(t testing.TB) *log {
	l := &log{local: plane.NewLocal()}
	m, err := state.New(mem.New(), state.Options{Parts: map[byte]state.Part{state.TagPlane: plane.Part{}}})
	if err != nil {
		t.Fatal(err)
	}
	l.m = m
	m.Follow(l)
	if _, err := l.apply(state.Encode(state.OpenSession{Peer: cluster.PeerID{1}})); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *log) apply(body []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	rs, err := l.m.Apply(l.index, []raft.Proposal{{Session: 1, Seq: l.index, Low: l.index, Body: body}})
	if err != nil {
		return nil, err
	}
	l.m.SetFloor(l.index)
	if l.broken > 0 {
		l.broken--
		return nil, fault.New("log", fault.Unreachable, "asked to")
	}
	return rs[0], nil
}

func (l *log) Applied(a state.Applied) {
	for _, c := range a.Changes {
		if ch, ok := c.What.(*plane.Change); ok {
			l.Tell(ch.Topics)
		}
	}
}

func (l *log) Reset(uint64) {}

func (l *log) Propose(ctx context.Context, op plane.Op) (plane.Result, error) {
	if err := ctx.Err(); err != nil {
		return plane.Result{}, fault.Because("log", fault.Timeout, err)
	}
	raw, err := l.apply(plane.Encode(op))
	if err != nil {
		return plane.Result{}, err
	}
	return plane.ResultOf(raw)
}

func (l *log) Ask(_ context.Context, a plane.Ask, _ bool) (plane.Reply, time.Duration, error) {
	r, _ := l.m.At(0)
	defer r.Close()
	reply, err := plane.NewView(r).Answer(a)
	return reply, 0, err
}

func (l *log) ProposeAt(_ context.Context, _ string, op *plane.Commit) (plane.Result, error) {
	return l.local.Do(op)
}

func (l *log) AskAt(_ context.Context, _ string, a plane.Ask) (plane.Reply, error) {
	return l.local.Answer(a)
}

func (l *log) Self() string { return "host-a" }

// serve runs a Service on l until the test ends.
func serve(t *testing.T, l *log) *Service {
	s := New(l, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

func must[D any](t *testing.T) func(D, error) D {
	t.Helper()
	return func(d D, err error) D {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func do(t *testing.T, l *log, op plane.Op) plane.Result {
	t.Helper()
	return must[plane.Result](t)(l.Propose(t.Context(), op))
}

// A hundred clients on one semaphore never exceed its permits, and all get their turn.
func TestAHundredClients(t *testing.T) {
	const permits, turns = 3, 4
	l := newLog(t)
	s := serve(t, l)
	do(t, l, &plane.CreateSemaphore{Name: "s", Permits: permits})
	var holding, most, newest atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 {
		hold := Hold{TTL: time.Hour, Owner: fmt.Sprint("client ", i)}
		wg.Go(func() {
			for range turns {
				g, err := s.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: hold, Timeout: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				now := holding.Add(1)
				most.Store(max(most.Load(), now))
				if now > permits {
					t.Errorf("%d hold %d permits", now, permits)
				}
				newest.Store(max(newest.Load(), int64(g.Token)))
				holding.Add(-1)
				if _, err := l.Propose(t.Context(), &plane.Signal{Name: "s", Token: g.Token}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	info := must[SemaphoreInfo](t)(s.semInfo(t.Context(), SemaphoreAsk{Name: "s"}))
	if info.Free != permits || len(info.Waiters) > 0 || most.Load() < 1 {
		t.Fatalf("%+v", info)
	}
}

// Whoever gives up waiting has nothing afterwards, however that came.
func TestGivingUp(t *testing.T) {
	l := newLog(t)
	s := serve(t, l)
	do(t, l, &plane.CreateSemaphore{Name: "s", Permits: 1})
	first := must[Grant](t)(s.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: Hold{TTL: time.Hour}}))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := s.semWait(ctx, SemaphoreAsk{Name: "s", Hold: Hold{PID: os.Getpid()}})
		gone <- err
	}()
	waiters := func() int {
		info, _ := s.semInfo(t.Context(), SemaphoreAsk{Name: "s"})
		return len(info.Waiters)
	}
	eventually(t, func() bool { return waiters() == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, fault.Canceled) {
		t.Fatal(err)
	}
	if waiters() != 0 {
		t.Fatal("who has gone still waits")
	}
	if _, err := s.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: Hold{PID: os.Getpid()}, Timeout: time.Millisecond}); !errors.Is(err, fault.Timeout) {
		t.Fatal(err)
	}
	do(t, l, &plane.Signal{Name: "s", Token: first.Token})
	l.mu.Lock()
	l.broken = 2 // the wait happens, and is asked for again
	l.mu.Unlock()
	g := must[Grant](t)(s.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: Hold{PID: os.Getpid()}}))
	info, _ := s.semInfo(t.Context(), SemaphoreAsk{Name: "s"})
	if len(info.Holders) != 1 || info.Holders[0].Token != g.Token {
		t.Fatalf("%+v, granted %d", info, g.Token)
	}
}

// What a process holds is given back when it ends, also by a sidecar that was started after the grant.
func TestProcessesEnd(t *testing.T) {
	l := newLog(t)
	s := New(l, nil) // does not run: the one that granted is gone
	do(t, l, &plane.CreateSemaphore{Name: "s", Permits: 1})
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skip("no sleep here: ", err)
	}
	must[Grant](t)(s.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: Hold{PID: child.Process.Pid}}))
	again := serve(t, l)
	eventually(t, func() bool {
		again.keeper.mu.Lock()
		defer again.keeper.mu.Unlock()
		return len(again.keeper.kept) == 1
	})
	info, _ := again.semInfo(t.Context(), SemaphoreAsk{Name: "s"})
	if len(info.Holders) != 1 || info.Holders[0].Process != fmt.Sprintf("host-a/%d", child.Process.Pid) {
		t.Fatalf("%+v", info)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if g, err := again.semWait(t.Context(), SemaphoreAsk{Name: "s", Hold: Hold{TTL: time.Hour}, Timeout: 30 * time.Second}); err != nil {
		t.Fatal(g, err)
	}
}

// A message that was received and not acknowledged when its receiver died is another's at once; none is lost.
func TestReceiversCrash(t *testing.T) {
	l := newLog(t)
	s := serve(t, l)
	do(t, l, &plane.CreateQueue{Name: "q"})
	do(t, l, &plane.Send{Name: "q", Body: []byte("work")})
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skip("no sleep here: ", err)
	}
	first := must[Message](t)(s.queueReceive(t.Context(), QueueAsk{Name: "q", Hold: &Hold{PID: child.Process.Pid}}))
	_ = child.Process.Kill()
	_ = child.Wait()
	second := must[Message](t)(s.queueReceive(t.Context(), QueueAsk{Name: "q", Timeout: 30 * time.Second}))
	if second.Value != "work" || second.Number != first.Number || second.Tries != 2 || second.Receipt <= first.Receipt {
		t.Fatalf("%+v, first %+v", second, first)
	}
	if _, err := l.Propose(t.Context(), &plane.Settle{Name: "q", Receipt: first.Receipt}); !errors.Is(err, fault.Stale) {
		t.Fatal("the late acknowledgement counted: ", err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain")
		}
	}
}
