//go:build !linux

package node

import "time"

var start = time.Now()

// boottime is the process's monotonic clock; on Windows it counts suspended time too.
func boottime() time.Duration { return time.Since(start) }
