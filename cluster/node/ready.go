package node

import (
	"errors"
	"net"

	"dfs/cluster/fault"
	"dfs/fs/mount"
	"dfs/fs/mount/fuse"
	"dfs/net/peer"
)

// canMount refuses a place where the drive cannot appear, before a cluster is made or a token spent for it. What an earlier
// daemon of this peer left there is cleared away when the drive is mounted.
func (n *Node) canMount() error {
	if n.cfg.Mount == "" {
		return nil
	}
	if err := mount.Ready(); err != nil {
		return err
	}
	at, err := mount.At(n.cfg.Mount)
	if err != nil {
		return err
	}
	if at != nil && at.Type == "fuse."+fuse.Subtype && at.Source == n.cfg.Data {
		return nil
	}
	return mount.Check(n.cfg.Mount)
}

// freeAddr returns addr with a port that is free for TCP and UDP both: the one it says, or one for 0. It holds it for a moment
// only: what is told to the cluster must be known before there is an identity to listen under.
func freeAddr(addr string) (string, error) {
	const tries = 16 // of port 0: what is free for TCP may be taken for UDP
	for try := 1; ; try++ {
		free, err := probe(addr)
		_, port, _ := net.SplitHostPort(addr)
		if err == nil || port != "0" || try == tries || !errors.Is(err, fault.Busy) {
			return free, err
		}
	}
}

func probe(addr string) (string, error) {
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		return "", peer.ListenError("--listen", addr, err)
	}
	defer stream.Close()
	packets, err := net.ListenPacket("udp", stream.Addr().String())
	if err != nil {
		return "", peer.ListenError("--listen", addr, err)
	}
	packets.Close()
	return stream.Addr().String(), nil
}
