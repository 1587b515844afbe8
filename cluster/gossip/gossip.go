// Package gossip spreads hints: which members answer, and what each last said of itself (bytes stored, load,
// latency, address). Facts are ops in the log; a hint may be old or wrong and must be harmless then.
//
// Underneath is memberlist (SWIM): each peer probes another a few times a second, directly, then through others,
// then over a stream; who stays silent is suspect, and dead a second or two later. It knows members by their ids
// alone: the address it is given for each is made from the id, and our transport turns ids into the addresses of the
// moment, from the address book and from what peers report. A peer that comes back elsewhere is the same peer.
// Packets travel by UDP on the port number of the transport, encrypted with the cluster's gossip key; longer
// exchanges travel on the transport's TLS streams. Non-members are not listened to.
//
// Per peer and second that is some five packets of a few hundred bytes each way.
package gossip

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
)

// Options are what a Gossip is given. Self, Listen, Key, Members, Addr and Dial are needed.
type Options struct {
	Self   cluster.PeerID
	Listen string // HOST:PORT for UDP; the port number is the transport's
	Key    []byte // 16, 24 or 32 bytes, of the cluster

	// Members returns the ids of all members, this one included. It must not block.
	Members func() []cluster.PeerID

	// Addr returns the address the address book has for a peer. It must not block.
	Addr func(cluster.PeerID) (addr string, ok bool)

	// Dial opens a gossip stream to a peer, whose identity it has verified.
	Dial func(ctx context.Context, to cluster.PeerID) (net.Conn, error)

	// OnChange is called after hints have changed, never concurrently with itself; several changes may be one call.
	OnChange func()

	Probe   time.Duration // between two probes, each of one peer; default 250 ms
	Refresh time.Duration // between two reports of ours, and two tries to reach a lost member; default 1 s
	Log     *slog.Logger  // default discards
}

// Gossip is one peer's end. Its methods are safe for concurrent use.
type Gossip struct {
	o         Options
	transport *transport
	changed   chan struct{} // capacity 1
	urgent    chan struct{} // capacity 1: the report is to be sent now

	mu     sync.Mutex // guards what follows; nothing of memberlist is called under it, which calls us under its own
	list   *memberlist.Memberlist
	report Report
	fresh  bool // report was not sent yet
	heard  map[cluster.PeerID]*heard
}

// New listens on o.Listen for packets. What it returns must be Run or Closed.
func New(o Options) (*Gossip, error) {
	if n := len(o.Key); n != 16 && n != 24 && n != 32 {
		return nil, fault.New("gossip", fault.Invalid, "a key of %d bytes", n)
	}
	if o.Probe == 0 {
		o.Probe = 250 * time.Millisecond
	}
	if o.Refresh == 0 {
		o.Refresh = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnChange == nil {
		o.OnChange = func() {}
	}
	packets, err := net.ListenPacket("udp", o.Listen)
	if err != nil {
		return nil, peer.ListenError("--listen", o.Listen, err)
	}
	g := &Gossip{o: o, changed: make(chan struct{}, 1), urgent: make(chan struct{}, 1), heard: map[cluster.PeerID]*heard{}}
	g.transport = newTransport(o.Self, packets, g.addrs, g.dial)
	return g, nil
}

// dial opens a stream. A peer that has taken one is as good as one that has answered a probe: where packets do not get
// through, probes are streams.
func (g *Gossip) dial(ctx context.Context, to cluster.PeerID) (net.Conn, error) {
	conn, err := g.o.Dial(ctx, to)
	if err == nil {
		g.pong(to, 0)
	}
	return conn, err
}

// Addr returns where packets are received.
func (g *Gossip) Addr() string { return g.transport.packets.LocalAddr().String() }

// Close ends listening; Run does so itself.
func (g *Gossip) Close() { g.transport.Shutdown() }

// Accept takes over a gossip stream that a member opened. It never blocks; a stream there is no use for is closed.
func (g *Gossip) Accept(conn net.Conn) { g.transport.accept(conn) }

// Run gossips until ctx ends, and then tells the others that it stops; membership stays. Members that do not answer are tried again for as long as they are members. When it
// returns the port is free and every goroutine of ours has ended; memberlist's own end by themselves within a
// probe, deaf and mute.
func (g *Gossip) Run(ctx context.Context) error {
	defer g.Close()
	g.transport.start(ctx)
	list, err := memberlist.Create(g.config())
	if err != nil {
		return fault.Because("gossip", fault.Other, err)
	}
	defer list.Shutdown()
	g.mu.Lock()
	g.list = list
	g.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { g.announce(ctx, list) })
	wg.Go(func() { g.rejoin(ctx) })
	g.notify(ctx)
	list.Leave(2 * g.o.Probe) // so that nobody waits for us; an error says that somebody may
	return nil
}

func (g *Gossip) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.o.Self.String()
	c.Transport = g.transport
	c.SecretKey = g.o.Key
	c.Delegate, c.Events, c.Alive, c.Ping = delegate{g}, delegate{g}, delegate{g}, delegate{g}
	c.ProbeInterval, c.ProbeTimeout = g.o.Probe, g.o.Probe*3/5
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 4, 2 // dead after 4 to 8 probes without a sign of life
	c.AwarenessMaxMultiplier = 4
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = 2 * time.Second
	c.RequireNodeNames = true
	c.EnableCompression = false
	c.LogOutput = &logWriter{log: g.o.Log, now: time.Now}
	return c
}

// SetReport sets what this peer says of itself. It is sent within Options.Refresh if it changed.
func (g *Gossip) SetReport(r Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Unled != g.report.Unled {
		select {
		case g.urgent <- struct{}{}:
		default:
		}
	}
	if r != g.report {
		g.report, g.fresh = r, true
	}
}

// Join exchanges all that is known with the peers given, and returns how many answered. Run does it by itself for
// members; Join is for when one cannot wait. It blocks for some seconds at most.
func (g *Gossip) Join(peers ...cluster.PeerID) int {
	g.mu.Lock()
	list := g.list
	g.mu.Unlock()
	if list == nil {
		return 0
	}
	names := make([]string, len(peers))
	for i, id := range peers {
		names[i] = joinName(id)
	}
	n, _ := list.Join(names) // whoever did not answer is tried again
	return n
}

// announce sends our report whenever it has changed.
func (g *Gossip) announce(ctx context.Context, list *memberlist.Memberlist) {
	tick := time.NewTicker(g.o.Refresh)
	defer tick.Stop()
	for {
		g.mu.Lock()
		fresh := g.fresh
		g.fresh = false
		g.mu.Unlock()
		if fresh {
			list.UpdateNode(g.o.Refresh) // an error says that nobody was told yet: they will be
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.urgent:
		}
	}
}

// rejoin looks for members that do not answer: all at first, some at once, then one at random each time.
func (g *Gossip) rejoin(ctx context.Context) {
	lost := g.lost()
	rand.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	var wg sync.WaitGroup
	for i := range min(len(lost), joinsAtOnce) {
		wg.Go(func() {
			for k := i; k < len(lost) && ctx.Err() == nil; k += joinsAtOnce {
				if !g.alive(lost[k]) {
					g.Join(lost[k])
				}
			}
		})
	}
	wg.Wait()
	every(ctx, g.o.Refresh, func() {
		if lost := g.lost(); len(lost) > 0 {
			g.Join(lost[rand.IntN(len(lost))])
		}
	})
}

// joinsAtOnce bounds the first look for members: a machine that is off takes two seconds each.
const joinsAtOnce = 8

// lost returns the members that are not heard.
func (g *Gossip) lost() []cluster.PeerID {
	return slices.DeleteFunc(slices.Clone(g.o.Members()), func(id cluster.PeerID) bool { return id == g.o.Self || g.alive(id) })
}

// notify calls OnChange, and looks for peers that have become suspect, until ctx ends.
func (g *Gossip) notify(ctx context.Context) {
	tick := time.NewTicker(g.o.Probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.suspect()
		case <-g.changed:
			g.o.OnChange()
		}
	}
}

func (g *Gossip) change() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// every calls fn now and then every d, until ctx ends.
func every(ctx context.Context, d time.Duration, fn func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		fn()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
