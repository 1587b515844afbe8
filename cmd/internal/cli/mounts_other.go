//go:build !linux

package cli

import "dfs/cluster/fault"

// Mounts lists our mounts on this machine. Only Linux has a table to read.
func Mounts() ([]Mount, error) { return nil, nil }

// Detach takes a mount out of the tree at once.
func Detach(point string) error {
	return fault.New("unmount "+point, fault.Unsupported, "mounts end with their daemon on this system")
}
