package peer

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Net is the Transport of real clusters: TCP, TLS 1.3, a certificate on both ends, one port.
//
// A peer dials the connections for its own requests and notices, one for control and two for bulk, and the other side
// answers on them; so two peers that talk both ways have two sets, and none needs to be agreed upon. Notices all go by
// the control connection. What a connection is for is said in ALPN: dfs/1, dfs-bulk/1, dfs-join/1 (the only one for
// callers without a certificate), dfs-gossip/1.
//
// What a small call costs: two system calls and one TLS record each way when it is alone, less in company, because a
// connection's writer flushes only when its queue is empty; two hand-overs between goroutines each way. A small notice
// costs one system call and no hand-over at the sender, and two and none at the receiver if its kind is Prompt. Payloads
// are copied by TLS alone.
//
// Locks, in order; none is held while the network is used:
//
//	pipe.mu
//	    Net.mu
//	        conn.mu
//
// Conn.turn and watched.mu are apart from these: they are what writing is serialized by.
type Net struct {
	o     Options
	self  cluster.PeerID
	epoch time.Time // of clock
	wg    sync.WaitGroup

	// Set before Run, read only then.
	routes   []route
	prompts  []route
	onJoin   func(context.Context, *tls.Conn)
	onGossip func(net.Conn, cluster.PeerID)

	toSelf chan note
	begun  chan struct{} // closed when Run begins

	accepted atomic.Uint64 // connections so far; their numbers order them
	looked   atomic.Int64  // when the connections were last looked at; clock

	mu        sync.Mutex
	ln        net.Listener
	ctx       context.Context // of Run; nil before, and when closing
	ended     bool
	links     map[cluster.PeerID]*link
	conns     map[*conn]struct{}
	inbound   map[cluster.PeerID][]*conn // accepted, oldest first
	control   map[cluster.PeerID]*conn   // the newest accepted control connection
	newest    map[cluster.PeerID]uint64  // number of the newest that was ever accepted
	gossip    map[cluster.PeerID][]*stream
	strangers crowd
}

var _ Transport = (*Net)(nil)

type route struct {
	lo, hi wire.Kind
	h      Handler
}

// New returns a Net that is not yet listening.
func New(o Options) *Net {
	o = o.withDefaults()
	return &Net{
		o: o, self: o.Identity.ID(), epoch: time.Now(),
		toSelf:  make(chan note, noticeFrames),
		begun:   make(chan struct{}),
		links:   map[cluster.PeerID]*link{},
		conns:   map[*conn]struct{}{},
		inbound: map[cluster.PeerID][]*conn{},
		control: map[cluster.PeerID]*conn{},
		newest:  map[cluster.PeerID]uint64{},
		gossip:  map[cluster.PeerID][]*stream{},
	}
}

// ID returns whose end this is.
func (n *Net) ID() cluster.PeerID { return n.self }

// Serve directs kinds lo..hi to h. A programmer's mistake (overlap, a call after Run) panics.
func (n *Net) Serve(lo, hi wire.Kind, h Handler) {
	for _, r := range n.routes {
		if lo <= r.hi && r.lo <= hi {
			panic("peer: kinds are served twice")
		}
	}
	if lo < wire.KindJoin {
		panic("peer: the link's own kinds")
	}
	n.routes = append(n.routes, route{lo, hi, h})
}

// Prompt has notices of kinds lo..hi handled by the goroutine that reads them: their handlers take microseconds, and
// until they return nothing else of the connection is read. Before Run.
func (n *Net) Prompt(lo, hi wire.Kind) { n.prompts = append(n.prompts, route{lo: lo, hi: hi}) }

func (n *Net) isPrompt(k wire.Kind) bool {
	return slices.ContainsFunc(n.prompts, func(r route) bool { return r.lo <= k && k <= r.hi })
}

// OnJoin gives the connections of those who want to become members to f, which may use them until it returns or ctx
// ends. They have shown no certificate. Without f there are no such connections. Before Run.
func (n *Net) OnJoin(f func(ctx context.Context, c *tls.Conn)) { n.onJoin = f }

// OnGossip gives the gossip streams that members open to f, which closes them; it may return before. Before Run.
func (n *Net) OnGossip(f func(c net.Conn, from cluster.PeerID)) { n.onGossip = f }

// Listen opens the port before Run would, so that a port of 0 is known early. It returns Addr.
func (n *Net) Listen(addr string) (string, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", ListenError("--listen", addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ln != nil || n.ended {
		ln.Close()
		return "", fault.New("listen", fault.Exist, "listening already, or stopped")
	}
	n.ln = ln
	return ln.Addr().String(), nil
}

// Addr returns the address of Listen, "" before.
func (n *Net) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ln == nil {
		return ""
	}
	return n.ln.Addr().String()
}

// Run serves until ctx ends. An error means that the port could not be opened or was lost.
func (n *Net) Run(ctx context.Context) error {
	if n.Addr() == "" {
		if _, err := n.Listen(n.o.Listen); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	if n.ctx != nil || n.ended {
		n.mu.Unlock()
		return fault.New("run", fault.Closed, "a Net runs once")
	}
	n.ctx = ctx
	close(n.begun)
	ln := n.ln
	n.mu.Unlock()

	n.own(func() { n.watch(ctx) })
	n.own(func() { n.serveSelf(ctx) })
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := n.accept(ctx, ln)

	n.mu.Lock()
	n.ctx, n.ended = nil, true
	n.mu.Unlock()
	cancel()
	ln.Close()
	n.wg.Wait()
	return err
}

// own runs f in a goroutine that Run waits for. It reports false, and does nothing, when Run is not running.
func (n *Net) own(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx == nil {
		return false
	}
	n.wg.Go(f)
	return true
}

// running returns Run's context, or why there is none.
func (n *Net) running() (context.Context, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.ended:
		return nil, fault.New("transport", fault.Closed, "stopped")
	case n.ctx == nil:
		return nil, fault.New("transport", fault.Unreachable, "not running yet")
	}
	return n.ctx, nil
}

func (n *Net) handler(k wire.Kind) Handler {
	for _, r := range n.routes {
		if r.lo <= k && k <= r.hi {
			return r.h
		}
	}
	return nil
}

// Recheck closes every connection with a peer that Allowed denies now.
func (n *Net) Recheck() {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	var streams []*stream
	for _, s := range n.gossip {
		streams = append(streams, s...)
	}
	n.mu.Unlock()
	for _, c := range conns {
		if !n.o.Allowed(c.peer) {
			c.close(fault.New("link", fault.Refused, "%v is no member any more", c.peer.Short()))
		}
	}
	for _, s := range streams {
		if !n.o.Allowed(s.peer) {
			s.cut()
		}
	}
}

// RTT returns the smoothed round trip of the control link to a peer.
func (n *Net) RTT(to cluster.PeerID) time.Duration {
	l := n.known(to)
	if l == nil {
		return 0
	}
	return time.Duration(l.rtt.Load())
}

// clock returns the time since New, never 0.
func (n *Net) clock() int64 { return int64(time.Since(n.epoch)) + 1 }

// add registers a running connection; false when the Net is closing.
func (n *Net) add(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx == nil {
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *Net) remove(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	if c.dialled {
		return
	}
	rest := slices.DeleteFunc(n.inbound[c.peer], func(other *conn) bool { return other == c })
	if n.inbound[c.peer] = rest; len(rest) == 0 {
		delete(n.inbound, c.peer)
	}
	if n.control[c.peer] == c {
		delete(n.control, c.peer)
	}
}
