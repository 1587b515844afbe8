package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
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

type blob [1][]byte

func (b blob) Kind() wire.Kind           { return wire.KindBlock }
func (b blob) Append(to []byte) []byte   { return to }
func (b blob) Decode([]byte) error       { return nil }
func (b blob) Payload() [][]byte         { return b[:] }
func (b blob) SetPayload(p []byte) error { return nil }

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
