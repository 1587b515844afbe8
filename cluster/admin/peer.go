package admin

import "context"

// Membership is what is asked about other members.
type Membership interface {
	// RemovePeer ends another member's membership: at once where that one is dead, else when all it holds is copied and
	// its vote given to another. fault.Refused says what would be lost, or that it is there.
	RemovePeer(ctx context.Context, ask RemoveAsk) (Removal, error)

	// PeerInfo tells of a member, by name, id or the beginning of one. fault.NotExist.
	PeerInfo(ctx context.Context, peer string) (PeerInfo, error)
}

// RemoveAsk is which member is to go, and how far that may go.
type RemoveAsk struct {
	Peer      string `json:"peer"`       // name, id or the beginning of one
	Yes       bool   `json:"yes"`        // also one that is there
	ForceLost bool   `json:"force_lost"` // also one that holds what nobody else has
	DryRun    bool   `json:"dry_run"`    // only say
	Cancel    bool   `json:"cancel"`     // a member that is about to go stays
}

// Removal is what removing a member means.
type Removal struct {
	Schema      int      `json:"schema"`
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	State       string   `json:"state"`
	Removed     bool     `json:"removed"`
	HeldExtents uint64   `json:"held_extents"` // replicas on it
	HeldBytes   int64    `json:"held_bytes"`
	LostExtents uint64   `json:"lost_extents"` // of those, the ones that no other peer that is there has
	LostBytes   int64    `json:"lost_bytes"`
	Files       []string `json:"files,omitempty"` // some of the files of those
}

// PeerInfo is everything that is known of one member.
type PeerInfo struct {
	Schema int `json:"schema"`
	PeerStatus
	Host        string `json:"host"`
	Joined      uint64 `json:"joined"` // log index of its admission
	Leader      bool   `json:"leader"`
	Lease       bool   `json:"lease"`        // on the leader: its mount may answer
	Log         uint64 `json:"log_index"`    // on the leader: how far its log goes
	Behind      uint64 `json:"log_behind"`   // on the leader: entries it lacks
	RTTNS       int64  `json:"rtt_ns"`       // of a round trip from here; 0 unknown
	HeldExtents uint64 `json:"held_extents"` // replicas that the maps place on it
	HeldBytes   int64  `json:"held_bytes"`
	OnlyExtents uint64 `json:"only_extents"` // of those, the ones that no other member has
	OnlyBytes   int64  `json:"only_bytes"`
}
