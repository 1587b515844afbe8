//go:build unix

package discover

import "golang.org/x/sys/unix"

// shared lets several sockets hear the same port.
func shared(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

func joinGroup(fd uintptr, group, via [4]byte) error {
	return unix.SetsockoptIPMreq(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: via})
}

func multicastVia(fd uintptr, addr [4]byte) error {
	return unix.SetsockoptInet4Addr(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, addr)
}
