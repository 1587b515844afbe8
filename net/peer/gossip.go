package peer

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// stream is a gossip connection. Its user owns it; Run's end, Recheck and too many others close it.
type stream struct {
	net.Conn
	net  *Net
	peer cluster.PeerID
	once sync.Once
	stop func() bool
}

// DialGossip opens a gossip stream to a peer.
func (n *Net) DialGossip(ctx context.Context, to cluster.PeerID) (net.Conn, error) {
	addr, ok := n.o.Addrs(to)
	if !ok {
		return nil, fault.New("dial gossip", fault.Unreachable, "%s: no address is known", to.Short())
	}
	c, _, err := n.dialGossip(ctx, addr, to)
	return c, err
}

// DialGossipAddr opens a gossip stream to whichever member listens at addr, and says which.
func (n *Net) DialGossipAddr(ctx context.Context, addr string) (net.Conn, cluster.PeerID, error) {
	return n.dialGossip(ctx, addr, cluster.PeerID{})
}

func (n *Net) dialGossip(ctx context.Context, addr string, want cluster.PeerID) (net.Conn, cluster.PeerID, error) {
	ctx, cancel := context.WithTimeout(ctx, n.o.Handshake)
	defer cancel()
	secure, _, err := n.dial(ctx, addr, protoGossip, want)
	if err != nil {
		return nil, want, fault.Because("dial gossip", fault.Unreachable, err)
	}
	id, err := n.identify(secure.ConnectionState().PeerCertificates)
	if err == nil {
		var s *stream
		if s, err = n.newStream(secure, id); err == nil {
			return s, id, nil
		}
	}
	secure.NetConn().Close()
	return nil, id, err
}

// newStream registers a stream; too many with one peer cost the oldest.
func (n *Net) newStream(c *tls.Conn, id cluster.PeerID) (*stream, error) {
	s := &stream{Conn: c, net: n, peer: id}
	var oldest *stream
	n.mu.Lock()
	if n.ctx == nil {
		n.mu.Unlock()
		return nil, fault.New("gossip stream", fault.Closed, "transport stopped")
	}
	s.stop = context.AfterFunc(n.ctx, s.cut)
	n.gossip[id] = append(n.gossip[id], s)
	if len(n.gossip[id]) > gossipPerPeer {
		oldest = n.gossip[id][0]
	}
	n.mu.Unlock()
	if oldest != nil {
		oldest.cut()
	}
	return s, nil
}

// Close says goodbye, for which it waits no longer than TLS allows, and closes the stream.
func (s *stream) Close() error { return s.end(s.Conn.Close) }

// cut closes the stream at once.
func (s *stream) cut() { s.end(s.Conn.(*tls.Conn).NetConn().Close) }

func (s *stream) end(close func() error) error {
	err := net.ErrClosed
	s.once.Do(func() {
		s.stop()
		n := s.net
		n.mu.Lock()
		rest := slices.DeleteFunc(n.gossip[s.peer], func(other *stream) bool { return other == s })
		if n.gossip[s.peer] = rest; len(rest) == 0 {
			delete(n.gossip, s.peer)
		}
		n.mu.Unlock()
		err = close()
	})
	return err
}
