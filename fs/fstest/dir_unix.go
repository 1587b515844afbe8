//go:build unix

package fstest

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Dir shows a directory of this machine as a Tree, through the usual system calls.
func Dir(root string) Tree { return osDir(root) }

type osDir string

func (d osDir) at(p string) string { return filepath.Join(string(d), p) }

func (d osDir) Open(p string, f Flags) (File, error) {
	flags := os.O_RDONLY
	if f.Write {
		flags = os.O_WRONLY
		if f.Read {
			flags = os.O_RDWR
		}
	}
	for on, bit := range map[*bool]int{&f.Create: os.O_CREATE, &f.Excl: os.O_EXCL, &f.Trunc: os.O_TRUNC, &f.Append: os.O_APPEND} {
		if *on {
			flags |= bit
		}
	}
	x, err := os.OpenFile(d.at(p), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{x}, nil
}

func (d osDir) Mkdir(p string) error                { return os.Mkdir(d.at(p), 0o755) }
func (d osDir) Symlink(target, p string) error      { return os.Symlink(target, d.at(p)) }
func (d osDir) Readlink(p string) (string, error)   { return os.Readlink(d.at(p)) }
func (d osDir) Link(old, p string) error            { return os.Link(d.at(old), d.at(p)) }
func (d osDir) Remove(p string) error               { return syscall.Unlink(d.at(p)) }
func (d osDir) Rmdir(p string) error                { return syscall.Rmdir(d.at(p)) }
func (d osDir) Rename(old, p string) error          { return syscall.Rename(d.at(old), d.at(p)) }
func (d osDir) Truncate(p string, size int64) error { return os.Truncate(d.at(p), size) }
func (d osDir) Chmod(p string, perm uint32) error   { return syscall.Chmod(d.at(p), perm) }
func (d osDir) Chtimes(p string, mtime int64) error {
	return os.Chtimes(d.at(p), time.Unix(0, mtime), time.Unix(0, mtime))
}

func (d osDir) Stat(p string) (Stat, error) {
	fi, err := os.Lstat(d.at(p))
	if err != nil {
		return Stat{}, err
	}
	return osStat(fi), nil
}

func osStat(fi os.FileInfo) Stat {
	st := fi.Sys().(*syscall.Stat_t)
	return Stat{
		Ino: uint64(st.Ino), Dir: fi.IsDir(), Link: fi.Mode()&os.ModeSymlink != 0, Perm: uint32(st.Mode) & 07777,
		Nlink: uint32(st.Nlink), Size: fi.Size(), Blocks: uint64(st.Blocks), Mtime: fi.ModTime().UnixNano(),
	}
}

func (d osDir) List(p string) ([]string, error) {
	x, err := os.Open(d.at(p))
	if err != nil {
		return nil, err
	}
	defer x.Close()
	return x.Readdirnames(-1)
}

type osFile struct{ *os.File }

func (f osFile) Append(p []byte) error {
	_, err := f.Write(p)
	return err
}

func (f osFile) Stat() (Stat, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return Stat{}, err
	}
	return osStat(fi), nil
}
