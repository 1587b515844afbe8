package node

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/net/peer"
)

type conn = net.Conn

func wall() time.Time { return time.Now() }

// identify finds out who this peer is, joining or creating a cluster if it is nobody yet, and listens. It returns the
// members it was told of.
func (n *Node) identify(ctx context.Context) ([]cluster.Member, error) {
	dir := n.dir("identity")
	if err := n.hasLeft(); err != nil {
		return nil, err
	}
	id, err := identity.Load(dir, nil)
	switch {
	case err == nil:
		if n.cfg.Token != "" {
			if err := n.sameCluster(id); err != nil {
				return nil, err
			}
		}
		n.id = id
		return nil, n.listen()
	case !errors.Is(err, fault.NotExist):
		return nil, err
	}
	if err := n.unborn(); err != nil {
		return nil, err
	}
	var token identity.Token
	if n.cfg.Token != "" {
		if token, err = identity.ParseToken(n.cfg.Token); err != nil {
			return nil, err
		}
	}
	if n.cfg.Listen, err = freeAddr(n.cfg.Listen); err != nil {
		return nil, err
	}
	key, err := identity.Key(dir)
	if err != nil {
		return nil, err
	}
	if n.cfg.Token == "" {
		if n.id, n.ca, err = identity.Create(key, nil); err != nil {
			return nil, err
		}
		return nil, n.listen()
	}
	var reply identity.JoinReply
	n.id, reply, err = identity.Join(ctx, token, key, identity.JoinRequest{
		Name: n.name(), Addr: n.advertised(n.cfg.Listen), Zone: n.cfg.Zone, Host: hostID(), Capacity: n.cfg.Capacity,
	}, identity.JoinOptions{})
	if err != nil {
		return nil, err
	}
	if err := n.id.Save(dir); err != nil {
		return nil, err
	}
	n.log.Info("joined", "cluster", n.id.Name, "as", reply.Self.Name, "members", len(reply.Members))
	return reply.Members, n.listen()
}

// sameCluster refuses a token of a cluster other than the one this peer belongs to.
func (n *Node) sameCluster(id *identity.Identity) error {
	t, err := identity.ParseToken(n.cfg.Token)
	if err != nil {
		return err
	}
	if t.Cluster != id.Cluster {
		return fault.New("join", fault.Conflict,
			"%s belongs to cluster %s already, and the token is for %s: use another --data, or leave first (dfsd leave)",
			n.cfg.Data, id.Name, t.Cluster.Name())
	}
	return nil
}

func (n *Node) listen() (err error) {
	if n.cfg.Listen, err = freeAddr(n.cfg.Listen); err != nil {
		return err
	}
	n.net = peer.New(peer.Options{
		Identity: n.id,
		Addrs:    func(id cluster.PeerID) (string, bool) { return n.roster.addr(id) },
		Allowed:  func(id cluster.PeerID) bool { return n.roster.isMember(id) },
		Log:      n.log,
	})
	addr, err := n.net.Listen(n.cfg.Listen)
	if err != nil {
		return err
	}
	n.cfg.Listen = addr
	return nil
}

// name is what people call this peer.
func (n *Node) name() string {
	if n.cfg.Name != "" {
		return n.cfg.Name
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	return "peer"
}

// advertised is where others reach what listens on addr: a host that says "everywhere" is replaced by an address of
// this machine that others can use.
func (n *Node) advertised(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return addr
	}
	for _, ip := range ownAddrs() {
		return net.JoinHostPort(ip.String(), port)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// ownAddrs returns this machine's addresses that others may reach it at, IPv4 first.
func ownAddrs() (ips []net.IP) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, want4 := range []bool{true, false} {
		for _, a := range addrs {
			ipn, ok := a.(*net.IPNet)
			if ok && ipn.IP.IsGlobalUnicast() && (ipn.IP.To4() != nil) == want4 {
				ips = append(ips, ipn.IP)
			}
		}
	}
	return ips
}

// hostID tells machines apart, so that replicas prefer different ones.
func hostID() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil && len(b) > 8 {
		return string(b[:min(len(b)-1, 32)])
	}
	h, _ := os.Hostname()
	return h
}

// leftFile marks the data directory of a peer that has left its cluster.
const leftFile = "left"

// markLeft notes that this peer is no member any more, so that its next start says so.
func (n *Node) markLeft() error {
	return fault.Wrap("leave", identity.WriteFile(n.cfg.Data, leftFile, []byte(n.id.Name+"\n")))
}

// hasLeft refuses the data directory of a peer that has left.
func (n *Node) hasLeft() error {
	name, err := os.ReadFile(n.dir(leftFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Because("data directory", fault.Permission, err)
	}
	return fault.New("start", fault.Refused, "the peer in %s has left cluster %s; its data is with the others: remove the directory, then join anew",
		n.cfg.Data, strings.TrimSpace(string(name)))
}
