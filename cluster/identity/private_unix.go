//go:build unix

package identity

import (
	"os"

	"dfs/cluster/fault"
)

// checkPrivate fails with fault.Permission when others than its owner may use path.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fault.Because("identity", fault.Other, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fault.New("identity", fault.Permission, "%s is open to others (mode %04o): chmod go= %s", path, mode, path)
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
