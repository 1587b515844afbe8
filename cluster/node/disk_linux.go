package node

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// offer returns what a peer offers that was not told: nine tenths of what is free where its data lies.
func offer(dir string) (int64, error) {
	free, err := freeSpace(dir)
	return free / 10 * 9, err
}

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
