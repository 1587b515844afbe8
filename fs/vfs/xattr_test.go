package vfs_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/acl"
	"dfs/fs/coherence"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

var rich = acl.ACL{{Tag: acl.UserObj, Perm: 6, ID: acl.NoID}, {Tag: acl.User, Perm: 7, ID: 7}, {Tag: acl.GroupObj, Perm: 4, ID: acl.NoID},
	{Tag: acl.Mask, Perm: 5, ID: acl.NoID}, {Tag: acl.Other, Perm: 0, ID: acl.NoID}}

var plain = acl.ACL{{Tag: acl.UserObj, Perm: 7, ID: acl.NoID}, {Tag: acl.GroupObj, Perm: 5, ID: acl.NoID}, {Tag: acl.Other, Perm: 1, ID: acl.NoID}}

// opened is a file that this mount has just made and has open: it is its alone.
type opened struct {
	t   *testing.T
	fs  *vfs.FS
	ino meta.Ino
	h   vfs.Handle
}

func open(t *testing.T, fs *vfs.FS) opened {
	t.Helper()
	e, o, err := fs.Create(context.Background(), vfs.Caller{Umask: 0o22}, meta.Root, "f", 0o666, vfs.Mode{Write: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Inode.Mode != 0o644 {
		t.Errorf("made with mode %o", e.Inode.Mode)
	}
	return opened{t, fs, e.Inode.Ino, o.Handle}
}

func (o opened) set(name string, value []byte) {
	o.t.Helper()
	if err := o.fs.Setxattr(context.Background(), vfs.Caller{}, o.ino, meta.SetXattr{Name: name, Value: value}); err != nil {
		o.t.Fatal(err)
	}
}

func (o opened) setattr(s meta.SetAttr) {
	o.t.Helper()
	if _, err := o.fs.Setattr(context.Background(), o.ino, s); err != nil {
		o.t.Fatal(err)
	}
}

// want checks mode and attributes, as the mount sees them, and, once it is closed, as everybody does.
func (o opened) want(what string, mode uint32, want map[string]string) {
	o.t.Helper()
	ctx := context.Background()
	a, err := o.fs.Getattr(ctx, o.ino)
	if err != nil || a.Inode.Mode != mode {
		o.t.Errorf("%s: mode %o (%v), want %o", what, a.Inode.Mode, err, mode)
	}
	names, err := o.fs.Listxattr(ctx, vfs.Caller{}, o.ino)
	if err != nil || len(names) != len(want) {
		o.t.Errorf("%s: names %q (%v)", what, names, err)
	}
	for name, value := range want {
		if got, err := o.fs.Getxattr(ctx, o.ino, name); err != nil || string(got) != value {
			o.t.Errorf("%s: %s is %q (%v), want %q", what, name, got, err, value)
		}
	}
}

// Modes, owners and attributes of a file that is its maker's alone end up in the order in which they were set, whether they
// wait for its close or not.
func TestXattrsOfANewFile(t *testing.T) {
	text := string(rich.Append(nil))
	for name, c := range map[string]struct {
		do   func(o opened)
		mode uint32
		want map[string]string
	}{
		"a plain ACL": {func(o opened) { o.set(meta.AccessACL, plain.Append(nil)) }, 0o751, nil},
		"chmod, then an ACL": {func(o opened) {
			o.setattr(meta.SetAttr{Mask: meta.SetMode, Mode: 0o777})
			o.set(meta.AccessACL, rich.Append(nil))
		}, 0o650, map[string]string{meta.AccessACL: text}},
		"an ACL, then chmod": {func(o opened) {
			o.set(meta.AccessACL, rich.Append(nil))
			o.setattr(meta.SetAttr{Mask: meta.SetMode, Mode: 0o777})
		}, 0o777, map[string]string{meta.AccessACL: string(rich.Chmod(0o777).Append(nil))}},
		"an ACL, then a plain one": {func(o opened) {
			o.set(meta.AccessACL, rich.Append(nil))
			o.set(meta.AccessACL, plain.Append(nil))
		}, 0o751, nil},
		"chown, then a capability": {func(o opened) {
			o.setattr(meta.SetAttr{Mask: meta.SetUID, UID: 5})
			o.set(meta.Capability, []byte("c"))
		}, 0o644, map[string]string{meta.Capability: "c"}},
		"setuid, then chown": {func(o opened) {
			o.setattr(meta.SetAttr{Mask: meta.SetMode, Mode: 0o6755})
			o.setattr(meta.SetAttr{Mask: meta.SetUID, UID: 5})
		}, 0o755, nil},
		"chown, then setuid": {func(o opened) {
			o.setattr(meta.SetAttr{Mask: meta.SetUID, UID: 5})
			o.setattr(meta.SetAttr{Mask: meta.SetMode, Mode: 0o6755})
		}, 0o6755, nil},
		"bytes around it": {func(o opened) {
			write(o, "hello")
			o.set("user.a", []byte("1"))
			write(o, "world")
		}, 0o644, map[string]string{"user.a": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := fstest.NewDrive(t, vfs.Options{})
			o := open(t, d.FS)
			c.do(o)
			o.want("open", c.mode, c.want)
			if err := o.fs.Flush(context.Background(), o.h); err != nil {
				t.Fatal(err)
			}
			o.fs.Release(o.h)
			o.want("closed", c.mode, c.want)
			o.fs = vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{Session: d.Meta.Session()})
			o.want("elsewhere", c.mode, c.want)
		})
	}
}

func write(o opened, text string) {
	if _, err := o.fs.Write(context.Background(), o.h, 0, []byte(text), false); err != nil {
		o.t.Fatal(err)
	}
}

// What programs see of names that cannot be, and of inodes that are gone.
func TestXattrErrors(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	o := open(t, d.FS)
	ctx := context.Background()
	get := func(ino meta.Ino, name string) error {
		_, err := d.FS.Getxattr(ctx, ino, name)
		return err
	}
	_, listErr := d.FS.Listxattr(ctx, vfs.Caller{}, 999)
	for what, c := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"none of that name":      {get(o.ino, "user.a"), fault.NotExist},
		"an unknown namespace":   {get(o.ino, "nowhere.a"), fault.Unsupported},
		"no name":                {get(o.ino, "user."), fault.Invalid},
		"of what is gone":        {get(999, "user.a"), fault.Stale},
		"the list of that":       {listErr, fault.Stale},
		"set of that":            {d.FS.Setxattr(ctx, vfs.Caller{}, 999, meta.SetXattr{Name: "user.a"}), fault.Stale},
		"removed of that":        {d.FS.Removexattr(ctx, 999, "user.a"), fault.Stale},
		"an ACL of that":         {d.FS.Removexattr(ctx, 999, meta.AccessACL), fault.Stale},
		"removed and not there":  {d.FS.Removexattr(ctx, o.ino, "user.a"), fault.NotExist},
		"the layout of a file":   {get(o.ino, vfs.Layout), fault.NotExist},
		"a layout for a file":    {d.FS.Setxattr(ctx, vfs.Caller{}, o.ino, meta.SetXattr{Name: vfs.Layout}), fault.NotDir},
		"somebody's directory":   {d.FS.Setxattr(ctx, vfs.Caller{UID: 5}, meta.Root, meta.SetXattr{Name: vfs.Layout}), fault.Refused},
		"a layout that is none":  {d.FS.Setxattr(ctx, vfs.Caller{}, meta.Root, meta.SetXattr{Name: vfs.Layout}), fault.Invalid},
		"a layout taken away":    {d.FS.Removexattr(ctx, meta.Root, vfs.Layout), fault.Refused},
		"a name that is ours":    {d.FS.Setxattr(ctx, vfs.Caller{}, meta.Root, meta.SetXattr{Name: "user.dfs.x"}), fault.Refused},
		"an ACL that is none":    {d.FS.Setxattr(ctx, vfs.Caller{}, o.ino, meta.SetXattr{Name: meta.AccessACL}), fault.Invalid},
		"a file's default ACL":   {d.FS.Setxattr(ctx, vfs.Caller{}, o.ino, meta.SetXattr{Name: meta.DefaultACL, Value: plain.Append(nil)}), fault.Permission},
		"that again, taken away": {d.FS.Removexattr(ctx, o.ino, meta.DefaultACL), 0},
	} {
		if got := fault.KindOf(c.err); got != c.want || (c.err == nil) != (c.want == 0) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
}

// Trusted attributes are shown to root only.
func TestTrustedNames(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	o := open(t, d.FS)
	o.set("trusted.a", nil)
	o.set("user.b", nil)
	for uid, want := range map[uint32][]string{0: {"trusted.a", "user.b"}, 5: {"user.b"}} {
		if got, err := d.FS.Listxattr(context.Background(), vfs.Caller{UID: uid}, o.ino); err != nil || !slices.Equal(got, want) {
			t.Errorf("user %d: %q, %v", uid, got, err)
		}
	}
}

// keepAll is a Coherence that lets the kernel keep everything for a minute, or nothing.
type keepAll struct {
	vfs.Alone
	kept bool
}

func (k keepAll) Read(ctx context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	_, err := k.Alone.Read(ctx, o, fn)
	if !k.kept {
		return 0, err
	}
	return time.Minute, err
}

// doubts is a Coherence that notes what the kernel is made to forget.
type doubts struct {
	keepAll
	inos *[]meta.Ino
}

func (d doubts) Doubt(ino meta.Ino) { *d.inos = append(*d.inos, ino) }

// An ACL that may not be kept is taken back from a kernel that keeps all it gets; one that may be is not.
func TestACLsThatMayNotBeKept(t *testing.T) {
	for _, kept := range []bool{false, true} {
		d := fstest.NewDrive(t, vfs.Options{})
		o := open(t, d.FS)
		o.set(meta.AccessACL, rich.Append(nil))
		if err := d.FS.Flush(context.Background(), o.h); err != nil {
			t.Fatal(err)
		}
		var inos []meta.Ino
		fs := vfs.New(d.Meta, d.Blocks, doubts{keepAll{vfs.Alone{Store: d.Meta}, kept}, &inos}, vfs.Options{Session: d.Meta.Session()})
		for _, name := range []string{"user.a", meta.AccessACL, meta.DefaultACL} {
			_, _ = fs.Getxattr(context.Background(), o.ino, name)
		}
		if want := map[bool]int{false: 2, true: 0}[kept]; len(inos) != want {
			t.Errorf("may be kept %v: doubts %v", kept, inos)
		}
	}
}
