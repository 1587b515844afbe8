package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// link is what this side dials to one peer: a pipe for control, and some for bulk.
type link struct {
	control pipe
	bulk    [bulkConns]pipe
	turn    atomic.Uint32 // which bulk pipe is next
	rtt     atomic.Int64  // nanoseconds, smoothed
}

// pipe keeps one connection to a peer: dialled when somebody wants it, again after it broke, not while backing off.
type pipe struct {
	net  *Net
	peer cluster.PeerID
	link *link
	lead *pipe // a bulk pipe's control pipe, whose pings speak for both; nil for the control pipe

	mu     sync.Mutex
	conn   *conn         // the newest; may have ended
	dial   chan struct{} // closed when the dial in progress is over; nil when there is none
	began  int64         // when that began; clock
	fails  int           // dials, or deaths by silence, in a row
	after  int64         // no dial before; clock
	failed error         // the last failure
}

// link returns the link to a peer, making it.
func (n *Net) link(to cluster.PeerID) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.links[to]
	if l == nil {
		l = &link{}
		l.control = pipe{net: n, peer: to, link: l}
		for i := range l.bulk {
			l.bulk[i] = pipe{net: n, peer: to, link: l, lead: &l.control}
		}
		n.links[to] = l
	}
	return l
}

// known returns the link to a peer, or nil.
func (n *Net) known(id cluster.PeerID) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[id]
}

// LinkState is what is known of the control link to one peer.
type LinkState struct {
	Peer  cluster.PeerID
	Up    bool
	RTT   time.Duration // smoothed; zero when never measured
	Fails int           // dials that failed since it was last up
	Err   error         // why the last one failed; nil when up

	Refused bool // the last one failed because the peer does not take this one for a member
}

// refused reports whether the other side has refused our certificate: an alert of TLS, as the standard library reports it.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate")
}

// Links returns the state of every link that was ever wanted, by id.
func (n *Net) Links() []LinkState {
	n.mu.Lock()
	all := make([]*link, 0, len(n.links))
	for _, l := range n.links {
		all = append(all, l)
	}
	n.mu.Unlock()
	states := make([]LinkState, 0, len(all))
	for _, l := range all {
		p := &l.control
		p.mu.Lock()
		s := LinkState{Peer: p.peer, RTT: time.Duration(l.rtt.Load()), Fails: p.fails, Err: p.failed}
		s.Up = p.conn != nil && p.conn.ctx.Err() == nil
		p.mu.Unlock()
		s.Refused = !s.Up && refused(s.Err)
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b LinkState) int { return a.Peer.Compare(b.Peer) })
	return states
}

// pipe returns the pipe for a call.
func (l *link) pipe(bulk bool) *pipe {
	if !bulk {
		return &l.control
	}
	return &l.bulk[l.turn.Add(1)%bulkConns]
}

// get returns a live connection. It waits for a dial, for a short time only if the one before failed, and fails at
// once while backing off.
func (p *pipe) get(ctx context.Context) (*conn, error) {
	if p.lead != nil {
		if _, err := p.lead.get(ctx); err != nil {
			return nil, err
		}
	}
	c, dial, again, err := p.look()
	if c != nil || err != nil {
		return c, err
	}
	var limit <-chan time.Time
	if again {
		timer := time.NewTimer(redialWait)
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case <-dial:
	case <-limit:
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.conn != nil && p.conn.ctx.Err() == nil:
		return p.conn, nil
	case p.failed != nil:
		return nil, unreachable(p.peer, p.failed)
	}
	return nil, unreachable(p.peer, context.Cause(p.conn.ctx))
}

// look returns the live connection, or the dial to wait for and whether it follows a failed one, or an error.
func (p *pipe) look() (c *conn, dial <-chan struct{}, again bool, err error) {
	ctx, err := p.net.running()
	if err != nil {
		return nil, nil, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil && p.conn.ctx.Err() == nil {
		return p.conn, nil, false, nil
	}
	if p.dial == nil {
		if p.net.clock() < p.after {
			return nil, nil, false, unreachable(p.peer, p.failed)
		}
		done := make(chan struct{})
		if !p.net.own(func() { p.connect(ctx, done) }) {
			return nil, nil, false, fault.New("transport", fault.Closed, "stopped")
		}
		p.dial, p.began = done, p.net.clock()
	}
	return nil, p.dial, p.fails > 0, nil
}

// peek returns the live connection or nil, starting a dial where get would.
func (p *pipe) peek() *conn {
	c, _, _, _ := p.look()
	return c
}

// connect dials once, tells those who wait, and runs the connection.
func (p *pipe) connect(ctx context.Context, done chan struct{}) {
	hctx, cancel := context.WithTimeout(ctx, p.net.o.Handshake)
	c, err := p.handshake(hctx)
	if err == nil {
		// A certificate is refused after our side of the handshake: only the first answer proves that we are in.
		up := make(chan struct{})
		c.pong = p.measure(sync.OnceFunc(func() { close(up) }))
		if !p.net.own(func() { c.run(ctx); p.lost(c) }) {
			c.close(fault.New("link", fault.Closed, "transport stopped"))
			err = context.Cause(c.ctx)
		} else {
			c.ping()
			select {
			case <-up:
			case <-c.ctx.Done():
				err = context.Cause(c.ctx)
			case <-hctx.Done():
				err = fault.New("link", fault.Timeout, "no answer to the first ping")
				c.close(err)
			}
		}
	}
	cancel()

	p.mu.Lock()
	if err == nil {
		p.conn, p.fails, p.failed = c, 0, nil
	} else {
		p.conn = nil
		p.backOff(err)
	}
	p.dial = nil
	p.mu.Unlock()
	close(done)
	if err != nil {
		p.net.o.Log.Debug("dial failed", "peer", p.peer.Short(), "err", err)
	}
}

func (p *pipe) backOff(err error) { // with mu held
	p.fails++
	p.failed = err
	p.after = p.net.clock() + int64(p.net.o.backoff(p.fails))
}

// lost notes how a connection ended. One that fell silent counts as a failed dial: the next one would hang as well.
func (p *pipe) lost(c *conn) {
	if !silent(context.Cause(c.ctx)) {
		return
	}
	p.mu.Lock()
	if p.conn == c {
		p.backOff(context.Cause(c.ctx))
	}
	p.mu.Unlock()
	for i := range p.link.bulk {
		p.link.bulk[i].cut(context.Cause(c.ctx))
	}
}

// hear ends the back-off: the peer has just shown that it is alive.
func (p *pipe) hear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = 0
}

// cut ends a bulk connection whose control connection died.
func (p *pipe) cut(err error) {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	if c != nil {
		c.close(err)
	}
}

// handshake connects, with TLS and both certificates.
func (p *pipe) handshake(ctx context.Context) (*conn, error) {
	addr, ok := p.net.o.Addrs(p.peer)
	if !ok {
		return nil, fault.New("dial", fault.Unreachable, "no address is known")
	}
	proto := protoControl
	if p.lead != nil {
		proto = protoBulk
	}
	secure, w, err := p.net.dial(ctx, addr, proto, p.peer)
	if err != nil {
		return nil, err
	}
	c := newConn(p.net, secure, w, p.peer, p.lead != nil, true)
	if !p.net.add(c) {
		w.Conn.Close()
		return nil, fault.New("dial", fault.Closed, "transport stopped")
	}
	return c, nil
}

// dial opens a connection to addr for one protocol and expects one peer there; the zero id accepts any member.
func (n *Net) dial(ctx context.Context, addr, proto string, want cluster.PeerID) (*tls.Conn, *watched, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	w := n.watched(raw)
	secure := tls.Client(w, n.clientTLS(proto, want))
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return secure, w, nil
}

// measure returns what is done with the answer to a ping sent at some clock time.
func (p *pipe) measure(first func()) func(sent int64) {
	return func(sent int64) {
		if p.lead == nil {
			took := max(p.net.clock()-sent, 1)
			if old := p.link.rtt.Load(); old != 0 {
				took = max(old+(took-old)/8, 1)
			}
			p.link.rtt.Store(took)
		}
		first()
	}
}

// unreachable is the error of a call that found no link. The cause is text: its kind is the link's, not the call's.
func unreachable(peer cluster.PeerID, cause error) error {
	return fault.New("call", fault.Unreachable, "%s: %v", peer.Short(), cause)
}
