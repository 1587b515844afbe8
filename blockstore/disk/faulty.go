package disk

import (
	"io"
	"sync/atomic"
)

// Op names a call of Disk or File.
type Op string

// The calls that can be failed. Closing never fails.
const (
	Lock     Op = "lock"
	Names    Op = "names"
	Open     Op = "open"
	Create   Op = "create" // an Open that may create
	Remove   Op = "remove"
	SyncDir  Op = "sync of names"
	Read     Op = "read"
	Write    Op = "write"
	Truncate Op = "truncate"
	Allocate Op = "allocate"
	Size     Op = "size"
	Sync     Op = "sync"
	Refresh  Op = "refresh"
)

// Changes reports whether the call is one that changes the disk or makes a change safe.
func (o Op) Changes() bool {
	switch o {
	case Lock, Names, Open, Read, Size:
		return false
	}
	return true
}

// Faulty returns d with faults: before each call fail is asked, and an error from it is the call's. A write that fails has
// written none, a third, two thirds or all of its bytes, in turns. A sync that fails leaves the bytes readable and
// unwritten for ever, as systems do, if d is a Memory. Fail is called from whichever goroutine makes the call.
func Faulty(d Disk, fail func(op Op, name string) error) Disk {
	return &faulty{d: d, fail: fail}
}

type faulty struct {
	d     Disk
	fail  func(Op, string) error
	turns atomic.Int64
}

func (d *faulty) Lock() (io.Closer, error) {
	if err := d.fail(Lock, ""); err != nil {
		return nil, err
	}
	return d.d.Lock()
}

func (d *faulty) Names() ([]string, error) {
	if err := d.fail(Names, ""); err != nil {
		return nil, err
	}
	return d.d.Names()
}

func (d *faulty) Open(name string, create bool) (File, error) {
	op := Open
	if create {
		op = Create
	}
	if err := d.fail(op, name); err != nil {
		return nil, err
	}
	f, err := d.d.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d, name}, nil
}

func (d *faulty) Remove(name string) error {
	if err := d.fail(Remove, name); err != nil {
		return err
	}
	return d.d.Remove(name)
}

func (d *faulty) Sync() error {
	if err := d.fail(SyncDir, ""); err != nil {
		return err
	}
	return d.d.Sync()
}

type faultyFile struct {
	f    File
	d    *faulty
	name string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.fail(Read, f.name); err != nil {
		return 0, err
	}
	return f.f.ReadAt(p, off)
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.d.fail(Size, f.name); err != nil {
		return 0, err
	}
	return f.f.Size()
}

func (f *faultyFile) WriteAll(off int64, parts ...[]byte) error {
	err := f.d.fail(Write, f.name)
	if err == nil {
		return f.f.WriteAll(off, parts...)
	}
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	left := size * int(f.d.turns.Add(1)%4) / 3
	for _, p := range parts {
		n := min(left, len(p))
		if n == 0 || f.f.WriteAll(off, p[:n]) != nil {
			break
		}
		left -= n
		off += int64(n)
	}
	return err
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.d.fail(Truncate, f.name); err != nil {
		return err
	}
	return f.f.Truncate(size)
}

func (f *faultyFile) Allocate(size int64) error {
	if err := f.d.fail(Allocate, f.name); err != nil {
		return err
	}
	return f.f.Allocate(size)
}

func (f *faultyFile) Sync() error { return f.sync(Sync, f.f.Sync) }

func (f *faultyFile) Refresh() error { return f.sync(Refresh, f.f.Refresh) }

func (f *faultyFile) sync(op Op, call func() error) error {
	if err := f.d.fail(op, f.name); err != nil {
		if m, ok := f.f.(*memFile); ok {
			m.lose()
		}
		return err
	}
	return call()
}

func (f *faultyFile) Close() error { return f.f.Close() }
