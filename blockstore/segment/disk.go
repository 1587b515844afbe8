package segment

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"dfs/cluster/fault"
)

// Disk is the flat directory that a store lives in. Every call the store makes to the system goes through it, so that
// tests can fail any one of them or cut the power between any two.
type Disk interface {
	Names() ([]string, error)
	Open(name string, create bool) (File, error) // to read and write; os.ErrNotExist
	Remove(name string) error
	Sync() error // makes the names durable
}

// File is one file of it.
type File interface {
	io.ReaderAt
	WriteAll(off int64, parts [][]byte) error // one gathered write where the system has it; all or an error
	Sync() error                              // makes the bytes and the size durable
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// directory is the Disk of a real directory.
type directory string

func osDisk(dir string) (Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError("segment open", err)
	}
	return directory(dir), nil
}

func (d directory) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d directory) Open(name string, create bool) (File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(filepath.Join(string(d), name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

func (d directory) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d directory) Sync() error { return syncDir(string(d)) }

type file struct{ *os.File }

func (f *file) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (f *file) Sync() error { return syncData(f.File) }

func (f *file) WriteAll(off int64, parts [][]byte) error { return writeParts(f.File, off, parts) }

// writeEach writes the parts one by one.
func writeEach(w io.WriterAt, off int64, parts [][]byte) error {
	for _, p := range parts {
		n, err := w.WriteAt(p, off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// diskError gives a system error its kind.
func diskError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Because(op, fault.NoSpace, err)
	}
	return fault.Wrap(op, err)
}
