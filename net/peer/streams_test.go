package peer

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

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
