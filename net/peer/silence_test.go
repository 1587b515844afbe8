package peer

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// relay passes bytes on until it is frozen: then it neither reads nor writes, like a stopped process behind a living
// kernel.
type relay struct {
	ln     net.Listener
	frozen chan struct{}
	wg     sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, frozen: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			context.AfterFunc(ctx, func() { c.Close(); far.Close() })
			r.wg.Go(func() { r.copy(ctx, c, far) })
			r.wg.Go(func() { r.copy(ctx, far, c) })
		}
	})
	t.Cleanup(func() { cancel(); ln.Close(); r.wg.Wait() })
	return r
}

func (r *relay) copy(ctx context.Context, to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			to.Close()
			return
		}
		select {
		case <-r.frozen:
			<-ctx.Done()
			return
		default:
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestAFrozenPeerIsFoundByItsSilence(t *testing.T) {
	nets := newGroup(t, 2, func(i int, o *Options) {
		if i == 0 {
			o.Ping, o.Silence = 10*time.Millisecond, 600*time.Millisecond
		}
	})
	block := func(ctx context.Context, _ cluster.PeerID, k wire.Kind, b wire.Body) (wire.Message, error) {
		if len(b.Fields) > 0 || k == wire.KindBlock {
			<-ctx.Done()
		}
		return nil, nil
	}
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, block)
	nets[1].Serve(wire.KindBlock, wire.KindBlock, block)
	r := newRelay(t, nets[1].Addr())
	nets[0].o.Addrs = func(cluster.PeerID) (string, bool) { return r.ln.Addr().String(), true }
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	if nets[0].RTT(nets[1].self) <= 0 {
		t.Error("no round trip was measured")
	}
	done := make(chan error, 2)
	for _, m := range []wire.Message{text("block"), ask(wire.KindBlock)} {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			done <- nets[0].Call(ctx, nets[1].self, m, nil)
		}()
	}
	eventually(t, "the calls arrive", func() bool { return serving(nets[1]) == 2 })
	close(r.frozen)
	for range 2 {
		if err := <-done; !errors.Is(err, fault.Unreachable) || errors.Is(err, fault.Timeout) {
			t.Errorf("%v, want Unreachable, and nothing else", err)
		}
	}
	if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
		t.Errorf("the next call: %v, want Unreachable", err)
	}
}

// A peer whose handlers are all busy reads nothing, and is not taken for dead.
func TestABusyPeerIsNotDead(t *testing.T) {
	nets := newGroup(t, 2, func(i int, o *Options) {
		o.Handlers = 2
		o.Ping = 10 * time.Millisecond
		if i == 0 {
			o.Silence = time.Second
		}
	})
	release := make(chan struct{})
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, func(ctx context.Context, _ cluster.PeerID, _ wire.Kind, b wire.Body) (wire.Message, error) {
		if len(b.Fields) > 0 {
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return nil, nil
	})
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	done := make(chan error, 6)
	for range 6 {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			done <- nets[0].Call(ctx, nets[1].self, text("block"), nil)
		}()
	}
	eventually(t, "the handlers are busy", func() bool { return serving(nets[1]) == 2 })
	began := nets[0].clock()
	eventually(t, "the link has outlived the longest silence", func() bool {
		if n := serving(nets[1]); n != 2 {
			t.Fatalf("%d handlers run, at most 2 may", n)
		}
		return nets[0].clock()-began > int64(1100*time.Millisecond)
	})
	close(release)
	for range 6 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAPeerThatComesBackIsFound(t *testing.T) {
	nets := newGroup(t, 2, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets[0])
	stop := run(t, nets[1])
	mustCall(t, nets[0], nets[1])
	addr := nets[1].Addr()
	stop()
	eventually(t, "calls fail", func() bool { return nets[0].Call(t.Context(), nets[1].self, kindAsk, nil) != nil })
	eventually(t, "it is silent", func() bool { return nets[0].Silent(nets[1].self) })
	if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
		t.Errorf("%v, want Unreachable", err)
	}
	again := New(nets[1].o)
	if _, err := again.Listen(addr); err != nil {
		t.Fatal(err)
	}
	again.Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, again)
	eventually(t, "it is not silent, although nobody calls it", func() bool { return !nets[0].Silent(again.self) })
	mustCall(t, nets[0], again)
}

// A peer whose machine does not answer a dial is silent long before the dial is given up.
func TestAHangingDialIsSilence(t *testing.T) {
	nets := newGroup(t, 2, func(i int, o *Options) { o.Handshake, o.Quiet = time.Minute, 50*time.Millisecond })
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	nets[0].o.Addrs = func(cluster.PeerID) (string, bool) { return deaf.Addr().String(), true }
	run(t, nets...)
	if nets[0].Silent(nets[1].self) {
		t.Error("nothing was wanted from it yet")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := nets[0].Call(ctx, nets[1].self, kindAsk, nil); !errors.Is(err, fault.Timeout) {
		t.Error(err)
	}
	eventually(t, "it is silent", func() bool { return nets[0].Silent(nets[1].self) })
}

func TestLinksAreReported(t *testing.T) {
	nets := newGroup(t, 2, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	stranger := cluster.PeerID{1}
	if err := nets[0].Call(t.Context(), stranger, kindAsk, nil); err == nil {
		t.Fatal("a stranger answered")
	}
	links := nets[0].Links()
	if len(links) != 2 || links[0].Peer.Compare(links[1].Peer) >= 0 {
		t.Fatalf("%+v", links)
	}
	for _, l := range links {
		if up := l.Peer == nets[1].self; l.Up != up || (l.RTT > 0) != up || (l.Err == nil) != up || (l.Fails == 0) != up {
			t.Errorf("%+v", l)
		}
	}
}

// A process that was stopped finds its links silent, and must not blame them.
func TestOurOwnPauseIsNotTheirSilence(t *testing.T) {
	nets := newGroup(t, 2, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	nets[0].mu.Lock()
	defer nets[0].mu.Unlock()
	for c := range nets[0].conns {
		later := c.net.clock() + int64(time.Hour)
		c.writing.Store(0) // the writer may still be at the call's frame
		c.pinged.Store(1)
		if err := c.judge(later); !silent(err) {
			t.Errorf("an hour without an answer: %v", err)
		}
		c.excuse(later)
		if err := c.judge(later); err != nil {
			t.Errorf("excused: %v", err)
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	o := Options{}.withDefaults()
	last := time.Duration(0)
	for fails := 1; fails < 100; fails++ {
		d := o.backoff(fails)
		if d < last || d > o.BackoffMax || fails == 1 && d != o.BackoffMin {
			t.Fatalf("after %d failures: %v", fails, d)
		}
		last = d
	}
	if last != o.BackoffMax {
		t.Errorf("it ends at %v", last)
	}
}

// Whoever calls us is alive: we need not wait out a back-off to call back.
func TestACallEndsTheBackoff(t *testing.T) {
	nets := newGroup(t, 2, func(_ int, o *Options) { o.BackoffMin, o.BackoffMax = time.Hour, time.Hour })
	for _, n := range nets {
		n.Serve(wire.KindAdmin, wire.KindAdmin, empty)
	}
	addrs := nets[0].o.Addrs
	var hidden atomic.Bool
	hidden.Store(true)
	nets[0].o.Addrs = func(id cluster.PeerID) (string, bool) {
		a, ok := addrs(id)
		return a, ok && !hidden.Load()
	}
	run(t, nets...)
	for range 2 {
		if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
			t.Fatalf("%v, want Unreachable", err)
		}
	}
	hidden.Store(false)
	if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
		t.Fatalf("while backing off: %v, want Unreachable", err)
	}
	mustCall(t, nets[1], nets[0])
	mustCall(t, nets[0], nets[1])
}
