//go:build !linux && !windows

package node

import "dfs/cluster/fault"

func offer(dir string) (int64, error) {
	return 0, fault.New("free space of "+dir, fault.Unsupported, "say --capacity")
}

func freeSpace(dir string) (int64, error) { return offer(dir) }

func load() float64 { return 0 }
