//go:build linux

package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"dfs/fs/acl"
)

// user is somebody in whose name a step of a script is done.
type user struct {
	uid, gid int
	groups   []int
}

var users = map[string]user{
	"root":  {0, 0, nil},
	"alice": {1001, 1001, nil},
	"bob":   {1002, 1002, []int{500}},
	"carol": {1003, 1003, nil},
}

// as runs fn on a thread of its own which is u, with all that makes it u and nothing else, and umask.
func (u user) as(umask int, fn func() string) (answer string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			answer = "unshare: " + err.Error()
			return
		}
		unix.Umask(umask)
		groups := make([]uint32, len(u.groups)+1)
		for i, g := range u.groups {
			groups[i] = uint32(g)
		}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(u.groups)), uintptr(unsafe.Pointer(&groups[0]))},
			{unix.SYS_SETRESGID, uintptr(u.gid), uintptr(u.gid), uintptr(u.gid)},
			{unix.SYS_SETRESUID, uintptr(u.uid), uintptr(u.uid), uintptr(u.uid)},
		} {
			if _, _, no := unix.RawSyscall(call[0], call[1], call[2], call[3]); no != 0 {
				answer = "become a user: " + no.Error()
				return
			}
		}
		answer = fn()
	}()
	<-done
	return answer
}

// script is steps, each "who what path arguments" and, behind an arrow, what comes of it: "ok" if nothing is said.
//
//	create write append cut f      open and close, with these flags; what of write is three bytes
//	mkdir fifo mode, link target   make them; tmpfile mode answers with what the mode becomes
//	chmod mode, chown u g, truncate n, unlink, rmdir, rename new
//	stat                           answers with the mode, owner and group
//	may rwx                        access(2)
//	set name value [new|old]       setxattr(2); get, list, remove; lset and lget do not follow links
//	setcap x                       gives a program a capability
//	acl|default list               sets an ACL; without a list it is answered: u::rwx,u:5:r--,g::---,m::rwx,o::---
//
// root umask 22 sets the umask of what follows.
type script string

// play runs the script below dir and fails where a step comes to something else.
func (s script) play(t *testing.T, dir string) {
	t.Helper()
	umask := 0o022
	for line := range strings.Lines(string(s)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		step, want, ok := strings.Cut(line, "->")
		if want = strings.TrimSpace(want); !ok {
			want = "ok"
		}
		words := strings.Fields(step)
		if len(words) == 0 {
			continue
		}
		if words[1] == "umask" {
			umask = octal(words[2])
			continue
		}
		u, known := users[words[0]]
		if !known || len(words) < 3 {
			t.Fatalf("no step: %q", line)
		}
		if got := u.as(umask, func() string { return do(dir, words[1], words[2], words[3:]) }); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func octal(s string) int {
	n, err := strconv.ParseInt(s, 8, 32)
	if err != nil {
		panic(err)
	}
	return int(n)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// answer is what a step comes to: a name of an errno, or text.
func answer(text string, err error) string {
	if no, ok := err.(syscall.Errno); ok {
		return unix.ErrnoName(no)
	}
	if err != nil {
		return err.Error()
	}
	if text == "" {
		return "ok"
	}
	return text
}

// opened opens a file and writes.
func opened(path string, flags int, mode uint32, data string) error {
	fd, err := unix.Open(path, flags, mode)
	if err != nil {
		return err
	}
	if data != "" {
		_, err = unix.Write(fd, []byte(data))
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

func do(dir, what, name string, args []string) string {
	path := filepath.Join(dir, name)
	arg := func(i int) string { return slices.Concat(args, make([]string, i+1))[i] }
	switch what {
	case "create":
		return answer("", opened(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, uint32(octal(arg(0))), ""))
	case "tmpfile":
		fd, err := unix.Open(path, unix.O_TMPFILE|unix.O_WRONLY, uint32(octal(arg(0))))
		if err != nil {
			return answer("", err)
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		return answer(fmt.Sprintf("%o", st.Mode&0o7777), err)
	case "write":
		return answer("", opened(path, unix.O_WRONLY, 0, "abc"))
	case "append":
		return answer("", opened(path, unix.O_WRONLY|unix.O_APPEND, 0, "abc"))
	case "cut":
		return answer("", opened(path, unix.O_WRONLY|unix.O_TRUNC, 0, ""))
	case "read":
		return answer("", opened(path, unix.O_RDONLY, 0, ""))
	case "truncate":
		return answer("", unix.Truncate(path, int64(number(arg(0)))))
	case "mkdir":
		return answer("", unix.Mkdir(path, uint32(octal(arg(0)))))
	case "fifo":
		return answer("", unix.Mkfifo(path, uint32(octal(arg(0)))))
	case "link":
		return answer("", unix.Symlink(arg(0), path))
	case "chmod":
		return answer("", unix.Chmod(path, uint32(octal(arg(0)))))
	case "chown":
		return answer("", unix.Lchown(path, number(arg(0)), number(arg(1))))
	case "unlink":
		return answer("", unix.Unlink(path))
	case "rmdir":
		return answer("", unix.Rmdir(path))
	case "rename":
		return answer("", unix.Rename(path, filepath.Join(dir, arg(0))))
	case "stat":
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		return answer(fmt.Sprintf("%o %d %d", st.Mode&0o7777, st.Uid, st.Gid), err)
	case "may":
		mode := uint32(strings.Count(arg(0), "r")*unix.R_OK | strings.Count(arg(0), "w")*unix.W_OK | strings.Count(arg(0), "x")*unix.X_OK)
		return answer("", unix.Access(path, mode))
	}
	return doXattr(path, what, arg)
}

func doXattr(path, what string, arg func(int) string) string {
	value := make([]byte, 1<<17)
	flags := map[string]int{"": 0, "new": unix.XATTR_CREATE, "old": unix.XATTR_REPLACE}
	switch what {
	case "setcap": // to bind low ports
		return answer("", unix.Setxattr(path, "security.capability", append([]byte{0, 0, 0, 2, 0, 4}, make([]byte, 14)...), 0))
	case "set":
		return answer("", unix.Setxattr(path, arg(0), []byte(arg(1)), flags[arg(2)]))
	case "lset":
		return answer("", unix.Lsetxattr(path, arg(0), []byte(arg(1)), flags[arg(2)]))
	case "get":
		n, err := unix.Getxattr(path, arg(0), value)
		return answer(strconv.Quote(string(value[:max(n, 0)])), err)
	case "lget":
		n, err := unix.Lgetxattr(path, arg(0), value)
		return answer(strconv.Quote(string(value[:max(n, 0)])), err)
	case "list":
		n, err := unix.Listxattr(path, value)
		names := strings.FieldsFunc(string(value[:max(n, 0)]), func(r rune) bool { return r == 0 })
		slices.Sort(names)
		return answer(strings.Join(append(names, "."), " "), err)
	case "remove":
		return answer("", unix.Removexattr(path, arg(0)))
	case "acl", "default":
		name := map[string]string{"acl": "system.posix_acl_access", "default": "system.posix_acl_default"}[what]
		if arg(0) == "none" {
			return answer("", unix.Removexattr(path, name))
		}
		if arg(0) != "" {
			return answer("", unix.Setxattr(path, name, readACL(arg(0)).Append(nil), 0))
		}
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			return answer("", err)
		}
		list, err := acl.Parse(value[:n])
		return answer(textOf(list), err)
	}
	return "no such step"
}

var tags = map[string][2]acl.Tag{"u": {acl.UserObj, acl.User}, "g": {acl.GroupObj, acl.Group}, "m": {acl.Mask, acl.Mask}, "o": {acl.Other, acl.Other}}

// readACL reads u::rwx,u:5:r--,g::---,m::rwx,o::---.
func readACL(text string) (a acl.ACL) {
	for part := range strings.SplitSeq(text, ",") {
		f := strings.Split(part, ":")
		e := acl.Entry{Tag: tags[f[0]][0], ID: acl.NoID}
		if f[1] != "" {
			e.Tag, e.ID = tags[f[0]][1], uint32(number(f[1]))
		}
		for i, c := range f[2] {
			if c != '-' {
				e.Perm |= 4 >> i
			}
		}
		a = append(a, e)
	}
	return a
}

func textOf(a acl.ACL) string {
	var parts []string
	for _, e := range a {
		for letter, t := range tags {
			if e.Tag != t[0] && e.Tag != t[1] {
				continue
			}
			id, perm := "", []byte("rwx")
			if e.ID != acl.NoID {
				id = fmt.Sprint(e.ID)
			}
			for i := range perm {
				if e.Perm&(4>>i) == 0 {
					perm[i] = '-'
				}
			}
			parts = append(parts, letter+":"+id+":"+string(perm))
		}
	}
	return strings.Join(parts, ",")
}

// both plays a script on a mount and, to judge the script itself, on the file system of the temporary directory, where that knows
// extended attributes and ACLs.
func (s script) both(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be other users")
	}
	t.Run("mount", func(t *testing.T) {
		srv, _ := mounted(t, Options{AllowOther: true})
		reachable(t, srv.Point())
		s.play(t, srv.Point())
	})
	t.Run("judge", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "judge")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		reachable(t, dir)
		if err := unix.Setxattr(dir, "system.posix_acl_access", readACL("u::rwx,g::r-x,o::r-x").Append(nil), 0); err != nil {
			t.Skipf("%s has no ACLs: %v", dir, err)
		}
		s.play(t, dir)
	})
}

// reachable lets everybody through to path, which lies in a temporary directory of this test.
func reachable(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
