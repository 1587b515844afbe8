//go:build !linux

package disk

import (
	"errors"
	"os"
	"runtime"
)

func allocate(f *os.File, _, size int64) error { return f.Truncate(size) }

func syncData(f *os.File) error { return f.Sync() }

// forget has no portable form: here a failed sync is told from a good one by the sums of what is read.
func forget(*os.File) error { return nil }

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

func willNeed(*os.File, int64, int64)   {}
func beginWrite(*os.File, int64, int64) {}
func dontNeed(*os.File, int64, int64)   {}
