// Package disk is the one door to the files that the log and the block store write: a flat directory and its files,
// behind two small interfaces.
//
// Everything such a store asks of the system is a call of Disk or File, so that a test can fail any one of them or cut
// the power between any two:
//
//	Dir      a directory of the operating system
//	Memory   a directory in memory that knows what was synced, and loses the rest when its power is cut
//	Faulty   wraps either, and fails the calls it is told to
//
// What is promised about a loss of power: a name that was made or removed, and bytes and sizes that were written, may be
// old, new or torn (in sectors of 512 bytes) until Disk.Sync, or File.Sync, has returned nil. What a failed Sync was about
// is lost for good though it can still be read: the system may have forgotten that it ever waited, so that a second
// Sync finds nothing to complain of. Whoever opens a file after such a failure calls Refresh before believing it.
package disk

import (
	"errors"
	"io"
	"syscall"

	"dfs/cluster/fault"
)

// Disk is a flat directory. Safe for concurrent use.
type Disk interface {
	// Lock keeps other openings out until it is closed, or its process ends. fault.Busy. It makes the directory if there is none.
	Lock() (io.Closer, error)
	// Names returns the names of all files, in no order.
	Names() ([]string, error)
	// Open opens a file to read and write; with create it makes an empty one where there is none, else os.ErrNotExist.
	Open(name string, create bool) (File, error)
	Remove(name string) error // os.ErrNotExist
	// Sync makes durable which names there are.
	Sync() error
}

// File is an open file. Reads may run beside anything; writes are for one goroutine at a time.
type File interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
	// WriteAll writes the parts one behind the other, with one gathered write where the system has it. After an error any
	// of the bytes may have been written.
	WriteAll(off int64, parts ...[]byte) error
	Truncate(size int64) error
	// Allocate makes the file at least size bytes long, the new ones zero, with room on the disk for all of them where
	// the file system can promise that.
	Allocate(size int64) error
	// Sync makes bytes and size durable.
	Sync() error
	// Refresh writes out what waits, and then makes ReadAt answer from the disk, not from what the system remembers.
	Refresh() error
}

// Hinter is implemented by files whose share of the system's memory can be advised on. Hints promise nothing and lose nothing:
// an error of the disk that one meets is the next Sync's to report.
type Hinter interface {
	Warm(off, n int64)   // begin to read this range, it will be asked for
	Begin(off, n int64)  // begin to write this range out, before a Sync waits for it
	Forget(off, n int64) // give up the memory of this range, as far as it is written out: it is not asked for soon
}

// Error gives an error of the system its kind, NoSpace above all. Error of nil is nil.
func Error(op string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Because(op, fault.NoSpace, err)
	}
	return fault.Wrap(op, err)
}
