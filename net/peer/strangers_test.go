package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

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

// However many connections sit in their handshakes, members get in: the oldest make room.
func TestStrangersAreBounded(t *testing.T) {
	nets := newGroup(t, 2, func(_ int, o *Options) { o.Handshake = time.Hour })
	nets[1].Serve(wire.KindAdmin, wire.KindAdmin, empty)
	run(t, nets...)
	var all []net.Conn
	for range strangersAddr + 3 {
		c, err := net.Dial("tcp", nets[1].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	for _, c := range all[:3] {
		mustClose(t, c)
	}
	mustCall(t, nets[0], nets[1])
	nets[1].mu.Lock()
	defer nets[1].mu.Unlock()
	if n := len(nets[1].strangers); n > strangersAddr {
		t.Errorf("%d strangers", n)
	}
}

// One address cannot push others out, and together they are bounded.
func TestACrowdIsFair(t *testing.T) {
	var c crowd
	var quiet []*stranger
	for i := range 10 {
		s := &stranger{host: fmt.Sprint("quiet ", i)}
		quiet = append(quiet, s)
		c.enter(s)
	}
	for i := range 10 * strangersMax {
		c.enter(&stranger{host: fmt.Sprint("loud ", i%7)})
		if len(c) > strangersMax || c.count("loud 3") > strangersAddr {
			t.Fatalf("%d strangers, %d of one", len(c), c.count("loud 3"))
		}
	}
	for _, s := range quiet {
		if c.oldest(s.host) != s {
			t.Errorf("%s was pushed out", s.host)
		}
		c.leave(s)
		c.leave(s)
	}
	if len(c) != strangersMax-len(quiet) {
		t.Errorf("%d left", len(c))
	}
}
