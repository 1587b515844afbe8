package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks one byte far beyond the process id, which stays readable for others.
func lockFile(f *os.File) error {
	o := windows.Overlapped{OffsetHigh: 1}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &o)
}
