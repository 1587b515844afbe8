package fstest

import (
	"errors"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

var _ Sparse = osFile{}

// Fallocate implements Sparse.
func (f osFile) Fallocate(what Alloc, off, n int64) error {
	mode := map[Alloc]uint32{
		AllocateKeep: unix.FALLOC_FL_KEEP_SIZE,
		PunchKeep:    unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE,
		Zero:         unix.FALLOC_FL_ZERO_RANGE,
		ZeroKeep:     unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_ZERO_RANGE,
	}[what]
	for {
		err := unix.Fallocate(int(f.Fd()), mode, off, n)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP):
			return fault.Because("fallocate", fault.Unsupported, err)
		}
		return err
	}
}

// Find implements Sparse.
func (f osFile) Find(off int64, hole bool) (int64, error) {
	whence := unix.SEEK_DATA
	if hole {
		whence = unix.SEEK_HOLE
	}
	at, err := unix.Seek(int(f.Fd()), off, whence)
	if errors.Is(err, unix.ENXIO) {
		err = fault.New("seek", fault.NotExist, "no such place")
	}
	return at, err
}

// CopyTo implements Copier.
func (f osFile) CopyTo(dst File, off, at, n int64) (int64, error) {
	for {
		k, err := unix.CopyFileRange(int(f.Fd()), &off, int(dst.(osFile).Fd()), &at, int(n), 0)
		if !errors.Is(err, unix.EINTR) {
			return int64(max(k, 0)), err
		}
	}
}
