package discover

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// Network is one IPv4 network that this machine is on.
type Network struct {
	Addr      netip.Addr // ours in it
	Broadcast netip.Addr // the last of it; not valid if it has none
}

// Interfaces returns the IPv4 networks of all interfaces that are up, loopback included: peers may share a machine.
func Interfaces() []Network {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var networks []Network
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			ipnet, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			if n, ok := networkOf(ipnet); ok {
				networks = append(networks, n)
			}
		}
	}
	return networks
}

// networkOf returns the network of an interface's address, false unless it is IPv4. (The limited broadcast
// 255.255.255.255 would need a default route; a network's own works without.)
func networkOf(n *net.IPNet) (Network, bool) {
	addr, ok := netip.AddrFromSlice(n.IP)
	if addr = addr.Unmap(); !ok || !addr.Is4() {
		return Network{}, false
	}
	network := Network{Addr: addr}
	ones, bits := n.Mask.Size()
	if bits != 32 || ones > 30 { // two addresses or one: nobody to broadcast to
		return network, true
	}
	last := addr.As4()
	for i := range last {
		last[i] |= ^n.Mask[i]
	}
	network.Broadcast = netip.AddrFrom4(last)
	return network, true
}

// listen opens the port for beacons, sharing it with the machine's other listeners.
func listen(ctx context.Context, port uint16) (*net.UDPConn, error) {
	conn, err := config(shared).ListenPacket(ctx, "udp4", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// join makes conn hear the group on the interface that has addr. Where it cannot, there is still broadcast.
func join(conn *net.UDPConn, addr netip.Addr) {
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { joinGroup(fd, group.As4(), addr.As4()) })
	}
}

// from opens a socket that sends, multicast included, by the interface that has addr.
func from(ctx context.Context, addr netip.Addr) (net.PacketConn, error) {
	via := func(fd uintptr) error { return multicastVia(fd, addr.As4()) }
	return config(via).ListenPacket(ctx, "udp4", netip.AddrPortFrom(addr, 0).String())
}

// config makes sockets that set prepares before they are bound.
func config(set func(fd uintptr) error) *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = set(fd) }); err != nil {
			return err
		}
		return failed
	}}
}
