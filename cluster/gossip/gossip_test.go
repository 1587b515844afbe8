package gossip

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// town is some peers on loopback, with an address book that is shared and a list of members that is not.
type town struct {
	t       *testing.T
	mu      sync.Mutex
	members map[cluster.PeerID]bool
	streams map[cluster.PeerID]string // where they accept streams
	book    map[cluster.PeerID]string // what the address book says of their packets
}

type citizen struct {
	*Gossip
	id    cluster.PeerID
	stop  func() // returns when Run has
	crash func() // from now on nothing comes or goes
}

var key = bytes.Repeat([]byte{7}, 32)

func newTown(t *testing.T) *town {
	return &town{t: t, members: map[cluster.PeerID]bool{}, streams: map[cluster.PeerID]string{}, book: map[cluster.PeerID]string{}}
}

func (w *town) list() (ids []cluster.PeerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.members {
		ids = append(ids, id)
	}
	return ids
}

// join makes a peer a member and starts it.
func (w *town) join(i byte, change ...func(*Options)) *citizen {
	w.mu.Lock()
	w.members[cluster.PeerID{i}] = true
	w.mu.Unlock()
	return w.start(i, change...)
}

func (w *town) start(i byte, change ...func(*Options)) *citizen {
	w.t.Helper()
	id := cluster.PeerID{i}
	o := Options{
		Self: id, Listen: "127.0.0.1:0", Key: key, Probe: 100 * time.Millisecond, Refresh: 100 * time.Millisecond,
		Members: w.list,
		Addr: func(id cluster.PeerID) (string, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			addr, ok := w.book[id]
			return addr, ok
		},
		Dial: func(ctx context.Context, to cluster.PeerID) (net.Conn, error) {
			w.mu.Lock()
			addr, ok := w.streams[to]
			w.mu.Unlock()
			if !ok {
				return nil, fault.New("dial", fault.Unreachable, "%s", to.Short())
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
	for _, f := range change {
		f(&o)
	}
	g, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	g.SetReport(Report{Addr: g.Addr()})
	w.mu.Lock()
	w.streams[id] = streams.Addr().String()
	if w.book[id] == "" {
		w.book[id] = g.Addr()
	}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			g.Accept(conn)
		}
	})
	wg.Go(func() {
		if err := g.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	var once sync.Once
	crash := func() {
		w.mu.Lock()
		delete(w.streams, id)
		w.mu.Unlock()
		streams.Close()
		g.Close()
	}
	c := &citizen{g, id, func() {
		once.Do(func() {
			w.mu.Lock()
			delete(w.streams, id)
			w.mu.Unlock()
			cancel()
			streams.Close()
			wg.Wait()
		})
	}, crash}
	w.t.Cleanup(c.stop)
	return c
}

// until waits for ok to hold of what c believes of id.
func (c *citizen) until(t *testing.T, what string, of *citizen, ok func(Hint) bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		hint := c.Hints()[of.id]
		if ok(hint) {
			return
		}
		select {
		case <-poll.C:
		case <-limit:
			t.Fatalf("%s: %s believes of %s %+v", what, c.id.Short(), of.id.Short(), hint)
		}
	}
}

func alive(h Hint) bool { return h.Seen == cluster.Alive }
func dead(h Hint) bool  { return h.Seen == cluster.Dead }

func TestReportsSpread(t *testing.T) {
	w := newTown(t)
	all := []*citizen{w.join(1), w.join(2), w.join(3)}
	for _, c := range all {
		for _, of := range all {
			c.until(t, "alive", of, alive)
		}
	}
	for stored := range int64(3) {
		want := Report{Addr: all[0].Addr(), Version: "v1", Stored: stored, Capacity: 10, Reserve: 1, Load: 1.5, Errors: 0.25, Latency: time.Millisecond, Synced: 42}
		all[0].SetReport(want)
		for _, c := range all {
			c.until(t, "report", all[0], func(h Hint) bool { return h.Report == want })
		}
	}
	all[1].until(t, "measured", all[0], func(h Hint) bool { return h.RTT > 0 })
}

// TestBackAtAnotherAddress: a peer that stops is dead; when it starts again elsewhere it is found again by its id,
// although the address book of the others still has the old place.
func TestBackAtAnotherAddress(t *testing.T) {
	t.Run("after a stop", func(t *testing.T) { back(t, func(c *citizen) { c.stop() }) })
	t.Run("after a crash", func(t *testing.T) { back(t, func(c *citizen) { c.crash() }) })
}

func back(t *testing.T, end func(*citizen)) {
	w := newTown(t)
	a, b, c := w.join(1), w.join(2), w.join(3)
	a.until(t, "alive", c, alive)
	b.until(t, "alive", c, alive)
	was := c.Addr()
	end(c)
	start := time.Now()
	a.until(t, "stopped", c, dead)
	b.until(t, "stopped", c, dead)
	t.Logf("noticed after %v, probing every %v", time.Since(start), a.o.Probe)
	c.stop()
	c = w.join(3)
	if c.Addr() == was {
		t.Skip("the kernel gave the same port again")
	}
	back := func(h Hint) bool { return h.Seen == cluster.Alive && h.Report.Addr == c.Addr() }
	a.until(t, "back", c, back)
	b.until(t, "back", c, back)
	c.until(t, "hears the others", a, alive)
}

// TestRestartUnnoticed: a peer that is back before it was missed is heard anew, its old incarnation's words
// notwithstanding.
func TestRestartUnnoticed(t *testing.T) {
	w := newTown(t)
	a, b := w.join(1), w.join(2)
	for n := range int64(5) {
		b.SetReport(Report{Addr: b.Addr(), Stored: n + 1})
		a.until(t, "before", b, func(h Hint) bool { return h.Report.Stored == n+1 })
	}
	b.stop()
	b = w.join(2)
	b.SetReport(Report{Addr: b.Addr(), Stored: 1})
	a.until(t, "after", b, func(h Hint) bool {
		return h.Seen == cluster.Alive && h.Report == Report{Addr: b.Addr(), Stored: 1}
	})
}

func TestStrangersAreNotHeard(t *testing.T) {
	w := newTown(t)
	a, b := w.join(1), w.join(2)
	noMember := w.start(3) // has the key and knows everybody
	noKey := w.join(4, func(o *Options) { o.Key = bytes.Repeat([]byte{8}, 32) })
	a.until(t, "alive", b, alive)
	b.until(t, "alive", a, alive)
	noMember.until(t, "it hears them", a, alive)
	for range 3 {
		noMember.Join(a.id, b.id)
		noKey.Join(a.id, b.id)
	}
	for _, c := range []*citizen{a, b} {
		if _, ok := c.Hints()[noMember.id]; ok || c.alive(noMember.id) {
			t.Error("heard one that is no member")
		}
		if c.Hints()[noKey.id].Seen != cluster.Dead {
			t.Error("heard one without the key")
		}
	}
}

func TestRemovedMemberDisappears(t *testing.T) {
	w := newTown(t)
	a, b := w.join(1), w.join(2)
	a.until(t, "alive", b, alive)
	w.mu.Lock()
	delete(w.members, b.id)
	w.mu.Unlock()
	if _, ok := a.Hints()[b.id]; ok {
		t.Error("a hint about one that is no member")
	}
}

func TestOnChangeIsCalled(t *testing.T) {
	w := newTown(t)
	calls := make(chan struct{}, 100)
	a := w.join(1, func(o *Options) {
		o.OnChange = func() {
			select {
			case calls <- struct{}{}:
			default:
			}
		}
	})
	b := w.join(2)
	a.until(t, "alive", b, alive)
	<-calls
}

// TestStreamsAlone: where no packet gets through, streams keep a peer alive.
func TestStreamsAlone(t *testing.T) {
	w := newTown(t)
	hole, err := net.ListenPacket("udp", "127.0.0.1:0") // reads nothing, answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	w.book[cluster.PeerID{2}] = hole.LocalAddr().String()
	a, b := w.join(1), w.join(2)
	b.SetReport(Report{Addr: hole.LocalAddr().String()})
	a.until(t, "alive", b, alive)
	a.until(t, "still alive after 15 probes", b, func(h Hint) bool {
		return alive(h) && time.Since(h.Since) > 1500*time.Millisecond
	})
}

func TestStopFreesThePort(t *testing.T) {
	w := newTown(t)
	a := w.join(1)
	addr := a.Addr()
	a.stop()
	again, err := New(Options{Listen: addr, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	here, there := net.Pipe()
	a.Accept(here)
	if _, err := there.Read(make([]byte, 1)); err == nil {
		t.Error("a stream accepted after the end")
	}
	if _, err := New(Options{Listen: "127.0.0.1:0", Key: []byte("short")}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
