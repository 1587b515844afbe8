// Package cluster names the machines of a cluster and what one of them believes of the others.
//
// Facts (who is a member, who votes, who was declared dead) are ops in the log and live in a Member. Hints
// (alive, load, latency, free bytes) come by gossip and live in a Peer. A View is both, frozen at one moment:
// placement, repair and status decide on a View and never ask the network.
package cluster

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"time"

	"dfs/cluster/fault"
)

// PeerID is the identity of one peer: the first 160 bits of the SHA-256 of its ed25519 public key. Addresses
// change, it does not. The zero value is no peer.
type PeerID [20]byte

var idText = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// IDOf returns the identity that key gives its owner.
func IDOf(key ed25519.PublicKey) PeerID {
	sum := sha256.Sum256(key)
	return PeerID(sum[:20])
}

// String returns 32 lower-case characters, without letters that are easily confused.
func (id PeerID) String() string { return idText.EncodeToString(id[:]) }

// Short returns the first 7 characters, for logs and tables.
func (id PeerID) Short() string { return id.String()[:7] }

// IsZero reports whether id names no peer.
func (id PeerID) IsZero() bool { return id == PeerID{} }

// Compare orders ids by their bytes.
func (id PeerID) Compare(other PeerID) int { return slices.Compare(id[:], other[:]) }

// MarshalText and UnmarshalText let ids travel in JSON as their String.
func (id PeerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *PeerID) UnmarshalText(text []byte) (err error) {
	*id, err = ParsePeerID(string(text))
	return err
}

// Raft returns the number the consensus core knows this peer by: the id's first 8 bytes, never zero.
func (id PeerID) Raft() uint64 { return max(binary.BigEndian.Uint64(id[:8]), 1) }

// ParsePeerID is the inverse of String. fault.Invalid.
func ParsePeerID(s string) (PeerID, error) {
	b, err := idText.DecodeString(s)
	if err != nil || len(b) != len(PeerID{}) {
		return PeerID{}, fault.New("parse peer id", fault.Invalid, "%q", s)
	}
	return PeerID(b), nil
}

// State is what is known or believed of a member's health. The numbers travel and are stored: append only.
type State uint8

const (
	Alive       State = iota
	Suspect           // a probe went unanswered (hint)
	Draining          // being emptied; takes no new extents (fact)
	Maintenance       // expected to be away; not repaired around (fact)
	Dead              // away longer than the grace time; repaired around (hint until committed)
	Lost              // declared gone for good (fact)
)

var stateText = [...]string{"alive", "suspect", "draining", "maintenance", "dead", "lost"}

func (s State) String() string {
	if int(s) < len(stateText) {
		return stateText[s]
	}
	return "unknown"
}

// Member is a fact from the log: one machine that belongs to the cluster.
type Member struct {
	ID       PeerID
	Key      ed25519.PublicKey // 32 bytes; IDOf(Key) == ID
	Name     string            // unique in the cluster, for people
	Addr     string            // HOST:PORT of transport (TCP) and gossip (UDP)
	Zone     string            // "" is a zone like any other
	Host     string            // machine identity; replicas prefer distinct hosts
	Capacity int64             // bytes this peer offers
	State    State             // Alive unless an op said otherwise
	Joined   uint64            // log index of admission; members are ordered by it
}

// Peer is a member as one peer sees it now: the fact, and the latest hints.
type Peer struct {
	Member
	Seen     State         // this peer's own belief: Alive, Suspect or Dead
	Voter    bool          // from the consensus configuration
	Stored   int64         // bytes of extents, as last reported by the peer itself
	InFlight int64         // bytes we have sent it that its report does not cover yet
	Reserve  int64         // bytes it wants kept free
	Latency  time.Duration // EWMA of acknowledged block writes, disk included; 0 unknown
	Errors   float64       // EWMA of failed requests, 0..1
	Load     float64       // runnable work per core, as last reported
	Trouble  string        // what the peer says is wrong with it; "" nothing
}

// Available reports whether p can be asked to store or serve extents now.
func (p *Peer) Available() bool {
	return p.Seen == Alive && (p.State == Alive || p.State == Draining)
}

// View is what one peer believes of all members at one moment. It is immutable: holders share it freely.
type View struct {
	Self  PeerID
	Index uint64 // log index of the newest fact in it
	Peers []Peer // sorted by ID
}

// Find returns the peer called id, or nil.
func (v *View) Find(id PeerID) *Peer {
	i, ok := slices.BinarySearchFunc(v.Peers, id, func(p Peer, id PeerID) int { return p.ID.Compare(id) })
	if !ok {
		return nil
	}
	return &v.Peers[i]
}

// NewView returns a view of peers, sorting them. It takes ownership of the slice.
func NewView(self PeerID, index uint64, peers []Peer) View {
	slices.SortFunc(peers, func(a, b Peer) int { return a.ID.Compare(b.ID) })
	return View{Self: self, Index: index, Peers: peers}
}

// VotersFor returns how many voters a cluster of n members has: 1 of 1 and 2, 3 of 3 and 4, 5 from then on.
// Never 2: two voters cannot lose one, so the second would only add a way to fail.
func VotersFor(n int) int {
	switch {
	case n >= 5:
		return 5
	case n >= 3:
		return 3
	}
	return min(n, 1)
}

// ByJoined orders members by admission, the order in which they are made voters.
func ByJoined(a, b Member) int { return cmp.Compare(a.Joined, b.Joined) }
