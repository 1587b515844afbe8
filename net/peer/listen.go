package peer

import (
	"errors"
	"net"
	"syscall"

	"dfs/cluster/fault"
)

// ListenError gives the failure to listen on addr, which the setting flag asked for, its kind and its advice. fault.Busy: another
// program listens there. fault.Invalid: no address of this machine. fault.Permission.
func ListenError(flag, addr string, err error) error {
	if err == nil {
		return nil
	}
	host, _, _ := net.SplitHostPort(addr)
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &dns):
		return fault.Advise(fault.New("listen", fault.Invalid, "%s %s is no address of this machine", flag, addr),
			"%s :PORT for all of its addresses, or one that `ip address` shows", flag)
	case errors.Is(err, syscall.EACCES):
		return fault.Advise(fault.New("listen", fault.Permission, "%s %s: this user may not listen there", flag, addr),
			"choose another %s, with a port above 1023", flag)
	}
	return fault.Advise(fault.New("listen", fault.Busy, "%s %s: another program listens there (%v)", flag, addr, cause(err)),
		"choose another port, for instance %s %s", flag, net.JoinHostPort(host, "0"))
}

// cause is the system's word alone.
func cause(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}
