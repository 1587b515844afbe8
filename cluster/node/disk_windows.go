package node

import (
	"golang.org/x/sys/windows"

	"dfs/cluster/fault"
)

// freeSpace returns what is free where dir lies.
func freeSpace(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	var free uint64
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(p, &free, nil, nil)
	}
	return int64(free), fault.Because("free space of "+dir, fault.Other, err)
}

func load() float64 { return 0 }
