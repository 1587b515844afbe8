package disk

import (
	"io"
	"os"
	"path/filepath"

	"dfs/blockstore/dirlock"
)

// Dir is a Disk in a directory of the operating system.
type Dir string

var _ Disk = Dir("")

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Lock implements Disk.
func (d Dir) Lock() (io.Closer, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	l, err := dirlock.Acquire(string(d))
	if err != nil {
		return nil, err
	}
	return held{l}, nil
}

type held struct{ l *dirlock.Lock }

func (h held) Close() error { return h.l.Release() }

// Names implements Disk.
func (d Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Open implements Disk.
func (d Dir) Open(name string, create bool) (File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(d.path(name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Remove implements Disk.
func (d Dir) Remove(name string) error { return os.Remove(d.path(name)) }

// Sync implements Disk.
func (d Dir) Sync() error { return syncDir(string(d)) }

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (f file) WriteAll(off int64, parts ...[]byte) error { return writeParts(f.File, off, parts) }

func (f file) Allocate(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	return allocate(f.File, now, size)
}

func (f file) Sync() error { return syncData(f.File) }

func (f file) Refresh() error {
	if err := f.Sync(); err != nil {
		return err
	}
	return forget(f.File)
}

// Warm implements Hinter.
func (f file) Warm(off, n int64) { willNeed(f.File, off, n) }

// Begin implements Hinter.
func (f file) Begin(off, n int64) { beginWrite(f.File, off, n) }

// Forget implements Hinter.
func (f file) Forget(off, n int64) { dontNeed(f.File, off, n) }

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
