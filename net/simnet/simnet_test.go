package simnet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
	"dfs/net/peer/peertest"
	"dfs/net/simnet"
	"dfs/net/wire"
)

type number struct{ n uint64 }

func (*number) Kind() wire.Kind          { return wire.KindAdmin }
func (m *number) Append(b []byte) []byte { return wire.AppendUint(b, m.n) }
func (m *number) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.n = r.Uint()
	return r.Done()
}

var a, b, c = cluster.PeerID{1}, cluster.PeerID{2}, cluster.PeerID{3}

// inLoop runs fn with ports that run, in a bubble of virtual time.
func inLoop(t *testing.T, serve func(p *simnet.Port, id cluster.PeerID), fn func(l *simnet.Loop, ports map[cluster.PeerID]*simnet.Port)) {
	synctest.Test(t, func(t *testing.T) {
		loop := simnet.NewLoop(1)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		ports := map[cluster.PeerID]*simnet.Port{}
		for _, id := range []cluster.PeerID{a, b, c} {
			p := loop.Port(id)
			serve(p, id)
			ports[id] = p
			wg.Go(func() { p.Run(ctx) })
		}
		synctest.Wait()
		fn(loop, ports)
		cancel()
		wg.Wait()
	})
}

func TestCallsAreAnswered(t *testing.T) {
	double := func(p *simnet.Port, id cluster.PeerID) {
		p.Serve(wire.KindAdmin, wire.KindAdmin, func(_ context.Context, from cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
			var m number
			if err := body.Into(&m); err != nil {
				return nil, err
			}
			if m.n == 13 {
				return nil, fault.New("double", fault.NoSpace, "13")
			}
			return &number{2 * m.n}, nil
		})
	}
	inLoop(t, double, func(l *simnet.Loop, ports map[cluster.PeerID]*simnet.Port) {
		ctx := context.Background()
		l.SetWeather(simnet.Weather{Min: time.Millisecond, Max: 3 * time.Millisecond})
		var reply number
		if err := ports[a].Call(ctx, b, &number{21}, &reply); err != nil || reply.n != 42 {
			t.Fatal(reply, err)
		}
		if err := ports[a].Call(ctx, b, &number{13}, &reply); !errors.Is(err, fault.NoSpace) {
			t.Fatal("an error keeps its kind:", err)
		}
		l.Cut(b, a)
		if err := ports[a].Call(ctx, b, &number{1}, &reply); !errors.Is(err, fault.Unreachable) {
			t.Fatal("the answer's way is cut:", err)
		}
		if err := ports[a].Call(ctx, c, &number{1}, &reply); err != nil {
			t.Fatal("another link is not cut:", err)
		}
		l.Heal()
		l.Isolate(b)
		if err := ports[a].Call(ctx, b, &number{1}, &reply); !errors.Is(err, fault.Unreachable) {
			t.Fatal(err)
		}
		l.Heal()
		short, cancel := context.WithTimeout(ctx, time.Microsecond)
		defer cancel()
		if err := ports[a].Call(short, b, &number{1}, &reply); !errors.Is(err, fault.Timeout) {
			t.Fatal(err)
		}
	})
}

func TestNoticesKeepTheirOrder(t *testing.T) {
	got := map[string][]uint64{}
	var mu sync.Mutex
	note := func(p *simnet.Port, id cluster.PeerID) {
		p.Serve(wire.KindAdmin, wire.KindAdmin, func(_ context.Context, from cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
			var m number
			if err := body.Into(&m); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			way := fmt.Sprint(from[0], ">", id[0])
			got[way] = append(got[way], m.n)
			return nil, nil
		})
	}
	inLoop(t, note, func(l *simnet.Loop, ports map[cluster.PeerID]*simnet.Port) {
		l.SetWeather(simnet.Weather{Max: 5 * time.Millisecond, Loss: 0.1})
		for n := range uint64(500) {
			ports[a].Send(b, &number{n})
			ports[c].Send(b, &number{n})
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		for way, ns := range got {
			if len(ns) < 400 || len(ns) == 500 {
				t.Errorf("%s: %d of 500 arrived; a tenth should be lost", way, len(ns))
			}
			for i := 1; i < len(ns); i++ {
				if ns[i] <= ns[i-1] {
					t.Errorf("%s: %d after %d", way, ns[i], ns[i-1])
				}
			}
		}
		if len(got) != 2 {
			t.Error(got)
		}
	})
}

// TestNetIsDeterministic sends the same through two nets of one seed and compares every event.
func TestNetIsDeterministic(t *testing.T) {
	history := func() (events []string) {
		rng := rand.New(rand.NewPCG(7, 7))
		net := simnet.NewNet(rng)
		net.SetWeather(simnet.Weather{Min: 1, Max: 100, Loss: 0.05})
		ids := []cluster.PeerID{a, b, c}
		now := time.Duration(0)
		for n := range uint64(3000) {
			net.Send(now, ids[rng.IntN(3)], ids[rng.IntN(3)], &number{n})
			switch rng.IntN(100) {
			case 0:
				net.Cut(ids[rng.IntN(3)], ids[rng.IntN(3)])
			case 1:
				net.Heal()
			case 2:
				net.Forget(ids[rng.IntN(3)])
			}
			if e, ok := net.Next(); ok && rng.IntN(2) == 0 {
				if e.At < now {
					t.Fatal("time went back")
				}
				now = e.At
				events = append(events, fmt.Sprint(e))
			}
		}
		return events
	}
	one, two := history(), history()
	if fmt.Sprint(one) != fmt.Sprint(two) || len(one) < 1000 {
		t.Fatal("two runs of one seed differ, or too few events:", len(one), len(two))
	}
}

var _ peer.Transport = (*simnet.Port)(nil)

func TestLoopIsATransport(t *testing.T) {
	peertest.Run(t, func(t *testing.T, n int) []peertest.Member {
		loop := simnet.NewLoop(1)
		var all []peertest.Member
		for i := range n {
			id := cluster.PeerID{byte(i + 1)}
			all = append(all, peertest.Member{ID: id, Transport: loop.Port(id)})
		}
		return all
	})
}
