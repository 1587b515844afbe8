//go:build !linux

package disk

// BootID returns "": the system has no id of its boot that can be relied on.
func BootID(string) string { return "" }
