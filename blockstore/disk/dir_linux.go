package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

func allocate(f *os.File, now, size int64) error {
	err := again(func() error { return unix.Fallocate(int(f.Fd()), 0, now, size-now) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// syncData syncs f. A file that has no name any more goes with this process: syncing it would promise nothing.
func syncData(f *os.File) error {
	err := again(func() error { return unix.Fdatasync(int(f.Fd())) })
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = fault.New("sync", fault.NotExist, "%s was removed under this process", f.Name())
	}
	return err
}

// forget drops the clean pages of f; some file systems have no pages to drop.
func forget(f *os.File) error {
	err := again(func() error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

func willNeed(f *os.File, off, n int64) {
	_ = again(func() error { return unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED) })
}

func beginWrite(f *os.File, off, n int64) {
	_ = again(func() error { return unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}

func dontNeed(f *os.File, off, n int64) {
	_ = again(func() error { return unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED) })
}

func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
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
