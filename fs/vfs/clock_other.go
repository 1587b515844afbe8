//go:build !linux

package vfs

import "time"

var start = time.Now()

// boottime is the process's monotonic clock.
func boottime() time.Duration { return time.Since(start) }
