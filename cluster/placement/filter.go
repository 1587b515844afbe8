package placement

import (
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
)

// The reasons why a peer is not eligible, as they appear in Reason.Filter.
const (
	FilterAvoid       = "avoided: has it already, or just failed"
	FilterDead        = "not alive"
	FilterDraining    = "draining"
	FilterMaintenance = "in maintenance"
	FilterLost        = "lost"
	FilterErrors      = "too many failed requests"
	FilterNone        = "offers no space"
	FilterFull        = "not enough room above its reserve"
)

// filter returns why peer cannot take an extent of blocks, "" if it can. A suspect peer can: one lost probe is no
// failure, and policies take it only when there are not enough others.
func filter(peer *cluster.Peer, blocks uint32, maxErrors float64, avoid []cluster.PeerID) string {
	switch {
	case slices.Contains(avoid, peer.ID):
		return FilterAvoid
	case peer.State == cluster.Lost:
		return FilterLost
	case peer.State == cluster.Maintenance:
		return FilterMaintenance
	case peer.State == cluster.Draining:
		return FilterDraining
	case peer.State == cluster.Dead, peer.Seen != cluster.Alive && peer.Seen != cluster.Suspect:
		return FilterDead
	case peer.Errors > maxErrors:
		return FilterErrors
	case peer.Capacity <= 0:
		return FilterNone
	case peer.Stored+peer.InFlight+int64(blocks)*blockstore.Size+peer.Reserve > peer.Capacity:
		return FilterFull
	}
	return ""
}
