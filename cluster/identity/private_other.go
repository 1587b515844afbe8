//go:build !unix

package identity

// checkPrivate has nothing to check: files in a user's profile are the user's by inherited access lists.
func checkPrivate(string) error { return nil }

// syncDir has nothing to do: renames are journaled.
func syncDir(string) error { return nil }
