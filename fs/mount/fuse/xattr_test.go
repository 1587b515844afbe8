//go:build linux

package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// TestXattrErrno holds the table of what means something else about extended attributes.
func TestXattrErrno(t *testing.T) {
	for k := fault.Other; k <= fault.Damaged; k++ {
		want := status(fault.New("x", k, ""))
		switch k {
		case fault.NotExist:
			want = fuse.Status(unix.ENODATA)
		case fault.TooBig:
			want = fuse.Status(unix.E2BIG)
		case fault.NameTooLong:
			want = fuse.Status(unix.ERANGE)
		}
		if got := xattrStatus(fault.New("x", k, "")); got != want {
			t.Errorf("%v is %v, want %v", k, got, want)
		}
	}
	if xattrStatus(nil) != fuse.Status(0) {
		t.Error("no error")
	}
}

// TestXattrSizes: what fits, what does not, and what is said of buffers that are too small.
func TestXattrSizes(t *testing.T) {
	s, _ := mounted(t, Options{})
	path := filepath.Join(s.Point(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	no := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	big := bytes.Repeat([]byte("x"), meta.XattrValueMax)
	no("a value of 64 KiB", unix.Setxattr(path, "user.big", big, 0), nil)
	no("a larger one", unix.Setxattr(path, "user.bigger", append(big, 1), 0), unix.E2BIG)
	no("a name of 255 bytes", unix.Setxattr(path, "user."+strings.Repeat("n", 250), nil, 0), nil)
	no("a longer one", unix.Setxattr(path, "user."+strings.Repeat("n", 251), nil, 0), unix.ERANGE)
	no("no name", unix.Setxattr(path, "", nil, 0), unix.ERANGE)
	buf := make([]byte, meta.XattrValueMax)
	if n, err := unix.Getxattr(path, "user.big", buf); n != len(big) || !bytes.Equal(buf, big) {
		t.Errorf("read back: %d, %v", n, err)
	}
	if n, err := unix.Getxattr(path, "user.big", nil); n != len(big) || err != nil {
		t.Errorf("its size: %d, %v", n, err)
	}
	_, err := unix.Getxattr(path, "user.big", buf[:100])
	no("a buffer too small", err, unix.ERANGE)
	if n, err := unix.Listxattr(path, nil); n != 256+9 || err != nil {
		t.Errorf("size of the list: %d, %v", n, err)
	}
	_, err = unix.Listxattr(path, buf[:10])
	no("a list too small", err, unix.ERANGE)
	if n, err := unix.Getxattr(path, "user."+strings.Repeat("n", 250), nil); n != 0 || err != nil {
		t.Errorf("an empty value: %d, %v", n, err)
	}
	full := error(nil)
	for i := 0; full == nil; i++ {
		full = unix.Setxattr(path, fmt.Sprintf("user.%d", i), big, 0)
	}
	no("more than there is room for", full, unix.ENOSPC)
}

// TestLayoutXattr: a directory's layout as an attribute: read and set in the words of dfsctl, and not listed.
func TestLayoutXattr(t *testing.T) {
	s, d := mounted(t, Options{AllowOther: true})
	dir := filepath.Join(s.Point(), "d")
	if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777), os.WriteFile(dir+"/f", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	get := func() string {
		buf := make([]byte, 200)
		n, err := unix.Getxattr(dir, "user.dfs.layout", buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := get(); got != "copies=auto,policy=balanced,unit=4M" {
		t.Errorf("by default: %q", got)
	}
	if err := unix.Setxattr(dir, "user.dfs.layout", []byte("copies=3,unit=64K\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := get(); got != "copies=3,policy=balanced,unit=64K" {
		t.Errorf("after it was set: %q", got)
	}
	st, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.FS.Getattr(context.Background(), meta.Ino(st.Sys().(*syscall.Stat_t).Ino))
	if err != nil || a.Inode.Wish.Copies != 3 {
		t.Errorf("%+v, %v", a.Inode.Wish, err)
	}
	if n, err := unix.Listxattr(dir, nil); n != 0 || err != nil {
		t.Errorf("it is listed: %d, %v", n, err)
	}
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"nonsense":        {unix.Setxattr(dir, "user.dfs.layout", []byte("copies=many"), 0), unix.EINVAL},
		"erasure coding":  {unix.Setxattr(dir, "user.dfs.layout", []byte("ec=4+2"), 0), unix.EOPNOTSUPP},
		"of a file":       {unix.Setxattr(dir+"/f", "user.dfs.layout", []byte("copies=2"), 0), unix.ENOTDIR},
		"a reserved name": {unix.Setxattr(dir, "user.dfs.other", []byte("1"), 0), unix.EPERM},
		"removing it":     {unix.Removexattr(dir, "user.dfs.layout"), unix.EPERM},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("the rest needs root, to be another user")
	}
	reachable(t, s.Point())
	script("alice set d user.dfs.layout copies=1 -> EPERM").play(t, s.Point())
}

// TestInvalidateACL: an ACL the kernel keeps is gone after a notify of the inode's attributes, and not before.
func TestInvalidateACL(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be other users")
	}
	s, other := cached(t, Options{AllowOther: true})
	reachable(t, s.Point())
	ino := writeFile(t, other, "f", "x")
	set := func(text string) {
		t.Helper()
		op := meta.SetXattr{Name: meta.AccessACL, Value: readACL(text).Append(nil)}
		if err := other.Setxattr(context.Background(), vfs.Caller{}, ino, op); err != nil {
			t.Fatal(err)
		}
	}
	set("u::rw-,u:1002:rw-,g::---,m::rw-,o::---")
	script(`
		bob may f rw
		carol may f r -> EACCES
	`).play(t, s.Point())
	set("u::rw-,u:1003:rw-,g::---,m::rw-,o::---") // the same mode: only the ACL differs
	script("bob may f rw").play(t, s.Point())     // the kernel keeps it
	if err := s.InvalInode(ino, -1, 0); err != nil {
		t.Fatal(err)
	}
	script(`
		bob may f r -> EACCES
		carol may f rw
		root acl f  -> u::rw-,u:1003:rw-,g::---,m::rw-,o::---
	`).play(t, s.Point())
}

// counts counts requests by their names: it is the log of a mount that logs them.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

var received = regexp.MustCompile(`rx \d+: ([A-Z_]+) `)

func (c *counts) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range received.FindAllSubmatch(p, -1) {
		c.n[string(m[1])]++
	}
	return len(p), nil
}

func (c *counts) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return n
}

// What extended attributes and ACLs cost where there are none: nothing for those who own what they use, but the question for
// capabilities before the first write to a file.
func TestXattrRequests(t *testing.T) {
	c := &counts{n: map[string]int{}}
	s, _ := cached(t, Options{Debug: true, Log: slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	path := filepath.Join(s.Point(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.take()
	for range 100 {
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.take(); n["GETXATTR"] > 1 || n["WRITE"] != 100 {
		t.Errorf("writing: %v", n)
	}
	for range 100 {
		if err := errors.Join(unix.Access(path, unix.R_OK), f.Chmod(0o600), f.Chmod(0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.take(); n["GETXATTR"]+n["LISTXATTR"]+n["SETXATTR"] > 0 {
		t.Errorf("asking for permission, and changing it: %v", n)
	}
	acl := func() {
		if _, err := unix.Getxattr(path, "system.posix_acl_access", nil); err != unix.ENODATA {
			t.Fatal(err)
		}
	}
	os.Stat(path)
	acl()
	c.take()
	for range 100 {
		acl()
	}
	if n := c.take(); n["GETXATTR"] > 0 {
		t.Errorf("asking for an ACL again and again: %v", n)
	}
}

// TestCopyKeepsAttributes: cp -a and rsync -aHAX, where they are installed.
func TestCopyKeepsAttributes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for trusted attributes")
	}
	s, _ := mounted(t, Options{})
	from := filepath.Join(s.Point(), "from")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	script(`
		root create from/f 640
		root write from/f
		root acl from/f u::rw-,u:1002:rw-,g::---,m::rw-,o::---
		root set from/f user.a hello
		root set from/f trusted.b 1
		root setcap from/f x
		root mkdir from/d 750
		root default from/d u::rwx,u:1002:rwx,g::r-x,m::rwx,o::---
		root set from/d user.c 2
	`).play(t, s.Point())
	for _, how := range [][]string{{"cp", "-a"}, {"rsync", "-aHAX"}} {
		t.Run(how[0], func(t *testing.T) {
			if _, err := exec.LookPath(how[0]); err != nil {
				t.Skipf("%s is not installed", how[0])
			}
			to := how[0]
			args := append(slices.Clone(how[1:]), from+"/.", filepath.Join(s.Point(), to))
			if out, err := exec.Command(how[0], args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			script(strings.ReplaceAll(`
				root acl to/f     -> u::rw-,u:1002:rw-,g::---,m::rw-,o::---
				root stat to/f    -> 660 0 0
				root get to/f user.a -> "hello"
				root list to/f    -> security.capability system.posix_acl_access trusted.b user.a .
				root default to/d -> u::rwx,u:1002:rwx,g::r-x,m::rwx,o::---
				root list to/d    -> system.posix_acl_default user.c .
			`, "to/", to+"/")).play(t, s.Point())
		})
	}
}
