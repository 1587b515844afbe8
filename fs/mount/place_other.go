//go:build !windows

package mount

import (
	"os"
	"path/filepath"

	"dfs/cluster/fault"
)

const advice = "choose another --mount, or --no-mount"

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

// Make makes what must be there before a drive can be mounted at point: the directory.
func Make(point string) error { return os.MkdirAll(point, 0o755) }
