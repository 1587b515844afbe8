// Package mount prepares places where a drive appears, and clears them up afterwards: checks of a mount point, the kernel's
// table of mounts, mounting a FUSE device, and unmounting what a crashed daemon left behind.
//
// It never looks inside a mount: a daemon that touches its own file system waits for itself. What it must know of a
// mounted place it reads from the kernel's table.
package mount

import (
	"os"
	"path/filepath"

	"dfs/cluster/fault"
)

// Check says whether a drive can be mounted at point: an absolute path of an empty directory on which
// nothing is mounted. Stale mounts are CleanStale's business, before. The errors say what to do.
func Check(point string) error {
	return fault.Advise(check(point), "choose another --mount, or --no-mount")
}

func check(point string) error {
	const op = "mount point"
	if !filepath.IsAbs(point) {
		return fault.New(op, fault.Invalid, "%s is not an absolute path", point)
	}
	if at, err := At(point); err != nil {
		return err
	} else if at != nil {
		return fault.New(op, fault.Busy, "%s is mounted already (%s from %s); unmount it or choose another place",
			point, at.Type, at.Source)
	}
	fi, err := os.Lstat(point)
	switch {
	case os.IsNotExist(err):
		return fault.New(op, fault.NotExist, "%s does not exist; create the directory first", point)
	case err != nil:
		return fault.Because(op, fault.Other, err)
	case !fi.IsDir():
		return fault.New(op, fault.NotDir, "%s is not a directory", point)
	}
	d, err := os.Open(point)
	if err != nil {
		return fault.Because(op, fault.Permission, err)
	}
	defer d.Close()
	if names, _ := d.Readdirnames(1); len(names) > 0 {
		return fault.New(op, fault.NotEmpty, "%s has files in it, which the drive would hide; choose an empty directory", point)
	}
	return nil
}

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
