//go:build !linux && !windows

package wal

import "os"

func preallocate(f *os.File, size int64) error { return f.Truncate(size) }

func syncData(f *os.File) error { return f.Sync() }

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// lockFile relies on the daemon's own lock of its data directory here.
func lockFile(*os.File) error { return nil }
