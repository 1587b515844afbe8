package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"dfs/cluster"
	"dfs/cluster/fault"
)

const (
	packetMax   = 4 << 10 // memberlist makes none above 1400 bytes and what encryption adds; larger ones are garbage
	packetQueue = 256     // packets waiting for memberlist; more are dropped, as UDP may
	streamQueue = 16      // streams waiting for memberlist; more are closed
	nameTTL     = time.Minute
)

// transport carries memberlist's packets and streams. memberlist sees peers under made-up addresses; their names are
// what counts.
type transport struct {
	self    cluster.PeerID
	packets net.PacketConn
	addrs   func(cluster.PeerID) []string
	dial    func(context.Context, cluster.PeerID) (net.Conn, error)
	in      chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{} // closed by Shutdown
	once    sync.Once
	reading sync.WaitGroup

	mu    sync.Mutex // guards what follows
	ctx   context.Context
	names map[string]resolved // of addresses with a host's name
}

type resolved struct {
	addr  netip.AddrPort
	until time.Time
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(self cluster.PeerID, packets net.PacketConn, addrs func(cluster.PeerID) []string, dial func(context.Context, cluster.PeerID) (net.Conn, error)) *transport {
	return &transport{
		self: self, packets: packets, addrs: addrs, dial: dial, ctx: context.Background(), names: map[string]resolved{},
		in: make(chan *memberlist.Packet, packetQueue), streams: make(chan net.Conn, streamQueue), done: make(chan struct{}),
	}
}

// start begins to receive; dials end with ctx.
func (t *transport) start(ctx context.Context) {
	t.mu.Lock()
	t.ctx = ctx
	t.mu.Unlock()
	t.reading.Go(t.receive)
}

func (t *transport) receive() {
	b := make([]byte, packetMax)
	for {
		n, from, err := t.packets.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // what some host said of an earlier packet, or the kernel being short of memory
			select {
			case <-t.done:
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if n == packetMax {
			continue
		}
		select {
		case t.in <- &memberlist.Packet{Buf: slices.Clone(b[:n]), From: from, Timestamp: time.Now()}:
		default:
		}
	}
}

// accept hands a stream to memberlist, or closes it.
func (t *transport) accept(conn net.Conn) {
	select {
	case t.streams <- conn:
	default:
		conn.Close()
	}
	select {
	case <-t.done:
		t.drain()
	default:
	}
}

// drain closes the streams that memberlist has not taken.
func (t *transport) drain() {
	for {
		select {
		case conn := <-t.streams:
			conn.Close()
		default:
			return
		}
	}
}

// Shutdown closes the socket and every stream that memberlist has not taken.
func (t *transport) Shutdown() error {
	t.once.Do(func() {
		close(t.done)
		t.packets.Close()
	})
	t.reading.Wait()
	t.drain()
	return nil
}

// FinalAdvertiseAddr returns the address memberlist tells the others: one made from the id.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return madeUp(t.self), 1, nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.in }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// WriteToAddress sends b to every address that the peer may have: hints and book can differ after a move, and a
// packet too many harms nobody.
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	id, err := cluster.ParsePeerID(to.Name)
	if err != nil {
		return time.Time{}, err
	}
	err = fault.New("gossip send", fault.Unreachable, "%s: no address is known", id.Short())
	for _, text := range t.addrs(id) {
		addr, e := t.resolve(text)
		if e == nil {
			_, e = t.packets.WriteTo(b, net.UDPAddrFromAddrPort(addr))
		}
		if e == nil {
			err = nil
		} else if err != nil {
			err = fault.Because("gossip send to "+id.Short(), fault.Unreachable, e)
		}
	}
	return time.Now(), err
}

// DialAddressTimeout opens a stream to the peer.
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	id, err := cluster.ParsePeerID(to.Name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	ctx := t.ctx
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return t.dial(ctx, id)
}

// WriteTo and DialTimeout are for nodes without names; ours all have one.
func (t *transport) WriteTo(_ []byte, addr string) (time.Time, error) {
	return time.Time{}, fault.New("gossip send", fault.Unsupported, "to %s, without an id", addr)
}

func (t *transport) DialTimeout(addr string, _ time.Duration) (net.Conn, error) {
	return nil, fault.New("gossip dial", fault.Unsupported, "%s, without an id", addr)
}

// resolve returns the address that text means. Names are looked up once a minute.
func (t *transport) resolve(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return addr, nil
	}
	now := time.Now()
	t.mu.Lock()
	known, ok := t.names[text]
	t.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.addr, nil
	}
	udp, err := net.ResolveUDPAddr("udp", text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr := udp.AddrPort()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) > 1000 {
		clear(t.names)
	}
	t.names[text] = resolved{netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), now.Add(nameTTL)}
	return t.names[text].addr, nil
}

// addrs returns where a peer may be: where it says, and where the book says.
func (g *Gossip) addrs(id cluster.PeerID) []string {
	var addrs []string
	g.mu.Lock()
	if h := g.heard[id]; h != nil && h.report.Addr != "" {
		addrs = append(addrs, h.report.Addr)
	}
	g.mu.Unlock()
	if addr, ok := g.o.Addr(id); ok && !slices.Contains(addrs, addr) {
		addrs = append(addrs, addr)
	}
	return addrs
}

// madeUp returns an address that nobody has: an IPv6 unique local one with most of the id in it.
func madeUp(id cluster.PeerID) net.IP { return append(net.IP{0xfd}, id[:15]...) }

// joinName is how memberlist's Join wants a node's name and address.
func joinName(id cluster.PeerID) string {
	return id.String() + "/" + net.JoinHostPort(madeUp(id).String(), "1")
}
