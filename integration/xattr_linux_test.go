package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"dfs/fs/acl"
	"dfs/integration/harness"
)

// stranger is a user whom only ACLs let in.
const stranger = 54321

// mayRead reports whether the stranger may read the file called name on a peer's mount, whose directory everybody may pass.
func mayRead(t *testing.T, p *harness.Peer, name string) (may bool) {
	t.Helper()
	root, err := unix.Open(p.Path(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread, and who it is, end with this
		unix.Setfsgid(stranger)
		unix.Setfsuid(stranger)
		fd, err := unix.Openat(root, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if may = err == nil; may {
			unix.Close(fd)
		}
	}()
	<-done
	return may
}

// let returns the ACL that gives the owner all and the stranger perm.
func let(perm uint16) []byte {
	return acl.ACL{{Tag: acl.UserObj, Perm: 7}, {Tag: acl.User, Perm: perm, ID: stranger}, {Tag: acl.GroupObj},
		{Tag: acl.Mask, Perm: 7}, {Tag: acl.Other}}.Append(nil)
}

// When an extended attribute or an ACL was set on one mount, every other mount answers with it, and lets in or keeps out by it, at once,
// whether the directory is anybody's alone or not.
func TestXattrsAndACLsAreFresh(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	const access = "system.posix_acl_access"
	c := harness.Start(t, 3, harness.Options{})
	rounds := 90
	if harness.Soak() {
		rounds = 3000
	}
	for _, p := range c.Peers() {
		if err := os.Mkdir(p.Path(p.Name()), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1<<16)
	get := func(p *harness.Peer, name, attr string) string {
		n, err := unix.Getxattr(p.Path(name), attr, buf)
		if err != nil {
			return err.Error()
		}
		return string(buf[:n])
	}
	for i := range rounds {
		w, r := c.Peer(i%3+1), c.Peer((i+1+i/3%2)%3+1)
		name := "shared"
		if i%2 == 0 {
			name = filepath.Join(w.Name(), fmt.Sprint(i)) // in a directory that was this mount's alone
		}
		if err := os.WriteFile(w.Path(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint("round ", i)
		if err := unix.Setxattr(w.Path(name), "user.round", []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		if got := get(r, name, "user.round"); got != value {
			t.Errorf("round %d: the attribute is %q on %s", i, got, r.Name())
		}
		for _, perm := range []uint16{4, 0, 6} { // the mode stays as it is; only the ACL differs
			if err := unix.Setxattr(w.Path(name), access, let(perm), 0); err != nil {
				t.Fatal(err)
			}
			if may := mayRead(t, r, name); may != (perm&4 != 0) {
				t.Errorf("round %d: the ACL gives %o, and %s lets read: %v", i, perm, r.Name(), may)
			}
			if got := get(r, name, access); got != string(let(perm)) {
				t.Errorf("round %d: %s has the ACL %x", i, r.Name(), got)
			}
		}
		if err := unix.Removexattr(r.Path(name), "user.round"); err != nil {
			t.Fatal(err)
		}
		if got := get(w, name, "user.round"); got != unix.ENODATA.Error() {
			t.Errorf("round %d: removed on %s, and %q on %s", i, r.Name(), got, w.Name())
		}
		if err := unix.Removexattr(r.Path(name), access); err != nil {
			t.Fatal(err)
		}
		if mayRead(t, w, name) {
			t.Errorf("round %d: without an ACL %s lets read", i, w.Name())
		}
	}
}
