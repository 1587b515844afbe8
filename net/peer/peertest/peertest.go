// Package peertest is the contract of peer.Transport as tests. Every transport passes it: the TLS one of net/peer and
// the in-memory one of net/simnet.
package peertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
	"dfs/net/wire"
)

// Member is one transport of a group.
type Member struct {
	ID cluster.PeerID
	peer.Transport
}

// Make returns n transports that can reach each other once they run. The suite calls Serve and Run on them.
type Make func(t *testing.T, n int) []Member

// patience bounds every wait of the suite; nothing is expected to take that long.
const patience = 20 * time.Second

// Run runs the whole contract.
func Run(t *testing.T, make Make) {
	for name, test := range map[string]func(*testing.T, Make){
		"Call":              testCall,
		"CallSelf":          testCallSelf,
		"Errors":            testErrors,
		"Payloads":          testPayloads,
		"TooBig":            testTooBig,
		"Concurrent":        testConcurrent,
		"OutOfOrder":        testOutOfOrder,
		"Notices":           testNotices,
		"Cancel":            testCancel,
		"Deadline":          testDeadline,
		"HandlersDeadline":  testHandlersDeadline,
		"UnknownPeer":       testUnknownPeer,
		"UnservedKind":      testUnservedKind,
		"StoppedPeer":       testStoppedPeer,
		"StoppedCaller":     testStoppedCaller,
		"RunEndsHandlers":   testRunEndsHandlers,
		"WrongReply":        testWrongReply,
		"PayloadIsReusable": testPayloadIsReusable,
	} {
		t.Run(name, func(t *testing.T) { test(t, make) })
	}
}

// group is running transports with the suite's handlers.
type group struct {
	*testing.T
	all  []Member
	stop []func() // ends one member and waits for its Run

	blocked chan struct{} // gets a value when a "block" handler has begun
	ended   chan error    // gets a "block" handler's context error
	release chan struct{} // closing it lets "wait" handlers answer

	mu      sync.Mutex
	notices []uint64
	arrived chan struct{}
}

func start(t *testing.T, make_ Make, n int) *group {
	g := &group{
		T: t, all: make_(t, n),
		blocked: make(chan struct{}, 1000), ended: make(chan error, 1000), release: make(chan struct{}), arrived: make(chan struct{}, 1),
	}
	for _, m := range g.all {
		m.Serve(kindText, kindLast, g.handleText)
		m.Serve(kindBlob, blobLast, g.handleBlob)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		stop := sync.OnceFunc(func() {
			cancel()
			select {
			case <-done:
			case <-time.After(patience):
				t.Error("Run did not return")
			}
		})
		g.stop = append(g.stop, stop)
		t.Cleanup(stop)
	}
	return g
}

func (g *group) handleText(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error) {
	var m Text
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	verb, rest, _ := strings.Cut(m.Verb, " ")
	switch verb {
	case "double":
		return &Text{Verb: from.String(), N: 2 * m.N}, nil
	case "nothing":
		return nil, nil
	case "fail":
		return nil, fault.New("suite", fault.Kind(m.N), "%s", rest)
	case "block":
		g.blocked <- struct{}{}
		<-ctx.Done()
		g.ended <- ctx.Err()
		return nil, ctx.Err()
	case "wait":
		g.blocked <- struct{}{}
		select {
		case <-g.release:
			return &m, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "deadline":
		left := time.Duration(0)
		if d, ok := ctx.Deadline(); ok {
			left = time.Until(d)
		}
		return &Text{N: uint64(max(left, 0))}, nil
	case "blob":
		return &Blob{}, nil
	case "notice":
		g.mu.Lock()
		g.notices = append(g.notices, m.N)
		g.mu.Unlock()
		select {
		case g.arrived <- struct{}{}:
		default:
		}
		return nil, nil
	}
	return nil, fault.New("suite", fault.Unsupported, "%s", m.Verb)
}

func (g *group) handleBlob(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error) {
	var m Blob
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	p := m.Parts[0]
	if m.Name == "huge" {
		p = make([]byte, 64<<20)
	}
	return &Blob{Name: m.Name + "!", Parts: [][]byte{p[:len(p)/3], p[len(p)/3:]}}, nil
}

func (g *group) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	g.Cleanup(cancel)
	return ctx
}

func (g *group) call(from, to int, verb string, n uint64) (Text, error) {
	var reply Text
	err := g.all[from].Call(g.ctx(), g.all[to].ID, &Text{Verb: verb, N: n}, &reply)
	return reply, err
}

// mustCall also brings the link up.
func (g *group) mustCall(from, to int) {
	g.Helper()
	if r, err := g.call(from, to, "double", 21); err != nil || r.N != 42 || r.Verb != g.all[from].ID.String() {
		g.Fatalf("double 21 from %d to %d: %+v, %v", from, to, r, err)
	}
}

func (g *group) await(what string, c <-chan struct{}) {
	g.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		g.Fatalf("%s: did not happen", what)
	}
}

func testCall(t *testing.T, make Make) {
	g := start(t, make, 3)
	for from := range g.all {
		for to := range g.all {
			g.mustCall(from, to)
		}
	}
	if err := g.all[0].Call(context.Background(), g.all[1].ID, &Text{Verb: "nothing"}, nil); err != nil {
		t.Errorf("an empty reply and no deadline: %v", err)
	}
}

func testCallSelf(t *testing.T, make Make) {
	g := start(t, make, 1)
	g.mustCall(0, 0)
	sent := []byte("payload")
	var got Blob
	if err := g.all[0].Call(g.ctx(), g.all[0].ID, &Blob{Name: "x", Parts: [][]byte{sent}}, &got); err != nil {
		t.Fatal(err)
	}
	if string(got.Parts[0]) != "payload" || got.Name != "x!" || &got.Parts[0][0] == &sent[0] {
		t.Errorf("%+v: want a copy of what was sent", got)
	}
	if _, err := g.call(0, 0, "fail gone", uint64(fault.Stale)); !errors.Is(err, fault.Stale) {
		t.Errorf("%v, want Stale", err)
	}
}

func testErrors(t *testing.T, make Make) {
	g := start(t, make, 2)
	for k := fault.Other; k <= fault.Damaged; k++ {
		_, err := g.call(0, 1, "fail because of this", uint64(k))
		if !errors.Is(err, k) || !strings.Contains(err.Error(), "because of this") {
			t.Errorf("%v arrived as %v", k, err)
		}
	}
	g.mustCall(0, 1)
}

func testPayloads(t *testing.T, make Make) {
	g := start(t, make, 2)
	for _, n := range []int{0, 1, 511, 512, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64<<10 + 1, 1 << 20, 4 << 20} {
		p := bytes.Repeat([]byte("0123456789abcdef."), n/17+1)[:n]
		var got Blob
		if err := g.all[0].Call(g.ctx(), g.all[1].ID, &Blob{Name: "b", Parts: [][]byte{p[:n/2], nil, p[n/2:]}}, &got); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !bytes.Equal(got.Parts[0], p) || got.Name != "b!" {
			t.Errorf("%d bytes came back as %d others", n, len(got.Parts[0]))
		}
	}
}

func testTooBig(t *testing.T, make Make) {
	g := start(t, make, 2)
	g.mustCall(0, 1)
	err := g.all[0].Call(g.ctx(), g.all[1].ID, &Blob{Parts: [][]byte{make64()}}, &Blob{})
	if !errors.Is(err, fault.TooBig) {
		t.Errorf("request: %v, want TooBig", err)
	}
	err = g.all[0].Call(g.ctx(), g.all[1].ID, &Blob{Name: "huge", Parts: [][]byte{nil}}, &Blob{})
	if !errors.Is(err, fault.TooBig) {
		t.Errorf("reply: %v, want TooBig", err)
	}
	g.mustCall(0, 1)
}

func make64() []byte { return make([]byte, 64<<20) }

func testConcurrent(t *testing.T, make Make) {
	g := start(t, make, 3)
	var wg sync.WaitGroup
	for worker := range 24 {
		wg.Go(func() {
			from, to := worker%3, worker/3%3
			for i := range 50 {
				n := uint64(worker*1000 + i)
				if i%10 == 0 {
					p := bytes.Repeat([]byte{byte(n)}, 30_000+i)
					var got Blob
					if err := g.all[from].Call(g.ctx(), g.all[to].ID, &Blob{Name: fmt.Sprint(n), Parts: [][]byte{p}}, &got); err != nil || got.Name != fmt.Sprint(n)+"!" || !bytes.Equal(got.Parts[0], p) {
						t.Errorf("worker %d: blob %d: %v", worker, n, err)
					}
					continue
				}
				if r, err := g.call(from, to, "double", n); err != nil || r.N != 2*n {
					t.Errorf("worker %d: %d doubled is %d, %v", worker, n, r.N, err)
				}
			}
		})
	}
	wg.Wait()
}

func testOutOfOrder(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	slow := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := g.call(0, 1, "wait", 0)
			slow <- err
		}()
	}
	for range 20 {
		g.await("the slow handlers begin", g.blocked)
	}
	g.mustCall(0, 1)
	close(g.release)
	for range 20 {
		if err := <-slow; err != nil {
			t.Error(err)
		}
	}
}

// testNotices sends as a cautious sender does, never more on the way than any transport's queue must hold, so that
// none may be lost; what it checks is order and number.
func testNotices(t *testing.T, make Make) {
	g := start(t, make, 2)
	g.mustCall(0, 1)
	const batches, batch = 20, 50
	sent := uint64(0)
	for range batches {
		for range batch {
			sent++
			g.all[0].Send(g.all[1].ID, &Text{Verb: "notice", N: sent})
		}
		for {
			g.mu.Lock()
			n := uint64(len(g.notices))
			g.mu.Unlock()
			if n >= sent {
				break
			}
			g.await(fmt.Sprintf("notice %d of %d", n, sent), g.arrived)
		}
	}
	for i, n := range g.notices {
		if n != uint64(i+1) {
			t.Fatalf("notice %d came in place %d", n, i+1)
		}
	}
}

func testCancel(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	g.mustCall(0, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.all[0].Call(ctx, g.all[1].ID, &Text{Verb: "block"}, &Text{}) }()
	g.await("the handler begins", g.blocked)
	cancel()
	if err := <-done; !errors.Is(err, fault.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Error("the handler's context did not end")
	}
	g.mustCall(0, 1)

	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.all[0].Call(canceled, g.all[1].ID, &Text{Verb: "double"}, nil); !errors.Is(err, fault.Canceled) {
		t.Errorf("with a context that had ended: %v, want Canceled", err)
	}
}

func testDeadline(t *testing.T, make Make) {
	g := start(t, make, 2)
	g.mustCall(0, 1)
	for _, to := range g.all {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		if err := g.all[0].Call(ctx, to.ID, &Text{Verb: "block"}, &Text{}); !errors.Is(err, fault.Timeout) {
			t.Errorf("%v, want Timeout", err)
		}
		cancel()
		select {
		case <-g.ended:
		case <-time.After(patience):
			t.Error("the handler's context did not end")
		}
	}
}

func testHandlersDeadline(t *testing.T, make Make) {
	g := start(t, make, 2)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for _, to := range g.all {
		var left Text
		if err := g.all[0].Call(ctx, to.ID, &Text{Verb: "deadline"}, &left); err != nil {
			t.Fatal(err)
		}
		if d := time.Duration(left.N); d < 50*time.Minute || d > time.Hour {
			t.Errorf("the handler was given %v of an hour", d)
		}
		if err := g.all[0].Call(context.Background(), to.ID, &Text{Verb: "deadline"}, &left); err != nil || left.N == 0 {
			t.Errorf("the handler was given no time limit by default: %d, %v", left.N, err)
		}
	}
}

func testUnknownPeer(t *testing.T, make Make) {
	g := start(t, make, 1)
	stranger := cluster.PeerID{1, 2, 3}
	if err := g.all[0].Call(g.ctx(), stranger, &Text{}, nil); !errors.Is(err, fault.Unreachable) {
		t.Errorf("%v, want Unreachable", err)
	}
	g.all[0].Send(stranger, &Text{Verb: "notice"})
	if rtt := g.all[0].RTT(stranger); rtt != 0 {
		t.Errorf("RTT of a stranger: %v", rtt)
	}
}

func testUnservedKind(t *testing.T, make Make) {
	g := start(t, make, 2)
	for _, to := range g.all {
		if err := g.all[0].Call(g.ctx(), to.ID, &unserved{}, nil); !errors.Is(err, fault.Unsupported) {
			t.Errorf("%v, want Unsupported", err)
		}
	}
	g.mustCall(0, 1)
}

type unserved struct{ Text }

func (*unserved) Kind() wire.Kind        { return wire.KindAdmin }
func (*unserved) Append(b []byte) []byte { return b }

func testStoppedPeer(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	g.mustCall(0, 1)
	done := make(chan error, 1)
	go func() {
		_, err := g.call(0, 1, "block", 0)
		done <- err
	}()
	g.await("the handler begins", g.blocked)
	g.stop[1]()
	// The handler may still have told that its context had ended.
	if err := <-done; err == nil || errors.Is(err, fault.Timeout) {
		t.Errorf("call in flight: %v, want an error at once", err)
	}
	for range 3 {
		if _, err := g.call(0, 1, "double", 0); !errors.Is(err, fault.Unreachable) {
			t.Errorf("%v, want Unreachable", err)
		}
	}
	g.all[0].Send(g.all[1].ID, &Text{Verb: "notice"})
}

func testStoppedCaller(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	g.mustCall(0, 1)
	done := make(chan error, 1)
	go func() {
		_, err := g.call(0, 1, "block", 0)
		done <- err
	}()
	g.await("the handler begins", g.blocked)
	g.stop[0]()
	if err := <-done; err == nil {
		t.Error("a call outlived its transport")
	}
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Error("the handler's context did not end with the link")
	}
	if _, err := g.call(0, 1, "double", 0); err == nil {
		t.Error("a call was made on a stopped transport")
	}
	g.all[0].Send(g.all[1].ID, &Text{Verb: "notice"})
}

func testRunEndsHandlers(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	go g.call(0, 1, "block", 0)
	g.await("the handler begins", g.blocked)
	g.stop[1]()
	select {
	case <-g.ended:
	default:
		t.Error("Run returned before its handlers")
	}
}

func testWrongReply(t *testing.T, make Make) {
	g := start(t, make, 2)
	for _, to := range g.all {
		if err := g.all[0].Call(g.ctx(), to.ID, &Text{Verb: "blob"}, &Text{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("a reply of another kind: %v, want Invalid", err)
		}
	}
}

// testPayloadIsReusable cancels calls at any moment and overwrites what they sent. With the race detector it proves
// that nobody reads a payload after Call has returned.
func testPayloadIsReusable(t *testing.T, make_ Make) {
	g := start(t, make_, 2)
	p := make([]byte, 4<<20)
	for i := range 8 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*i)*200*time.Microsecond)
		g.all[0].Call(ctx, g.all[1].ID, &Blob{Name: "b", Parts: [][]byte{p}}, &Blob{})
		cancel()
		for j := 0; j < len(p); j += 4096 {
			p[j]++
		}
	}
	// However a cancelled transfer ended, the next call finds a link within the suite's patience.
	for deadline := time.Now().Add(patience); ; {
		if _, err := g.call(0, 1, "double", 1); err == nil || time.Now().After(deadline) {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}
