package identity_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/net/peer"
	"dfs/net/wire"
)

// Links of net/peer with the identities that admission makes: who joined is in, who did not is out.
func TestIdentitiesCarryLinks(t *testing.T) {
	c := newTown(t)
	old, _, err := c.join(t, c.token(1), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	c.set(c.now().Add(366 * 24 * time.Hour))
	cert, err := c.ca.Issue(c.PublicKey(), c.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Renew(cert); err != nil {
		t.Fatal(err)
	}
	joined, _, err := c.join(t, c.token(1), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "identity")
	if err := joined.Save(dir); err != nil {
		t.Fatal(err)
	}
	loaded, err := identity.Load(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := create(t, c.now)
	for name, test := range map[string]struct {
		who *identity.Identity
		in  bool
	}{
		"joined": {joined, true}, "joined, saved and loaded": {loaded, true},
		"of another cluster": {stranger, false}, "with an expired certificate": {old, false},
	} {
		n := peer.New(peer.Options{
			Identity: test.who,
			Addrs:    func(id cluster.PeerID) (string, bool) { return c.addr, id == c.ID() },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { n.Run(ctx) })
		err := n.Call(ctx, c.ID(), ask{}, nil)
		if want := fault.Unreachable; !test.in && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if want := fault.Unsupported; test.in && !errors.Is(err, want) { // nobody serves it, but somebody said so
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		cancel()
		wg.Wait()
	}
}

type ask struct{}

func (ask) Kind() wire.Kind        { return wire.KindAdmin }
func (ask) Append(b []byte) []byte { return b }
func (ask) Decode([]byte) error    { return nil }

func TestProtocolNamesAgree(t *testing.T) {
	if identity.Protocol != peer.JoinProtocol {
		t.Errorf("%q and %q", identity.Protocol, peer.JoinProtocol)
	}
}
