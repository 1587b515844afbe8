package delegate_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"dfs/fs/acl"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// defaults is a default ACL.
var defaults = acl.ACL{{Tag: acl.UserObj, Perm: 7, ID: acl.NoID}, {Tag: acl.User, Perm: 7, ID: 7}, {Tag: acl.GroupObj, Perm: 5, ID: acl.NoID},
	{Tag: acl.Mask, Perm: 7, ID: acl.NoID}, {Tag: acl.Other, Perm: 0, ID: acl.NoID}}

// xattrsOf lists what an inode has.
func xattrsOf(t *testing.T, fs *vfs.FS, ino meta.Ino) (all []string) {
	t.Helper()
	names, err := fs.Listxattr(t.Context(), vfs.Caller{}, ino)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		value, err := fs.Getxattr(t.Context(), ino, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s=%x", name, value))
	}
	return all
}

// Extended attributes are set here like everything else, ACLs are inherited here, and none of it is lost with the daemon.
func TestXattrsAreSetHere(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	own, err := r.fs.Mkdir(ctx, vfs.Caller{}, meta.Root, "own", 0o755, nil)
	must(err)
	_, err = r.fs.Mkdir(ctx, vfs.Caller{}, own.Inode.Ino, "first", 0o755, nil) // inode numbers are reserved
	must(err)
	must(r.m.Begin(ctx, r.log.Session()))
	must(r.m.Settle(ctx))
	r.log.mu.Lock()
	through := r.log.through
	r.log.mu.Unlock()
	r.log.hold(true)
	set := func(ino meta.Ino, name string, value []byte) {
		t.Helper()
		must(r.fs.Setxattr(ctx, vfs.Caller{}, ino, meta.SetXattr{Name: name, Value: value}))
	}
	set(own.Inode.Ino, meta.DefaultACL, defaults.Append(nil))
	f, o, err := r.fs.Create(ctx, vfs.Caller{Umask: 0o77}, own.Inode.Ino, "f", 0o664, vfs.Mode{Write: true}, nil)
	must(err)
	if f.Inode.Mode != 0o660 {
		t.Errorf("made with mode %o", f.Inode.Mode)
	}
	set(f.Inode.Ino, "user.a", []byte("1"))
	set(f.Inode.Ino, "user.b", []byte("2"))
	must(r.fs.Removexattr(ctx, f.Inode.Ino, "user.b"))
	must(r.fs.Flush(ctx, o.Handle))
	r.fs.Release(o.Handle)
	want := xattrsOf(t, r.fs, f.Inode.Ino)
	if len(want) != 2 {
		t.Errorf("it has %q", want)
	}
	r.log.mu.Lock()
	if r.log.through != through {
		t.Errorf("%d ops went to the log by themselves", r.log.through-through)
	}
	r.log.dead = true // with all that it has not sent
	r.log.mu.Unlock()
	left := r.left(dir)
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	if got := xattrsOf(t, next.fs, f.Inode.Ino); !slices.Equal(got, want) {
		t.Errorf("after the crash %q, before %q", got, want)
	}
	if a, err := next.fs.Getattr(ctx, f.Inode.Ino); err != nil || a.Inode.Mode != 0o660 {
		t.Errorf("after the crash: mode %o, %v", a.Inode.Mode, err)
	}
	r.log.hold(false) // what the dead one still sends is known by its numbers
}

// What waits for the log is bounded in bytes, too.
func TestLargeOpsWaitSooner(t *testing.T) {
	r := newRig(t, "")
	own, err := r.fs.Mkdir(t.Context(), vfs.Caller{}, meta.Root, "own", 0o755, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.log.hold(true)
	defer r.log.hold(false)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	op := meta.SetXattr{Name: "user.a", Value: make([]byte, meta.XattrValueMax)}
	for err == nil {
		err = r.fs.Setxattr(ctx, vfs.Caller{}, own.Inode.Ino, op)
	}
	if n := r.m.Status().Queue; n == 0 || n > 260 {
		t.Errorf("%d ops of 64 KiB wait", n)
	}
}
