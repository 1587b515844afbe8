// Package placement decides which peers keep an extent. It is pure: a policy takes a view and returns a choice
// with its reason, without blocking, clocks of its own, or the network.
package placement

import (
	"dfs/cluster"
)

// Layout is where one extent is: its replicas. (Stripes, with Parity > 0, come with erasure coding.)
type Layout struct {
	Data, Parity uint8            // Data == 1 and Parity == 0: whole replicas, one a peer
	Peers        []cluster.PeerID // all distinct
}

// Wish is what a directory asks of the layout of the files created in it. The zero value is the drive's default:
// as many copies as peers but at most 2, balanced, units of 4 MiB. Its text form is that of `dfsctl layout set`
// (ParseWish and String).
type Wish struct {
	Copies       uint8  // 0 = auto: min(2, members)
	Policy       Name   // "" = balanced
	UnitBlocks   uint32 // most blocks in an extent; 0 = blockstore.MaxBlocks
	Zones        uint8  // distinct zones wanted; 0 = no wish beyond "distinct where possible"
	Data, Parity uint8  // erasure coding; 0 = replicas
	CommitClose  bool   // close waits for the commit; without it a mount that has a directory to itself may commit later
}

// Name names a policy as users write it.
type Name string

const (
	Balanced      Name = "balanced"       // stored share and latency both; one copy here while this peer is not a tenth fuller than others
	LeastStored   Name = "least-stored"   // (stored + in flight) / capacity, as reported by the owner
	LowestLatency Name = "lowest-latency" // EWMA of acknowledged block writes
	LocalFirst    Name = "local-first"    // one copy here, the others balanced
)

// Why explains a choice, one line a peer considered, for `dfsctl explain` and `layout plan`.
type Why []Reason

// Reason is what was thought of one peer.
type Reason struct {
	Peer   cluster.PeerID
	Chosen bool
	Score  float64 // lower is better; meaningless where Filter is set
	Filter string  // why it was not eligible; "" when it was
}

// Policy picks peers for one extent. Implementations are pure: equal views, wishes and random numbers give equal
// choices.
type Policy interface {
	// Pick returns up to n distinct peers of v, best first, none of them in avoid. Fewer than n, but at least
	// one, is no error: the extent is then degraded. None at all is fault.NoSpace.
	// blocks is the size of the extent to be placed. Why has one line for each peer of v, in v's order.
	Pick(v cluster.View, n int, blocks uint32, avoid []cluster.PeerID) ([]cluster.PeerID, Why, error)
}
