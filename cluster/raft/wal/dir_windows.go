package wal

import (
	"errors"
	"os"

	"dfs/cluster/fault"

	"golang.org/x/sys/windows"
)

func preallocate(f *os.File, size int64) error { return f.Truncate(size) }

func syncData(f *os.File) error { return f.Sync() }

// syncDir has nothing to do: NTFS journals names, and a directory cannot be flushed without privileges.
func syncDir(string) error { return nil }

func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return fault.New("log open", fault.Busy, "%s is in use by another process", f.Name())
	}
	return err
}
