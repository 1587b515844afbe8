// Package kv is the small, ordered, multi-version map under the metadata and the block index.
//
// Versions are log indexes: the state after entry n is what a Reader at n sees, however far the log has been
// applied since. There is one writer. Nothing here is synced for durability's sake: the log is what is durable,
// and Durable says how far the map alone would survive, so that the log knows what it may forget.
package kv

// Store is an ordered map from keys (1..1024 bytes) to values (up to 64 KiB), with versions.
// At and Durable are safe for concurrent use; Begin is for the one writer.
type Store interface {
	// At returns the map as of version. It stays readable, and what it reads stays kept, until it is closed.
	// A version above the newest committed one reads as the newest.
	At(version uint64) Reader

	// Begin starts the transaction that will make version, which must be above every committed one.
	Begin(version uint64) Txn

	// Newest returns the highest committed version.
	Newest() uint64

	// SetFloor says that no new Reader will ask for a version below v; older versions of keys may be dropped.
	SetFloor(v uint64)

	// Durable returns the highest version for which this and every earlier one would survive a crash of the
	// machine. It never goes down.
	Durable() uint64

	// Wipe empties the store, for a snapshot about to be installed.
	Wipe() error

	Close() error
}

// Reader reads one version. Not safe for concurrent use.
type Reader interface {
	// Get returns the value of key, or nil and false. The slice is the caller's.
	Get(key []byte) ([]byte, bool, error)

	// Scan calls fn for each key that starts with prefix and is >= from (nil: all), in order, until fn returns
	// false. The slices are valid only during the call. fn must not write to the same transaction.
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error

	Close()
}

// Txn reads its base version and its own writes, and makes the next version. A transaction that is closed
// without Commit leaves nothing behind.
type Txn interface {
	Reader
	Set(key, value []byte) error // copies both
	Delete(key []byte) error
	Commit() error // atomic: after a crash all of it is there or none
}
