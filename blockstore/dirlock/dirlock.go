// Package dirlock keeps a second process, or a second opening in the same one, out of a data directory.
//
// The lock is the operating system's, on a file called LOCK: it ends with the process however that ends, so there
// is never a stale one to clear away.
package dirlock

import (
	"errors"
	"os"
	"path/filepath"

	"dfs/cluster/fault"
)

// Lock is a held lock. The zero value is none.
type Lock struct{ f *os.File }

// Acquire locks dir, which must exist. It does not wait: fault.Busy when somebody else holds the lock.
func Acquire(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap("lock directory", err)
	}
	busy, err := lock(f)
	if err != nil {
		f.Close()
		if busy {
			return nil, fault.New("lock directory", fault.Busy, "%s is open already", dir)
		}
		return nil, fault.Wrap("lock directory", err)
	}
	return &Lock{f}, nil
}

// Release gives the lock back. Releasing twice is no error.
func (l *Lock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return fault.Wrap("unlock directory", errors.Join(unlock(f), f.Close()))
}
