package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"testing"
)

// Copy copies the tree at from to the directory to, which must not exist. After every file it calls each, if that is
// not nil, with the number of files so far.
func Copy(t testing.TB, from, to string, each func(files int)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(dst, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		case !d.Type().IsRegular():
			return nil
		}
		files++
		if err := copyFile(path, dst); err != nil {
			return err
		}
		if each != nil {
			each(files)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("copy of %s: %v", from, err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Tree is the contents of a directory: for every name below it a line of type, size and hash.
type Tree map[string]string

// ReadTree reads all of dir, byte by byte.
func ReadTree(t testing.TB, dir string) Tree {
	t.Helper()
	tree := Tree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		tree[rel], err = describe(path, d)
		return err
	})
	if err != nil {
		t.Fatalf("reading %s: %v", dir, err)
	}
	return tree
}

func describe(path string, d fs.DirEntry) (string, error) {
	switch {
	case d.IsDir():
		return "directory", nil
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "link to " + target, err
	case !d.Type().IsRegular():
		return d.Type().String(), nil
	}
	info, err := d.Info()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s: %d bytes read, stat says %d", path, n, info.Size())
	}
	return fmt.Sprintf("%d bytes %s", n, hex.EncodeToString(h.Sum(nil))), err
}

// Same fails the test unless got is want. It names at most ten differences.
func Same(t testing.TB, what string, got, want Tree) {
	t.Helper()
	var diffs []string
	for name, w := range want {
		if g, ok := got[name]; !ok {
			diffs = append(diffs, name+" is missing")
		} else if g != w {
			diffs = append(diffs, fmt.Sprintf("%s is %s, not %s", name, g, w))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			diffs = append(diffs, name+" should not be there")
		}
	}
	sort.Strings(diffs)
	if len(diffs) > 0 {
		t.Errorf("%s: %d of %d names differ: %q", what, len(diffs), len(want), diffs[:min(len(diffs), 10)])
	}
}

// Copies checks by asking the stores that every extent of every regular file below root, a path of the drive that is
// seen through p, has at least copies good replicas. It returns how many extents it looked at.
func Copies(t testing.TB, p *Peer, root string, copies int) (extents int) {
	t.Helper()
	bad := 0
	err := filepath.WalkDir(p.Path(root), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(p.Mount, path)
		if err != nil {
			return err
		}
		w, err := p.Admin.Where(t.Context(), "/"+filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		for _, e := range w.Extents {
			extents++
			good := 0
			for _, r := range e.Replicas {
				if r.State == "ok" {
					good++
				}
			}
			if good < copies {
				if bad++; bad <= 5 {
					t.Errorf("%s at %d has %d of %d copies: %+v", rel, e.Offset, good, copies, e.Replicas)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("where: %v", err)
	}
	if bad > 0 {
		t.Errorf("%d of %d extents lack copies", bad, extents)
	}
	return extents
}
