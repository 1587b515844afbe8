//go:build !linux

package badger

// bootID returns "": the system has no id of its boot that can be relied on.
func bootID(string) string { return "" }
