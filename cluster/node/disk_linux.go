package node

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// freeSpace returns what is free where dir lies.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fault.Because("free space of "+dir, fault.Other, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// load returns the runnable work of the last minute.
func load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	one, _, _ := strings.Cut(string(b), " ")
	f, _ := strconv.ParseFloat(one, 64)
	return f
}
