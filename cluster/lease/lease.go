// Package lease decides when an answer may be given.
//
// Every mount reads metadata from its own replica and lets its kernel cache what it read. That is coherent because
// of two rules this package keeps, both pure and driven from outside with the time passed in:
//
//   - A Holder (one a peer) answers only while its lease lasts, and knows which log indexes the leader has released.
//   - A Table (the leader's, one a term) releases an index only when every holder has taken its changes in, or
//     has certainly lost its lease.
//
// Times are CLOCK_BOOTTIME readings: a machine that was suspended must know it.
//
// The rules are numbers 1, 2 and 17 to 20 of the coherence design; simulation over many seeds in fs/coherence
// checks them together with a fake kernel.
package lease

import "time"

// Defaults of Options.
const (
	Length    = 2 * time.Second        // of a lease, as the holder counts it
	Renew     = Length / 4             // between renewals
	Slack     = Length / 10            // added by the leader: clocks of two machines run at different speeds
	Heartbeat = 100 * time.Millisecond // of the consensus core
)
