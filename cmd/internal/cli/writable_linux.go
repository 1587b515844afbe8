package cli

import (
	"errors"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// writable says whether this process may make files in dir.
func writable(dir string) error {
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		return fault.New("data directory", fault.ReadOnly, "%s is on a file system that takes no writes", dir)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fault.New("data directory", fault.Permission, "%s belongs to another user", dir)
	}
	return fault.Because("data directory", fault.Permission, err)
}
