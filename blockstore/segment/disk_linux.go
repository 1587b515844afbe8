package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeParts is one pwritev where all goes well; what that leaves is written part by part.
func writeParts(f *os.File, off int64, parts [][]byte) error {
	n, err := unix.Pwritev(int(f.Fd()), parts, off)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	n = max(n, 0)
	off += int64(n)
	for i, p := range parts {
		if n < len(p) {
			rest := append([][]byte{p[n:]}, parts[i+1:]...)
			return writeEach(f, off, rest)
		}
		n -= len(p)
	}
	return nil
}
