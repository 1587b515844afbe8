package admin

import "context"

// LockedMax is how many files a Locks names.
const LockedMax = 10_000

// Locking tells of file locks.
type Locking interface {
	// Locks returns who holds what of the file, and who waits for it; with "" that of every file. fault.NotExist, fault.IsDir.
	Locks(ctx context.Context, path string) (Locks, error)
}

// Locks is what `dfsctl lock list` shows.
type Locks struct {
	Schema int          `json:"schema"`
	Files  []LockedFile `json:"files"`
	More   bool         `json:"more"` // than LockedMax
}

// LockedFile is a file that somebody has, or waits for, a lock of.
type LockedFile struct {
	Path    string `json:"path,omitempty"`       // where it was asked for by its path: files have no names of their own
	Name    []byte `json:"path_bytes,omitempty"` // the path itself where it is no UTF-8
	Ino     uint64 `json:"ino"`
	Held    []Lock `json:"held"`    // by offset
	Waiting []Lock `json:"waiting"` // in the order they came
}

// Kinds and modes of locks.
const (
	LockRange  = "range" // fcntl
	LockWhole  = "flock"
	LockShared = "shared"
	LockExcl   = "exclusive"
)

// Lock is one lock, or a request for one.
type Lock struct {
	Kind    string `json:"kind"`
	Mode    string `json:"mode"`
	Offset  uint64 `json:"offset"`
	Length  uint64 `json:"length"` // 0: to the end of all
	Peer    string `json:"peer"`   // whose mount it is; empty where the session has ended
	PID     uint32 `json:"pid"`    // there
	Session string `json:"session"`
}
