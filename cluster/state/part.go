package state

import (
	"dfs/cluster"
)

// Tx is what a part reads and writes while a proposal is applied: the state with all earlier proposals, and its
// own writes. If the proposal fails all its writes are dropped.
type Tx interface {
	// Get returns the value of key, or nil and false. The slice is the caller's.
	Get(key []byte) ([]byte, bool, error)
	// Scan calls fn for each key that starts with prefix and is >= from (nil: all), in order, until fn returns
	// false. The slices are valid only during the call. fn must not write to the transaction.
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
	Set(key, value []byte) error
	Delete(key []byte) error
}

// Context is what a proposal may depend on besides its body and the state.
type Context struct {
	Index   uint64 // of the log entry
	Op      uint32 // number of the proposal in its entry, from 0
	Session uint64
	Time    int64 // the proposer's clock, UTC nanoseconds
}

// Part is one machine behind the log. It must be deterministic, and must not keep Tx, body or anything it read in
// them beyond the call.
type Part interface {
	// Apply carries out one proposal. body is what follows the tag; it came from a peer and may be anything.
	// change is handed to the followers (nil: nothing changed). An error is the proposal's answer and undoes its
	// writes, unless tx itself failed: that stops the replica.
	Apply(tx Tx, c Context, body []byte) (result []byte, change any, err error)

	// Event tells of a fact that has just changed, in the same transaction. An error undoes the fact's change.
	Event(tx Tx, c Context, e Event) (change any, err error)
}

// Event is a fact that concerns parts: SessionEnded or MembersChanged.
type Event interface{ event() }

// SessionEnded says that a session will never propose again: what it held is free.
type SessionEnded struct{ Session uint64 }

// MembersChanged gives the members there are now, sorted by ID, those declared lost included.
type MembersChanged struct{ Members []cluster.Member }

func (SessionEnded) event()   {}
func (MembersChanged) event() {}

// Facts is what a proposal with TagFacts changed.
type Facts struct {
	Members  bool     // a member came, went or changed
	Tokens   bool     // a token came, went or was used
	Genesis  bool     // the cluster began
	Opened   uint64   // session that began; 0 none
	Ended    []uint64 // sessions that ended
	Admitted *cluster.Member
	Removed  *cluster.Member
}
