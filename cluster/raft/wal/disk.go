package wal

import (
	"errors"
	"io"
	"syscall"

	"dfs/cluster/fault"
)

// Disk is the directory of one log. A name that was created, and bytes that were written, may be gone or torn after a
// loss of power until SyncDir and File.Sync have returned.
type Disk interface {
	// Lock keeps other processes out until it is closed. fault.Busy.
	Lock() (io.Closer, error)
	List() ([]string, error)
	// Create makes a file of size zero bytes, or empties the one that is there.
	Create(name string, size int64) (File, error)
	Open(name string) (File, error)
	Remove(name string) error
	SyncDir() error
}

// File is one file of a Disk.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	// Zero makes all bytes from off on zero, and the file size bytes long.
	Zero(off, size int64) error
	Sync() error
}

// ioError gives a disk's error its kind.
func ioError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return fault.Because(op, fault.NoSpace, err)
	}
	return fault.Wrap(op, err)
}
