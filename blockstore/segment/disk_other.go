//go:build !linux

package segment

import (
	"errors"
	"os"
	"runtime"
)

func syncData(f *os.File) error { return f.Sync() }

// syncDir makes names durable where the system can: Windows journals them with the file.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeParts(f *os.File, off int64, parts [][]byte) error { return writeEach(f, off, parts) }
