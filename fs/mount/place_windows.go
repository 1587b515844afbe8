package mount

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"dfs/cluster/fault"
)

const advice = "choose another --mount, such as a free drive letter, or --no-mount"

// check: a drive letter that nothing has, or a directory that is not there yet and whose parent is.
func check(point string) error {
	const op = "mount point"
	if letter, ok := Letter(point); ok {
		drives, err := windows.GetLogicalDrives()
		if err != nil {
			return fault.Because(op, fault.Other, err)
		}
		if drives&(1<<(letter[0]-'A')) != 0 {
			return fault.New(op, fault.Busy, "%s is in use already", letter)
		}
		return nil
	}
	if !filepath.IsAbs(point) {
		return fault.New(op, fault.Invalid, "%s is neither a drive letter (X:) nor an absolute path", point)
	}
	if _, err := os.Lstat(point); err == nil {
		return fault.New(op, fault.Exist, "%s is there already, and WinFsp makes the directory itself", point)
	}
	up := filepath.Dir(point)
	switch info, err := os.Stat(up); {
	case err != nil:
		return fault.New(op, fault.NotExist, "%s does not exist; create it first", up)
	case !info.IsDir():
		return fault.New(op, fault.NotDir, "%s is not a directory", up)
	}
	return nil
}

// Make makes what must be there before a drive can be mounted at point: of a directory, the one above it.
func Make(point string) error {
	if _, ok := Letter(point); ok {
		return nil
	}
	return os.MkdirAll(filepath.Dir(point), 0o755)
}
