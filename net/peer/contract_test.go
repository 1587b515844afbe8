package peer_test

import (
	"testing"

	"dfs/net/peer"
	"dfs/net/peer/peertest"
)

func TestNetIsATransport(t *testing.T) {
	peertest.Run(t, func(t *testing.T, n int) []peertest.Member {
		var all []peertest.Member
		for _, net := range peer.NewGroup(t, n, nil) {
			all = append(all, peertest.Member{ID: net.ID(), Transport: net})
		}
		return all
	})
}
