// Package fstest says what a mounted drive must do. Run is the contract, over an interface small enough that a vfs.FS in this
// process (Paths) and a directory (Dir) both satisfy it: what bytes and names become. Beside it are the conformance cases, in
// cases/*.txt, system call by system call and errno by errno, as POSIX.1-2024 and Linux's manual have them; script.go has their
// language. RunCore plays them on a vfs.FS, RunDir on a directory: a mount, or one of ext4, which judges the cases themselves. Where one does not
// hold, it says so, with the reason. Blocks is a data plane in memory.
package fstest

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"dfs/cluster/fault"
)

// Tree is a file system as programs see it. Paths are relative to its root, with slashes; "" is the root.
// Errors are of a kind that KindOf knows.
type Tree interface {
	Open(path string, flags Flags) (File, error)
	Mkdir(path string) error
	Symlink(target, path string) error
	Readlink(path string) (string, error)
	Link(old, path string) error
	Remove(path string) error // a file's name
	Rmdir(path string) error
	Rename(old, path string) error
	Truncate(path string, size int64) error
	Chmod(path string, perm uint32) error
	Chtimes(path string, mtime int64) error // nanoseconds since 1970
	Stat(path string) (Stat, error)         // does not follow a symbolic link
	List(path string) ([]string, error)     // in any order
}

// File is one open file.
type File interface {
	io.ReaderAt
	WriteAt(p []byte, off int64) (int, error)
	Append(p []byte) error // of a file opened with Flags.Append
	Truncate(size int64) error
	Stat() (Stat, error)
	Sync() error
	Close() error
}

// Flags of an open.
type Flags struct{ Read, Write, Create, Excl, Trunc, Append bool }

// Usual flags.
var (
	ReadOnly = Flags{Read: true}
	Update   = Flags{Read: true, Write: true}
	Fresh    = Flags{Read: true, Write: true, Create: true, Trunc: true}
	Log      = Flags{Write: true, Create: true, Append: true}
)

// Stat is what the suite compares of a file's attributes.
type Stat struct {
	Ino    uint64
	Dir    bool
	Link   bool // symbolic
	Perm   uint32
	Nlink  uint32
	Size   int64
	Blocks uint64
	Mtime  int64
}

// Case is one promise.
type Case struct {
	Name string
	Test func(t *testing.T, fs Tree)
}

// Run checks every promise, each on a fresh file system that open makes.
func Run(t *testing.T, open func(t *testing.T) Tree) {
	for _, group := range [][]Case{fileCases, nameCases, modelCases} {
		for _, c := range group {
			t.Run(c.Name, func(t *testing.T) { c.Test(t, open(t)) })
		}
	}
}

// kinds says which kind an error of the operating system is.
var kinds = map[syscall.Errno]fault.Kind{
	syscall.ENOENT: fault.NotExist, syscall.EEXIST: fault.Exist, syscall.ENOTDIR: fault.NotDir,
	syscall.EISDIR: fault.IsDir, syscall.ENOTEMPTY: fault.NotEmpty, syscall.ENAMETOOLONG: fault.NameTooLong,
	syscall.EINVAL: fault.Invalid, syscall.EPERM: fault.Permission, syscall.EACCES: fault.Permission,
	syscall.EIO: fault.Other, syscall.ENOSPC: fault.NoSpace, syscall.ESTALE: fault.Stale, syscall.EFBIG: fault.TooBig,
}

// KindOf returns the kind of an error from either sort of Tree.
func KindOf(err error) fault.Kind {
	var no syscall.Errno
	if errors.As(err, &no) {
		return kinds[no]
	}
	return fault.KindOf(err)
}

// want fails the test unless err is of kind k.
func want(t *testing.T, what string, err error, k ...fault.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error, want %v", what, k)
	}
	for _, k := range k {
		if KindOf(err) == k {
			return
		}
	}
	t.Fatalf("%s: %v, want %v", what, err, k)
}

// ok fails the test on an error.
func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
