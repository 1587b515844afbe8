//go:build !linux && !windows

package node

import "dfs/cluster/fault"

func freeSpace(dir string) (int64, error) {
	return 0, fault.New("free space of "+dir, fault.Unsupported, "on this system")
}

func load() float64 { return 0 }
