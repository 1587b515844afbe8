//go:build !linux

package guard

import "dfs/cluster/fault"

// Main says that there are no guards on this system.
func Main([]string) error {
	return fault.New("guard", fault.Unsupported, "a mount has a guard on Linux only")
}
