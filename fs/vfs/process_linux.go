package vfs

import (
	"os"
	"strconv"
	"strings"
)

// processOf returns the process of a thread; the thread's own number where that is not to be seen any more.
func processOf(thread uint32) uint32 {
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(thread), 10) + "/status")
	if err != nil {
		return thread
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "Tgid:"); ok {
			if id, err := strconv.ParseUint(strings.TrimSpace(n), 10, 32); err == nil {
				return uint32(id)
			}
		}
	}
	return thread
}
