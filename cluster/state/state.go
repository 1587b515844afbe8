// Package state is the machine behind the log: one ordered map that holds everything the cluster agrees on.
//
// A log entry is a list of proposals; the entry with index i makes version i of the map in one transaction. Each
// proposal belongs to a session, one incarnation of a daemon, and is applied exactly once however often it is
// retried: the session's window keeps the results. What a proposal means is decided by its first byte, the tag:
// tag 1 is this package's own facts (members, tokens, sessions), the others belong to Parts that are handed in,
// file system metadata first of all. A part owns the keys that begin with its tag.
//
// Everything here is deterministic: the same entries make the same map on every peer, byte for byte. A proposal
// that fails changes nothing but its result, for its writes are gathered aside and join the entry's transaction
// only when it succeeds.
//
// After the transaction is committed the followers hear what changed, in log order, on the applying goroutine;
// after a snapshot was installed they hear Reset instead. There is no other way to learn of a change.
//
// Costs: a proposal writes its part's keys and one result (deleted again once the session's Low passes it). An
// entry's writes are bounded by EntryBytes and EntryWrites, so that one transaction of the map always takes them;
// a proposal that no longer fits is fault.Busy and may be proposed again.
package state

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/net/wire"
)

// Tags of proposals, and first bytes of their parts' keys.
const (
	TagFacts byte = 1
	TagMeta  byte = 2
	TagPlane byte = 3
)

// Bounds. They are part of the format: peers that disagree on them come to different states.
const (
	EntryBytes  = 1 << 20 // of keys and values that one entry writes, beyond its first proposal
	EntryWrites = 8192    // keys that one entry writes, beyond its first proposal
	OpBytes     = 7 << 18 // of keys and values that one proposal writes
	OpWrites    = 12288   // keys that one proposal writes
	Window      = 4096    // results a session keeps; a Seq further than that above Low is refused
)

// Options of a Machine. Parts is what follows the log besides the facts, by tag; it must not change afterwards.
type Options struct {
	Parts map[byte]Part
	Log   *slog.Logger // nil discards
}

// Machine implements raft.Machine. Apply, Restore, Snapshot and Follow are for one goroutine; everything else is
// safe for concurrent use.
type Machine struct {
	store kv.Store
	parts map[byte]Part
	tags  []byte // of parts, sorted
	log   *slog.Logger

	followers []Follower
	prepared  *prepared // the entry after applied, if it was prepared

	mu      sync.Mutex
	applied uint64 // guarded by mu
}

var (
	_ raft.Machine  = (*Machine)(nil)
	_ raft.Preparer = (*Machine)(nil)
)

// Follower is told everything that happens to the state, in log order, on the applying goroutine. It must be quick.
type Follower interface {
	// Applied is called after the entry's transaction has been committed.
	Applied(a Applied)
	// Reset is called after a snapshot was installed: anything may be different now.
	Reset(index uint64)
}

// Foreseer is a Follower that is told, too, what the next entry will change if it is committed. Applied of it, or of another
// in its place, follows, or nothing.
type Foreseer interface{ Prepared(a Applied) }

// Applied is what one entry changed: one Change for each proposal that succeeded and changed something.
type Applied struct {
	Index   uint64
	Changes []Change
	Refused bool // some proposal failed, was repeated or changed nothing: its answer may tell of anything before it
}

// Change is what one proposal did to one part.
type Change struct {
	Tag     byte
	Session uint64 // who proposed it
	Seq     uint64
	What    any // the part's own type; *Facts for TagFacts
}

// New returns the machine over store. fault.Corrupt says that a snapshot was being installed when the process
// ended: the state is worthless, Wipe the store and start over from the log or another snapshot.
func New(store kv.Store, o Options) (*Machine, error) {
	m := &Machine{store: store, parts: maps.Clone(o.Parts), log: o.Log}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.tags = slices.Sorted(maps.Keys(m.parts))
	if len(m.tags) > 0 && m.tags[0] <= TagFacts {
		return nil, fault.New("state open", fault.Invalid, "tag %d is taken", m.tags[0])
	}
	r := store.At(store.Newest())
	defer r.Close()
	if _, ok, err := r.Get(incompleteKey); err != nil {
		return nil, fault.Wrap("state open", err)
	} else if ok {
		return nil, fault.New("state open", fault.Corrupt, "a snapshot was only half installed")
	}
	v, ok, err := r.Get(appliedKey)
	if err != nil {
		return nil, fault.Wrap("state open", err)
	}
	if ok {
		d := wire.NewReader(v)
		m.applied = d.Uint()
		if err := d.Done(); err != nil {
			return nil, fault.Because("state open", fault.Corrupt, err)
		}
	}
	return m, nil
}

// Follow adds a follower. Call it before the first Apply.
func (m *Machine) Follow(f Follower) { m.followers = append(m.followers, f) }

// Applied returns the index of the newest entry in the state.
func (m *Machine) Applied() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// Durable returns the index up to which the state survives a crash of the machine without the log.
func (m *Machine) Durable() uint64 { return min(m.store.Durable(), m.Applied()) }

// At returns the state after index, or the newest if index is 0 or above it, and the index it stands for: 0, with nothing in it,
// before the first entry and while a snapshot is being installed. Close it.
func (m *Machine) At(index uint64) (kv.Reader, uint64) {
	m.mu.Lock() // against Restore: what the index says is in the reader
	defer m.mu.Unlock()
	if index == 0 || index > m.applied {
		index = m.applied
	}
	return m.store.At(index), index
}

// SetFloor says that no reader will ask for a state before index any more.
func (m *Machine) SetFloor(index uint64) { m.store.SetFloor(min(index, m.Applied())) }

func (m *Machine) setApplied(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = index
}
