package discover

import "golang.org/x/sys/windows"

// shared lets several sockets hear the same port.
func shared(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
}

func joinGroup(fd uintptr, group, via [4]byte) error {
	return windows.SetsockoptIPMreq(windows.Handle(fd), windows.IPPROTO_IP, windows.IP_ADD_MEMBERSHIP, &windows.IPMreq{Multiaddr: group, Interface: via})
}

func multicastVia(fd uintptr, addr [4]byte) error {
	return windows.SetsockoptInet4Addr(windows.Handle(fd), windows.IPPROTO_IP, windows.IP_MULTICAST_IF, addr)
}
