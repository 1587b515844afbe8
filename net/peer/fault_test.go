package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

const patience = 20 * time.Second

// ask is a request of any kind without fields.
type ask wire.Kind

func (a ask) Kind() wire.Kind        { return wire.Kind(a) }
func (a ask) Append(b []byte) []byte { return b }
func (a ask) Decode([]byte) error    { return nil }

const kindAsk = ask(wire.KindAdmin)

// text is a request with one string in it.
type text string

func (m text) Kind() wire.Kind        { return wire.KindAdmin }
func (m text) Append(b []byte) []byte { return append(b, m...) }
func (m text) Decode([]byte) error    { return nil }

// empty answers with nothing.
func empty(context.Context, cluster.PeerID, wire.Kind, wire.Body) (wire.Message, error) {
	return nil, nil
}

func run(t *testing.T, nets ...*Net) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, n := range nets {
		wg.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func mustCall(t *testing.T, from, to *Net) {
	t.Helper()
	// The first attempts may fall into a back-off.
	eventually(t, "a call succeeds", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return from.Call(ctx, to.self, kindAsk, nil) == nil
	})
}

// eventually waits for what another goroutine is about to do, looking every millisecond.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

// dialRaw is a member that speaks TLS and then whatever the test writes.
func dialRaw(t *testing.T, id Identity, to *Net, proto string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", to.Addr(), &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{proto}, Certificates: []tls.Certificate{*id.Certificate()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// mustClose fails unless the other side ends the connection.
func mustClose(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection stayed open")
	}
}

func TestOnlyMembersGetIn(t *testing.T) {
	nets := newGroup(t, 2, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	mustCall(t, nets[0], nets[1])

	stranger := newIdentity(t, "stranger", nil)
	for _, proto := range []string{protoControl, protoBulk, protoGossip, JoinProtocol, "h2", ""} {
		config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*stranger.Certificate()}}
		if proto != "" {
			config.NextProtos = []string{proto}
		}
		c, err := tls.Dial("tcp", nets[1].Addr(), config)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			t.Errorf("%q: the stranger was answered", proto)
		}
		c.Close()
	}
	c, err := tls.Dial("tcp", nets[1].Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protoControl}})
	if err == nil {
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			t.Error("a caller without certificate was answered")
		}
		c.Close()
	}
	old, err := tls.Dial("tcp", nets[1].Addr(), &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{protoControl},
		Certificates: []tls.Certificate{*nets[0].o.Identity.Certificate()},
	})
	if err == nil {
		old.Close()
		t.Error("TLS 1.2 was accepted")
	}
	mustCall(t, nets[0], nets[1])
}

func TestThePeerMustBeTheOneThatWasDialled(t *testing.T) {
	nets := newGroup(t, 3, nil)
	wrong := nets[0].o.Addrs
	nets[0].o.Addrs = func(id cluster.PeerID) (string, bool) {
		if id == nets[1].self {
			id = nets[2].self
		}
		return wrong(id)
	}
	for _, n := range nets[1:] {
		n.Serve(wire.KindAdmin, wire.KindAdmin, empty)
	}
	run(t, nets...)
	err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil)
	if !errors.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), nets[2].self.Short()) {
		t.Errorf("%v, want Unreachable, naming who answered", err)
	}
}

func TestRecheckEndsLiveLinks(t *testing.T) {
	var gone atomic.Bool
	nets := newGroup(t, 2, func(i int, o *Options) {
		if i == 1 {
			o.Allowed = func(id cluster.PeerID) bool { return !gone.Load() }
		}
	})
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, func(ctx context.Context, _ cluster.PeerID, _ wire.Kind, b wire.Body) (wire.Message, error) {
		if len(b.Fields) > 0 {
			<-ctx.Done()
		}
		return nil, nil
	})
	streams := make(chan net.Conn, 1)
	nets[1].OnGossip(func(c net.Conn, _ cluster.PeerID) { streams <- c })
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	stream, err := nets[0].DialGossip(t.Context(), nets[1].self)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	defer (<-streams).Close()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- nets[0].Call(ctx, nets[1].self, text("block"), nil)
	}()
	eventually(t, "the call arrives", func() bool { return serving(nets[1]) == 1 })
	gone.Store(true)
	nets[1].Recheck()
	if err := <-done; !errors.Is(err, fault.Unreachable) {
		t.Errorf("call in flight: %v, want Unreachable", err)
	}
	if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
		t.Errorf("next call: %v, want Unreachable", err)
	}
	mustClose(t, stream)
	gone.Store(false)
	mustCall(t, nets[0], nets[1])
}

func serving(n *Net) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := 0
	for c := range n.conns {
		c.mu.Lock()
		sum += len(c.serving)
		c.mu.Unlock()
	}
	return sum
}

func TestGarbageEndsOnlyItsConnection(t *testing.T) {
	nets := newGroup(t, 3, nil)
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets[0], nets[1])
	mustCall(t, nets[0], nets[1])
	id := nets[2].o.Identity

	plain, err := net.Dial("tcp", nets[1].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.Write(bytes.Repeat([]byte("no TLS at all "), 1000))
	mustClose(t, plain)

	frame := func(h wire.Header) []byte {
		b, _, err := wire.Encode(nil, h, text("x"), wire.Limit{Fields: 10})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	huge := frame(wire.Header{Type: wire.Request, Kind: wire.KindBlock, ID: 1})
	binary.BigEndian.PutUint32(huge[24:], 1<<31)
	for name, b := range map[string][]byte{
		"noise":            bytes.Repeat([]byte{0xA7}, 1000),
		"a huge payload":   huge,
		"a wrong sum":      append(frame(wire.Header{Type: wire.Request, Kind: wire.KindAdmin})[:wire.HeaderBytes], 'y'),
		"an answer":        frame(wire.Header{Type: wire.Reply, Kind: wire.KindAdmin, ID: 1}),
		"an unknown kind":  frame(wire.Header{Type: wire.Request, Kind: 0x7fff, ID: 1}),
		"a notice on bulk": frame(wire.Header{Type: wire.Notice, Kind: wire.KindAdmin}),
	} {
		c := dialRaw(t, id, nets[1], protoBulk)
		c.Write(b)
		mustClose(t, c)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	mustCall(t, nets[0], nets[1])
}

func TestSlowSendersAreBoundedInTime(t *testing.T) {
	nets := newGroup(t, 2, func(_ int, o *Options) {
		o.Ping, o.FrameTime, o.Idle, o.Handshake = 5*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond, 300*time.Millisecond
	})
	run(t, nets[1])
	id := nets[0].o.Identity
	frame, _, err := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: wire.KindAdmin, ID: 1}, text(strings.Repeat("x", 1000)), wire.Limit{Fields: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for name, cut := range map[string]int{"in the header": 1, "in the fields": 100, "between frames": len(frame)} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, id, nets[1], protoControl)
			c.Write(frame[:cut])
			mustClose(t, c)
		})
	}
	t.Run("in the handshake", func(t *testing.T) {
		c, err := net.Dial("tcp", nets[1].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte{22, 3, 1}) // the beginning of a hello
		mustClose(t, c)
	})
}

// A peer that reads nothing cannot make us keep more than a connection's queue.
func TestSlowReadersAreBounded(t *testing.T) {
	nets := newGroup(t, 2, func(_ int, o *Options) { o.Ping, o.FrameTime = 5*time.Millisecond, 200*time.Millisecond })
	reply := make([]byte, 4<<20)
	nets[1].Serve(wire.KindBlock, wire.KindBlock, func(context.Context, cluster.PeerID, wire.Kind, wire.Body) (wire.Message, error) {
		return blob{reply}, nil
	})
	run(t, nets[1])
	c := dialRaw(t, nets[0].o.Identity, nets[1], protoBulk)
	for i := range 100 {
		b, _, _ := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: wire.KindBlock, ID: uint64(i)}, nil, wire.Limit{})
		if _, err := c.Write(b); err != nil {
			break
		}
	}
	eventually(t, "the connection is given up", func() bool {
		nets[1].mu.Lock()
		defer nets[1].mu.Unlock()
		return nets[1].accepted.Load() == 1 && len(nets[1].conns) == 0
	})
}

type blob [1][]byte

func (b blob) Kind() wire.Kind           { return wire.KindBlock }
func (b blob) Append(to []byte) []byte   { return to }
func (b blob) Decode([]byte) error       { return nil }
func (b blob) Payload() [][]byte         { return b[:] }
func (b blob) SetPayload(p []byte) error { return nil }

func TestConnectionsOfOneIdentityAreBounded(t *testing.T) {
	nets := newGroup(t, 2, nil)
	run(t, nets[1])
	var all []*tls.Conn
	for range connsPerPeer + 3 {
		c := dialRaw(t, nets[0].o.Identity, nets[1], protoBulk)
		ping(t, c) // registered, in this order
		all = append(all, c)
	}
	for _, c := range all[:3] {
		mustClose(t, c)
	}
	for _, c := range all[3:] {
		ping(t, c)
	}
}

func ping(t *testing.T, c *tls.Conn) {
	t.Helper()
	b, _, _ := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: kindPing, ID: 9}, nil, wire.Limit{})
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	h, err := wire.NewFrameReader(c, nil).Header()
	if err != nil || h.Type != wire.Reply || h.ID != 9 {
		t.Fatalf("ping: %+v, %v", h, err)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	nets := newGroup(t, 2, func(_ int, o *Options) { o.Handshake = time.Hour })
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	var all []net.Conn
	for range strangersAddr {
		c, err := net.Dial("tcp", nets[1].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	eventually(t, "they are counted", func() bool {
		nets[1].mu.Lock()
		defer nets[1].mu.Unlock()
		return nets[1].stranger == strangersAddr
	})
	c, err := net.Dial("tcp", nets[1].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustClose(t, c)
	for _, c := range all {
		c.Close()
	}
	mustCall(t, nets[0], nets[1])
}

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
	if err := nets[0].Call(t.Context(), nets[1].self, kindAsk, nil); !errors.Is(err, fault.Unreachable) {
		t.Errorf("%v, want Unreachable", err)
	}
	again := New(nets[1].o)
	if _, err := again.Listen(addr); err != nil {
		t.Fatal(err)
	}
	again.Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, again)
	mustCall(t, nets[0], again)
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

// A notice belongs to the transport when Send returns: its sender may change it, and finds it unchanged.
func TestANoticesPayloadIsCopied(t *testing.T) {
	nets := newGroup(t, 2, nil)
	got := make(chan string, 1)
	nets[1].Serve(wire.KindRaft, wire.KindRaft, func(_ context.Context, _ cluster.PeerID, _ wire.Kind, b wire.Body) (wire.Message, error) {
		got <- string(b.Payload)
		return nil, nil
	})
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	mustCall(t, nets[0], nets[1])
	p := []byte("first")
	m := &load{[][]byte{p, []byte(" second")}}
	nets[0].Send(nets[1].self, m)
	copy(p, "xxxxx")
	if s := <-got; s != "first second" {
		t.Errorf("%q", s)
	}
	if len(m.parts) != 2 || &m.parts[0][0] != &p[0] {
		t.Error("the message was changed")
	}
}

type load struct{ parts [][]byte }

func (m *load) Kind() wire.Kind           { return wire.KindRaft }
func (m *load) Append(b []byte) []byte    { return b }
func (m *load) Decode([]byte) error       { return nil }
func (m *load) Payload() [][]byte         { return m.parts }
func (m *load) SetPayload(p []byte) error { return nil }

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

// What a sender's earlier connection brought is handled before what its newer one brings, or not at all.
func TestNoticesStayInOrderAcrossConnections(t *testing.T) {
	nets := newGroup(t, 2, nil)
	var mu sync.Mutex
	var got []uint64
	first := make(chan struct{})
	begun := make(chan struct{})
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, func(_ context.Context, _ cluster.PeerID, _ wire.Kind, b wire.Body) (wire.Message, error) {
		n := binary.BigEndian.Uint64(b.Fields)
		if n == 1 {
			close(begun)
			<-first
		}
		mu.Lock()
		got = append(got, n)
		mu.Unlock()
		return nil, nil
	})
	run(t, nets[1])
	notice := func(n uint64) []byte {
		b, _, _ := wire.Encode(nil, wire.Header{Type: wire.Notice, Kind: wire.KindAdmin}, text(binary.BigEndian.AppendUint64(nil, n)), wire.Limit{Fields: 8})
		return b
	}
	old := dialRaw(t, nets[0].o.Identity, nets[1], protoControl)
	for n := uint64(1); n <= 5; n++ {
		old.Write(notice(n))
	}
	<-begun
	ping(t, old) // all five have arrived
	newer := dialRaw(t, nets[0].o.Identity, nets[1], protoControl)
	newer.Write(notice(6))
	ping(t, newer)
	mustClose(t, old)
	close(first)
	eventually(t, "the newest notice is handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) > 0 && got[len(got)-1] == 6
	})
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Errorf("handled in the order %v", got)
		}
	}
}

func TestGossipStreamsCarryBytesBothWays(t *testing.T) {
	nets := newGroup(t, 2, nil)
	nets[1].OnGossip(func(c net.Conn, from cluster.PeerID) {
		if from != nets[0].self {
			t.Errorf("from %v", from)
		}
		defer c.Close()
		io.Copy(c, c)
	})
	stop := run(t, nets...)
	a, err := nets[0].DialGossip(t.Context(), nets[1].self)
	if err != nil {
		t.Fatal(err)
	}
	b, id, err := nets[0].DialGossipAddr(t.Context(), nets[1].Addr())
	if err != nil || id != nets[1].self {
		t.Fatal(id, err)
	}
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("hello"))
		echo := make([]byte, 5)
		if _, err := io.ReadFull(c, echo); err != nil || string(echo) != "hello" {
			t.Errorf("%q, %v", echo, err)
		}
	}
	a.Close()
	stop()
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("a stream outlived its transport")
	}
	if _, err := nets[0].DialGossip(t.Context(), nets[1].self); !errors.Is(err, fault.Unreachable) {
		t.Errorf("%v, want Unreachable", err)
	}
}

func TestJoinConnectionsAreGivenOnAndEnd(t *testing.T) {
	nets := newGroup(t, 1, func(_ int, o *Options) { o.JoinTime = 100 * time.Millisecond })
	ended := make(chan struct{})
	nets[0].OnJoin(func(ctx context.Context, c *tls.Conn) {
		c.Write([]byte("who are you"))
		<-ctx.Done()
		close(ended)
	})
	run(t, nets...)
	c, err := tls.Dial("tcp", nets[0].Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{JoinProtocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 11)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "who are you" {
		t.Errorf("%q, %v", b, err)
	}
	<-ended
	mustClose(t, c)
}
