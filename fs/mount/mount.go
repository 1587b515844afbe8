// Package mount prepares places where a drive appears, and clears them up afterwards: checks of a mount point, the kernel's
// table of mounts, mounting a FUSE device, and unmounting what a crashed daemon left behind.
//
// It never looks inside a mount: a daemon that touches its own file system waits for itself. What it must know of a
// mounted place it reads from the kernel's table.
package mount

import (
	"path/filepath"

	"dfs/cluster/fault"
)

// Check says whether a drive can be mounted at point: an absolute path of an empty directory on which
// nothing is mounted; on Windows a free drive letter, or a directory that is not there yet. Stale mounts are CleanStale's business,
// before. The errors say what to do.
func Check(point string) error { return fault.Advise(check(point), advice) }

// At returns the topmost mount at exactly this path, nil if there is none. Systems without a table have none.
func At(point string) (*Info, error) {
	all, err := Table()
	if err != nil {
		return nil, err
	}
	var at *Info
	for i := range all {
		if all[i].Point == filepath.Clean(point) {
			at = &all[i] // later lines lie on top
		}
	}
	return at, nil
}

// Below reports whether something is mounted inside point.
func Below(point string) (bool, error) {
	all, err := Table()
	if err != nil {
		return false, err
	}
	prefix := filepath.Clean(point) + string(filepath.Separator)
	for _, i := range all {
		if len(i.Point) > len(prefix) && i.Point[:len(prefix)] == prefix {
			return true, nil
		}
	}
	return false, nil
}
