package raft

// Proposal is one op on its way through the log. Session and Seq make it exactly-once: the machine keeps each
// session's results from Low on and answers a repeat from them.
type Proposal struct {
	Session uint64 // one incarnation of a daemon
	Seq     uint64 // 1, 2, 3, ... within the session
	Low     uint64 // every Seq below it has been answered; its result may be forgotten
	Time    int64  // the proposer's clock, UTC nanoseconds
	Body    []byte // the op; its first byte says which part of the machine it is for
}

// Machine is what follows the log on every peer. Apply, Restore and Snapshot are called from one goroutine.
type Machine interface {
	// Apply applies one entry, whose index is one above Applied unless entries without proposals lie between,
	// and returns one result a proposal. It is deterministic. An error means the machine cannot go on (a bad
	// disk): the replica stops.
	Apply(index uint64, ps []Proposal) ([][]byte, error)

	// Applied returns the index of the newest entry in the state.
	Applied() uint64

	// Durable returns the index up to which the state would survive a crash of the machine without the log.
	Durable() uint64

	// Snapshot returns the state as of Applied, readable while later entries are applied.
	Snapshot() (Snapshot, error)

	// Restore replaces the state with a snapshot that arrives in chunks until next returns a nil chunk. Until
	// it has returned without error the state is incomplete and says so after a restart.
	Restore(index uint64, next func() ([]byte, error)) error
}

// Preparer is a Machine that can do the work of an entry before it is known to be committed. It is called from the goroutine
// that calls Apply.
type Preparer interface {
	// Prepare works out entry index, the next to be applied, without showing anything of it to readers. The next Apply,
	// of the same entry, makes it so; Unprepare, or the Apply of another, undoes it.
	Prepare(index uint64, ps []Proposal) error
	Unprepare()
}

// Snapshot is the state at one index.
type Snapshot interface {
	Index() uint64
	// Next returns the next chunk, at most 1 MiB, or nil at the end. Chunks are self-contained.
	Next() ([]byte, error)
	Close()
}
