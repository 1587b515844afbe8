package peer

import (
	"net"
	"slices"
)

// crowd is the accepted connections whose other end is not known yet, oldest first: at most strangersMax, at most
// strangersAddr from one address. A handshake takes milliseconds, so the oldest are those that mean nothing good: where there
// are too many, an old one makes room for the new one, and a member gets in however many just sit there.
type crowd []*stranger

type stranger struct {
	conn net.Conn
	host string
}

// enter adds s and returns who has to go for it; nil nobody.
func (c *crowd) enter(s *stranger) (out *stranger) {
	switch {
	case c.count(s.host) >= strangersAddr:
		out = c.oldest(s.host)
	case len(*c) >= strangersMax:
		out = c.oldest(c.loudest())
	}
	c.leave(out)
	*c = append(*c, s)
	return out
}

// leave takes s out if it is in.
func (c *crowd) leave(s *stranger) {
	if i := slices.Index(*c, s); i >= 0 {
		*c = slices.Delete(*c, i, i+1)
	}
}

func (c crowd) count(host string) (n int) {
	for _, s := range c {
		if s.host == host {
			n++
		}
	}
	return n
}

func (c crowd) oldest(host string) *stranger {
	for _, s := range c {
		if s.host == host {
			return s
		}
	}
	return nil
}

// loudest returns the address with the most connections.
func (c crowd) loudest() (host string) {
	counts := map[string]int{}
	for _, s := range c {
		if counts[s.host]++; counts[s.host] > counts[host] {
			host = s.host
		}
	}
	return host
}
