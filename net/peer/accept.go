package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"dfs/cluster/fault"
)

// accept takes connections until the listener is closed.
func (n *Net) accept(ctx context.Context, ln net.Listener) error {
	config := n.serverTLS()
	for {
		raw, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fault.Because("accept", fault.Closed, err)
			}
			// Out of descriptors, or the caller gave up: neither is a reason to stop.
			n.o.Log.Warn("accept", "err", err)
			select {
			case <-time.After(n.o.BackoffMin):
			case <-ctx.Done():
			}
			continue
		}
		number := n.accepted.Add(1)
		s := &stranger{conn: raw, host: hostOf(raw.RemoteAddr())}
		n.enter(s)
		if !n.own(func() { n.welcome(ctx, s, config, number) }) {
			n.leave(s)
			raw.Close()
		}
	}
}

// welcome does the handshake, then what the protocol says.
func (n *Net) welcome(ctx context.Context, s *stranger, config *tls.Config, number uint64) {
	defer n.leave(s)
	raw := s.conn
	w := n.watched(raw)
	secure := tls.Server(w, config)
	hctx, cancel := context.WithTimeout(ctx, n.o.Handshake)
	err := secure.HandshakeContext(hctx)
	cancel()
	if err != nil {
		raw.Close()
		n.o.Log.Debug("handshake refused", "from", raw.RemoteAddr().String(), "err", err)
		return
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == JoinProtocol {
		n.join(ctx, secure)
		return
	}
	id, err := n.identify(state.PeerCertificates)
	if err != nil { // not a member any more, since a moment
		raw.Close()
		return
	}
	n.leave(s)
	if state.NegotiatedProtocol == protoGossip {
		s, err := n.newStream(secure, id)
		if err != nil || n.onGossip == nil {
			raw.Close()
			return
		}
		n.onGossip(s, id)
		return
	}
	c := newConn(n, secure, w, id, state.NegotiatedProtocol == protoBulk, false)
	c.number = number
	if n.admit(c) {
		if l := n.known(id); l != nil {
			l.control.hear()
		}
		c.run(ctx)
	} else {
		raw.Close()
	}
}

// join gives a connection without a certificate to the admission handler, for a limited time.
func (n *Net) join(ctx context.Context, c *tls.Conn) {
	ctx, cancel := context.WithTimeout(ctx, n.o.JoinTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.NetConn().Close() })
	defer stop()
	n.onJoin(ctx, c)
	c.SetDeadline(time.Now().Add(time.Second)) // bounds what Close still sends
	c.Close()
}

// admit registers an accepted connection. A control connection takes the place of the sender's earlier one, whose
// notices are then all handled or dropped before the first of this one; connections are numbered in the order in
// which they were accepted, which is the order of the dials, so a late handshake of an old one is recognized.
func (n *Net) admit(c *conn) bool {
	var close []*conn
	n.mu.Lock()
	ok := n.ctx != nil
	if ok && !c.bulk {
		if ok = n.newest[c.peer] < c.number; ok {
			if old := n.control[c.peer]; old != nil {
				close = append(close, old)
				c.after = old.noticesDone
			}
			n.control[c.peer], n.newest[c.peer] = c, c.number
		}
	}
	if ok {
		n.conns[c] = struct{}{}
		n.inbound[c.peer] = append(n.inbound[c.peer], c)
		if all := n.inbound[c.peer]; len(all) > connsPerPeer {
			close = append(close, all[:len(all)-connsPerPeer]...)
		}
	}
	n.mu.Unlock()
	for _, old := range close {
		old.close(fault.New("link", fault.Closed, "replaced by a newer connection"))
	}
	return ok
}

// enter counts a connection whose other end is not known yet, and closes another if these are too many.
func (n *Net) enter(s *stranger) {
	n.mu.Lock()
	out := n.strangers.enter(s)
	n.mu.Unlock()
	if out != nil {
		out.conn.Close() // its welcome sees it
	}
}

// leave is called when s is known, or gone.
func (n *Net) leave(s *stranger) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.strangers.leave(s)
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}
