package vfs

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime reads CLOCK_BOOTTIME: it goes on in suspend, which Go's monotonic clock does not.
func boottime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // only an address of ours could be wrong
	}
	return time.Duration(t.Nano())
}
