package discover

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/netip"
	"strconv"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// Beacon is what one packet says.
type Beacon struct {
	Cluster [16]byte       // the cluster's id
	Peer    cluster.PeerID // not zero
	Addr    string         // of its transport: an IP address and a port; never a name, which strangers could make us look up
}

// A packet is magic, format, cluster, peer, the address as text with its length before it, and a CRC-32C of all that
// as four bytes, big endian. The CRC tells beacons from other users of the port; it protects against nobody.
const (
	magic     = "dfsb"
	format    = 1
	headBytes = len(magic) + 1 + 16 + len(cluster.PeerID{}) + 1
	addrMax   = 64 // bytes of an address as text
	packetMax = headBytes + addrMax + crc32.Size
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends b's packet. An address longer than any IP address is cut, and the packet refused by its readers.
func (b Beacon) Append(p []byte) []byte {
	start := len(p)
	p = append(append(p, magic...), format)
	p = append(append(p, b.Cluster[:]...), b.Peer[:]...)
	addr := b.Addr[:min(len(b.Addr), addrMax)]
	p = append(append(p, byte(len(addr))), addr...)
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p[start:], castagnoli))
}

// Decode reads a packet that came from source, which takes the place of a missing or unspecified host. Anything
// but a whole beacon with an IP address and a port is fault.Invalid.
func Decode(p []byte, source netip.Addr) (Beacon, error) {
	bad := func(what string) (Beacon, error) {
		return Beacon{}, fault.New("beacon", fault.Invalid, "from %s: %s", source, what)
	}
	if len(p) < headBytes+crc32.Size || string(p[:len(magic)]) != magic {
		return bad("not a beacon")
	}
	body, sum := p[:len(p)-crc32.Size], binary.BigEndian.Uint32(p[len(p)-crc32.Size:])
	if crc32.Checksum(body, castagnoli) != sum {
		return bad("damaged")
	}
	if body[len(magic)] != format {
		return bad("of another format")
	}
	var b Beacon
	at := len(magic) + 1
	at += copy(b.Cluster[:], body[at:])
	at += copy(b.Peer[:], body[at:])
	if n := int(body[at]); n > addrMax || n != len(body)-headBytes || b.Peer.IsZero() {
		return bad("malformed")
	}
	addr, err := address(string(body[headBytes:]), source)
	if err != nil {
		return bad(err.Error())
	}
	b.Addr = addr.String()
	return b, nil
}

// address reads HOST:PORT, with source for a host that is missing or unspecified.
func address(text string, source netip.Addr) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fault.New("beacon", fault.Invalid, "port %q", portText)
	}
	addr := source
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	if addr.IsUnspecified() {
		addr = source
	}
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.AddrPort{}, fault.New("beacon", fault.Invalid, "host %s", addr)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}
