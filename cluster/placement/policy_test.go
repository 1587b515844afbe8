package placement

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
)

const gib = 1 << 30

func id(i int) cluster.PeerID { return cluster.PeerID{byte(i)} }

// healthy is a peer that every policy would take, on a host of its own.
func healthy(i int) cluster.Peer {
	return cluster.Peer{Member: cluster.Member{ID: id(i), Host: fmt.Sprint("host", i), Capacity: 100 * gib}, Latency: time.Millisecond}
}

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func view(peers ...cluster.Peer) cluster.View { return cluster.NewView(id(1), 1, peers) }

func pick(t *testing.T, p Policy, v cluster.View, n int, avoid ...cluster.PeerID) []cluster.PeerID {
	t.Helper()
	got, _, err := p.Pick(v, n, 8, avoid)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEachFilterHasItsReason(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*cluster.Peer)
	}{
		{FilterDead, func(p *cluster.Peer) { p.Seen = cluster.Dead }},
		{FilterDead, func(p *cluster.Peer) { p.State = cluster.Dead }},
		{FilterDraining, func(p *cluster.Peer) { p.State = cluster.Draining }},
		{FilterMaintenance, func(p *cluster.Peer) { p.State = cluster.Maintenance }},
		{FilterLost, func(p *cluster.Peer) { p.State = cluster.Lost }},
		{FilterErrors, func(p *cluster.Peer) { p.Errors = 0.6 }},
		{FilterNone, func(p *cluster.Peer) { p.Capacity = 0 }},
		{FilterFull, func(p *cluster.Peer) { p.Reserve = p.Capacity }},
		{FilterFull, func(p *cluster.Peer) { p.Stored = p.Capacity - 8*blockstore.Size + 1 }},
		{FilterFull, func(p *cluster.Peer) { p.InFlight = p.Capacity - 8*blockstore.Size + 1 }},
		{"", func(p *cluster.Peer) { p.Stored = p.Capacity - 8*blockstore.Size }},
		{"", func(p *cluster.Peer) { p.Seen = cluster.Suspect }},
		{"", func(p *cluster.Peer) { p.Errors = 0.4 }},
	} {
		p := healthy(1)
		c.change(&p)
		got, why, err := For(Balanced, rng(1)).Pick(view(p), 1, 8, nil)
		if why[0].Filter != c.want {
			t.Errorf("filter %q, want %q", why[0].Filter, c.want)
		}
		if (c.want == "") != (len(got) == 1) || (c.want != "") != errors.Is(err, fault.NoSpace) {
			t.Errorf("%q: picked %v, error %v", c.want, got, err)
		}
	}
	_, why, err := For(Balanced, rng(1)).Pick(view(healthy(1)), 1, 8, []cluster.PeerID{id(1)})
	if why[0].Filter != FilterAvoid || !errors.Is(err, fault.NoSpace) {
		t.Error(why, err)
	}
}

func TestPoliciesPreferWhatTheirNameSays(t *testing.T) {
	full, slow, fine := healthy(1), healthy(2), healthy(3)
	full.Stored, slow.Latency = 90*gib, 100*time.Millisecond
	for _, c := range []struct {
		name  Name
		peers []cluster.Peer
		want  int
	}{
		{LeastStored, []cluster.Peer{full, slow}, 2},
		{LowestLatency, []cluster.Peer{full, slow}, 1},
		{Balanced, []cluster.Peer{full, slow}, 2},
		{Balanced, []cluster.Peer{full, slow, fine}, 3},
		{LocalFirst, []cluster.Peer{full, slow, fine}, 1},
		{LocalFirst, []cluster.Peer{slow, fine}, 3},
		{"", []cluster.Peer{full, slow, fine}, 3},
	} {
		if got := pick(t, For(c.name, rng(1)), view(c.peers...), 1); got[0] != id(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got[0], id(c.want))
		}
	}
}

func TestDistinctHostsBeforeScore(t *testing.T) {
	a, b, c := healthy(1), healthy(2), healthy(3)
	b.Host, c.Stored = a.Host, 90*gib
	for seed := range uint64(20) {
		got := pick(t, For(LeastStored, rng(seed)), view(a, b, c), 2)
		if !slices.Contains(got, c.ID) {
			t.Fatalf("both copies on one host: %v", got)
		}
	}
	if got := pick(t, For(LeastStored, rng(1)), view(a, b, c), 3); len(got) != 3 {
		t.Errorf("want all three when three are asked for: %v", got)
	}
}

func TestOneMachineStillGetsItsCopies(t *testing.T) {
	a, b, c := healthy(1), healthy(2), healthy(3)
	a.Host, b.Host, c.Host = "h", "h", "h"
	if got := pick(t, For(Balanced, rng(1)), view(a, b, c), 2); len(got) != 2 {
		t.Error(got)
	}
}

func TestZones(t *testing.T) {
	var peers []cluster.Peer
	for i := range 6 {
		p := healthy(i + 1)
		p.Zone = []string{"x", "x", "x", "y", "y", "z"}[i]
		if i > 2 {
			p.Stored = 50 * gib
		}
		peers = append(peers, p)
	}
	zones := func(picked []cluster.PeerID) int {
		seen := map[string]bool{}
		for _, id := range picked {
			v := view(peers...)
			seen[v.Find(id).Zone] = true
		}
		return len(seen)
	}
	for _, c := range []struct{ zones, n, want int }{{0, 3, 3}, {2, 3, 2}, {1, 3, 1}, {3, 3, 3}, {9, 3, 3}} {
		for seed := range uint64(20) {
			got := pick(t, New(Options{Name: LeastStored, Zones: c.zones}, rng(seed)), view(peers...), c.n)
			if n := zones(got); n < c.want {
				t.Fatalf("zones=%d: %d distinct, want %d", c.zones, n, c.want)
			}
		}
	}
}

func TestAliveBeforeSuspect(t *testing.T) {
	a, b, c := healthy(1), healthy(2), healthy(3)
	a.Seen = cluster.Suspect
	if got := pick(t, For(LocalFirst, rng(1)), view(b, c, a), 3); !slices.Contains(got, a.ID) {
		t.Errorf("a suspect peer is taken when nothing else is left: %v", got)
	}
	b.Stored, c.Stored = 90*gib, 90*gib
	if got := pick(t, For(LeastStored, rng(1)), view(a, b, c), 2); slices.Contains(got, a.ID) {
		t.Errorf("a suspect peer was preferred: %v", got)
	}
}

func TestHaveCountsAsUsed(t *testing.T) {
	a, b, c := healthy(1), healthy(2), healthy(3)
	b.Host, c.Stored = a.Host, 90*gib
	got := pick(t, New(Options{Name: LeastStored, Have: []cluster.PeerID{a.ID}}, rng(1)), view(a, b, c), 1, a.ID)
	if got[0] != c.ID {
		t.Error("second copy on the host that has the first")
	}
}

// TestPickProperties: never a filtered peer, never one twice, never more than asked, as many as there are, the same
// again for the same seed, and an explanation that agrees.
func TestPickProperties(t *testing.T) {
	for seed := range uint64(500) {
		r := rng(seed)
		var peers []cluster.Peer
		for i := range 1 + r.IntN(8) {
			p := healthy(i + 1)
			p.Host, p.Zone = fmt.Sprint(r.IntN(4)), fmt.Sprint(r.IntN(3))
			p.State, p.Seen = cluster.State(r.IntN(4)), []cluster.State{cluster.Alive, cluster.Alive, cluster.Suspect, cluster.Dead}[r.IntN(4)]
			p.Stored, p.Errors = r.Int64N(110*gib), r.Float64()*0.7
			p.Latency = time.Duration(r.Int64N(int64(time.Second)))
			peers = append(peers, p)
		}
		v, n, avoid := view(peers...), 1+r.IntN(4), []cluster.PeerID{id(r.IntN(9))}
		o := Options{Name: Names[r.IntN(len(Names))], Zones: r.IntN(4)}
		got, why, err := New(o, rng(seed)).Pick(v, n, 8, avoid)
		again, _, _ := New(o, rng(seed)).Pick(v, n, 8, avoid)
		if !slices.Equal(got, again) {
			t.Fatalf("seed %d: %v then %v", seed, got, again)
		}
		eligible := 0
		for i, w := range why {
			if w.Peer != v.Peers[i].ID || w.Chosen != slices.Contains(got, w.Peer) || w.Chosen && w.Filter != "" {
				t.Fatalf("seed %d: %+v against %v", seed, w, got)
			}
			if w.Filter == "" {
				eligible++
			}
		}
		if len(got) != min(n, eligible) || (eligible == 0) != errors.Is(err, fault.NoSpace) {
			t.Fatalf("seed %d: %d of %d eligible, want %d: %v", seed, len(got), eligible, n, err)
		}
		if slices.ContainsFunc(got, func(id cluster.PeerID) bool { return id == avoid[0] }) {
			t.Fatalf("seed %d: avoided peer picked", seed)
		}
		slices.SortFunc(got, cluster.PeerID.Compare)
		if len(slices.Compact(got)) != min(n, eligible) {
			t.Fatalf("seed %d: one peer twice", seed)
		}
	}
}

// TestSharesEvenOut places 1,000 extents of 4 MiB on 5 peers of unequal capacity.
func TestSharesEvenOut(t *testing.T) {
	for _, name := range []Name{LeastStored, Balanced} {
		var peers []cluster.Peer
		for i := range 5 {
			p := healthy(i + 1)
			p.Capacity = int64(i+1) * 2 * gib
			peers = append(peers, p)
		}
		v, p := view(peers...), For(name, rng(7))
		for range 1000 {
			for _, id := range pick(t, p, v, 2) {
				v.Find(id).Stored += 4 << 20
			}
		}
		low, high := 1.0, 0.0
		for i := range v.Peers {
			low, high = min(low, share(&v.Peers[i])), max(high, share(&v.Peers[i]))
		}
		if high-low > 0.10 {
			t.Errorf("%s: shares from %.2f to %.2f", name, low, high)
		}
	}
}

// TestWritersAtOnceSpread: reports stand still while 100 extents are sent; what is in flight must count.
func TestWritersAtOnceSpread(t *testing.T) {
	for _, name := range []Name{LeastStored, Balanced, LowestLatency} {
		fast := healthy(1)
		fast.Latency = 900 * time.Microsecond
		v, p := view(fast, healthy(2), healthy(3), healthy(4), healthy(5)), For(name, rng(3))
		v.Self = cluster.PeerID{} // the writers' own peers are others
		for range 100 {
			v.Find(pick(t, p, v, 1)[0]).InFlight += 4 << 20
		}
		for _, peer := range v.Peers {
			if n := peer.InFlight / (4 << 20); n < 10 || n > 35 {
				t.Errorf("%s: %d of 100 extents on one of 5 peers", name, n)
			}
		}
	}
}

// TestACopyHereUntilThisPeerIsFuller: what is written here has one of two copies here, though much is on its way, until this peer is a tenth
// fuller than the others. Copies that are made later need not be here.
func TestACopyHereUntilThisPeerIsFuller(t *testing.T) {
	here := func(p Policy, stored int64, inFlight int64) (n int) {
		self := healthy(1)
		self.Stored, self.InFlight = stored, inFlight
		v := view(self, healthy(2), healthy(3))
		for range 100 {
			if slices.Contains(pick(t, p, v, 2), self.ID) {
				n++
			}
		}
		return n
	}
	balanced := For(Balanced, rng(5))
	for _, c := range []struct {
		stored, inFlight int64
		all              bool
	}{{0, 0, true}, {0, 1 << 20, true}, {9 * gib, 0, true}, {11 * gib, 0, false}} {
		if n := here(balanced, c.stored, c.inFlight); (n == 100) != c.all {
			t.Errorf("with %d bytes more here, %d of them on their way, %d of 100 are here", c.stored, c.inFlight, n)
		}
	}
	later := New(Options{Name: Balanced, Have: []cluster.PeerID{id(9)}}, rng(5))
	if n := here(later, gib, 0); n == 100 {
		t.Error("what repair copies is always here")
	}
}
