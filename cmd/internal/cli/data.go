package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"dfs/cluster/fault"
)

// Existing returns path or the nearest directory above it that is there.
func Existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}

// CheckData says whether a peer can live in data, an absolute path: a directory, there or still to be made, that can be
// written to and lies in no drive. It changes nothing. fault.Invalid, Permission, ReadOnly, Refused, each with its advice.
func CheckData(data string) error {
	const op = "data directory"
	if !utf8.ValidString(data) {
		return Hint(fault.New(op, fault.Invalid, "%q is not UTF-8", data), "choose another --data")
	}
	at := Existing(data)
	if info, err := os.Stat(at); err == nil && !info.IsDir() {
		return Hint(fault.New(op, fault.Invalid, "%s is no directory", at), "choose another --data")
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		real = at
	}
	mounts, err := Mounts()
	if err != nil {
		return err
	}
	if m, _, ok := Containing(mounts, real); ok {
		return Hint(fault.New(op, fault.Refused, "%s lies in the drive that is mounted at %s: a drive cannot keep itself", data, m.Point),
			"choose another --data, on a disk of this machine")
	}
	if err := writable(at); err != nil {
		return Hint(err, "choose another --data, or make %s writable for this user", at)
	}
	return nil
}

// CheckFresh refuses to make a peer among somebody's files: mostly --data was meant to be another directory. What dfsd
// has been in before is its own, and so is the way to the mount point.
func CheckFresh(data, mount string) error {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Hint(fault.Because("data directory", fault.Permission, err), "choose another --data")
	}
	foreign := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == UpLock:
			return nil
		case slices.Contains([]string{"dfsd.toml", "lost+found"}, name):
		case strings.HasPrefix(mount+string(filepath.Separator), filepath.Join(data, name)+string(filepath.Separator)):
		case foreign == "":
			foreign = name
		}
	}
	if foreign == "" {
		return nil
	}
	return Hint(fault.New("data directory", fault.NotEmpty, "%s has files in it that are not of dfs (%s)", data, Printable(foreign)),
		"choose a directory that is empty, or one that is not there yet")
}

// UpLock is the file in the data directory whose lock `dfsd up` holds. Once made it stays.
const UpLock = "up.lock"

// RealMount follows the links that lead to a mount point, because the kernel's table of mounts has none. It asks nothing
// of what is mounted there already: that may be a drive whose daemon hangs.
func RealMount(mount string) string {
	for range 40 {
		dir, base := filepath.Split(mount)
		if dir = filepath.Clean(dir); dir == mount {
			return mount
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		} else {
			dir = RealMount(dir) // not there yet
		}
		mount = filepath.Join(dir, base)
		target, err := os.Readlink(mount)
		if err != nil {
			return mount
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		mount = target
	}
	return mount // round and round: mounting will say so
}
