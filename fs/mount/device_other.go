//go:build !linux

package mount

// CleanStale does nothing: there are no FUSE mounts here that could be left behind.
func CleanStale(point, subtype string) (cleaned bool, err error) { return false, nil }
