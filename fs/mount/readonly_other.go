//go:build !linux

package mount

import "dfs/cluster/fault"

// SetReadOnly is Linux's.
func SetReadOnly(point string, on bool) error {
	return fault.New("mark "+point, fault.Unsupported, "read-only %v", on)
}
