// Package discover tells the local network where this peer is, and hears where others are.
//
// A beacon is one UDP packet with three facts and nothing else: the cluster's id, the peer's id, its address. It goes
// out every five seconds on every interface with an IPv4 address, by broadcast and by multicast, because networks
// drop one or the other. What is heard is a hint that anybody may have forged: it may be tried, and must not be
// believed before the peer has proved its identity on a link. The work that strangers can cause is bounded.
package discover

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"dfs/cluster/fault"
)

// Port is the default port of beacons.
const Port = 9050

// group is the multicast group of beacons, from the range that stays within an organization.
var group = netip.AddrFrom4([4]byte{239, 192, 90, 50})

// Options are what a Discover is given. The zero value listens on the default port and sends nothing.
type Options struct {
	Beacon   Beacon           // of this peer; with a zero Peer none is sent. An Addr without a host means "where it came from"
	Off      bool             // neither send nor listen
	Port     uint16           // default Port
	Every    time.Duration    // between two beacons; default 5 s
	OnBeacon func(Beacon)     // called for each beacon heard, ours excepted; must be quick
	Networks func() []Network // where to send; default Interfaces
	Log      *slog.Logger     // default discards
}

// Counts say what has happened since the start, for the doctor: beacons that go out while none come in mean a
// network, or a firewall, that drops them.
type Counts struct {
	Sent    uint64 // packets that the kernel took
	Failed  uint64 // packets that it did not
	Heard   uint64 // beacons of others, passed on
	Own     uint64 // our own, come back
	Dropped uint64 // repeated, too many, or not beacons
}

// Discover sends and hears beacons.
type Discover struct {
	o      Options
	filter filter

	mu     sync.Mutex // guards what follows
	beacon Beacon

	sent, failed, heard, own, dropped atomic.Uint64
}

// New returns a Discover; Run does the work.
func New(o Options) *Discover {
	if o.Port == 0 {
		o.Port = Port
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.OnBeacon == nil {
		o.OnBeacon = func(Beacon) {}
	}
	if o.Networks == nil {
		o.Networks = Interfaces
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Discover{o: o, beacon: o.Beacon}
}

// SetBeacon changes what is sent from the next beacon on.
func (d *Discover) SetBeacon(b Beacon) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beacon = b
}

// Counts returns what has happened so far.
func (d *Discover) Counts() Counts {
	return Counts{d.sent.Load(), d.failed.Load(), d.heard.Load(), d.own.Load(), d.dropped.Load()}
}

// Run sends and listens until ctx ends. Several processes of one machine may run at once. An error says that the
// port cannot be had; the caller can do without beacons.
func (d *Discover) Run(ctx context.Context) error {
	if d.o.Off {
		<-ctx.Done()
		return nil
	}
	conn, err := listen(ctx, d.o.Port)
	if err != nil {
		return fault.Because("discover", fault.Busy, err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	wg.Go(func() { d.listen(ctx, conn) })
	tick := time.NewTicker(d.o.Every)
	defer tick.Stop()
	for {
		networks := d.o.Networks()
		for _, n := range networks {
			join(conn, n.Addr) // again each time: interfaces come and go, and twice is no harm
		}
		d.send(ctx, networks)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// send sends one beacon to each network.
func (d *Discover) send(ctx context.Context, networks []Network) {
	d.mu.Lock()
	beacon := d.beacon
	d.mu.Unlock()
	if beacon.Peer.IsZero() {
		return
	}
	packet := beacon.Append(nil)
	for _, n := range networks {
		conn, err := from(ctx, n.Addr)
		if err != nil {
			d.failed.Add(1)
			continue
		}
		for _, to := range []netip.Addr{n.Broadcast, group} {
			if !to.IsValid() {
				continue
			}
			if _, err := conn.WriteTo(packet, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, d.o.Port))); err != nil {
				d.failed.Add(1)
			} else {
				d.sent.Add(1)
			}
		}
		conn.Close()
	}
}

// listen passes on beacons until conn is closed.
func (d *Discover) listen(ctx context.Context, conn *net.UDPConn) {
	b := make([]byte, packetMax+1)
	for {
		n, source, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // of some packet; should it be the socket, there is no hurry
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		d.packet(b[:n], source.Addr().Unmap(), time.Now())
	}
}

// packet handles one packet from source.
func (d *Discover) packet(b []byte, source netip.Addr, now time.Time) {
	if !d.filter.spend(now) {
		d.dropped.Add(1)
		return
	}
	beacon, err := Decode(b, source)
	if err != nil {
		d.dropped.Add(1)
		return
	}
	d.mu.Lock()
	self := d.beacon.Peer
	d.mu.Unlock()
	switch {
	case beacon.Peer == self:
		d.own.Add(1)
	case !d.filter.fresh(beacon, now):
		d.dropped.Add(1)
	default:
		d.heard.Add(1)
		d.o.OnBeacon(beacon)
	}
}
