package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/acl"
)

func (d *drive) xattr(ino Ino, name string) string {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	b, err := v.Xattr(ino, name)
	if errors.Is(err, fault.NotExist) {
		return "none"
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

func (d *drive) xattrs(ino Ino) []string {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	names, err := v.Xattrs(ino)
	if err != nil {
		d.t.Fatal(err)
	}
	return names
}

// list is the ACL of user 7 beside the mode.
func list(owner, user, group, mask, other uint16) acl.ACL {
	return acl.ACL{{Tag: acl.UserObj, Perm: owner, ID: acl.NoID}, {Tag: acl.User, Perm: user, ID: 7}, {Tag: acl.GroupObj, Perm: group, ID: acl.NoID},
		{Tag: acl.Mask, Perm: mask, ID: acl.NoID}, {Tag: acl.Other, Perm: other, ID: acl.NoID}}
}

func plainList(owner, group, other uint16) acl.ACL {
	return acl.ACL{{Tag: acl.UserObj, Perm: owner, ID: acl.NoID}, {Tag: acl.GroupObj, Perm: group, ID: acl.NoID}, {Tag: acl.Other, Perm: other, ID: acl.NoID}}
}

// setxattr(2) and removexattr(2), case by case.
func TestXattrTable(t *testing.T) {
	d := newDrive(t, 1)
	ino := map[Type]Ino{File: d.file("f"), Dir: d.dir(Root, "d")}
	for typ, op := range map[Type]Create{Symlink: {Target: "t"}, Fifo: {}, Socket: {}, CharDev: {}} {
		op.Dir, op.Name, op.Type = Root, fmt.Sprint(typ), typ
		ino[typ] = d.do(op).Inode.Ino
	}
	d.do(SetXattr{Ino: ino[File], Name: "user.there", Value: []byte("x")})
	for _, c := range []struct {
		typ   Type
		name  string
		value string
		flags uint32
		want  fault.Kind // 0: it works
	}{
		{File, "user.a", "1", 0, 0},
		{File, "user.empty", "", 0, 0},
		{File, "user.max", strings.Repeat("x", XattrValueMax), 0, 0},
		{File, "user.big", strings.Repeat("x", XattrValueMax+1), 0, fault.TooBig},
		{File, "user." + strings.Repeat("n", 250), "1", 0, 0},
		{File, "user." + strings.Repeat("n", 251), "1", 0, fault.NameTooLong},
		{File, "user.", "1", 0, fault.Invalid},
		{File, "user", "1", 0, fault.Invalid},
		{File, "", "1", 0, fault.Invalid},
		{File, "user.a\x00b", "1", 0, fault.Invalid},
		{File, "nowhere.a", "1", 0, fault.Unsupported},
		{File, "system.other", "1", 0, fault.Unsupported},
		{File, "user.dfs.layout", "copies=2", 0, fault.Refused},
		{File, "user.dfs.other", "1", 0, fault.Refused},
		{File, "user.dfs", "1", 0, 0},
		{File, "user.there", "2", XattrCreate, fault.Exist},
		{File, "user.there", "2", XattrReplace, 0},
		{File, "user.new", "2", XattrReplace, fault.NotExist},
		{File, "user.new", "2", XattrCreate, 0},
		{File, "trusted.a", "1", 0, 0},
		{File, "security.a", "1", 0, 0},
		{Dir, "user.a", "1", 0, 0},
		{Symlink, "user.a", "1", 0, fault.Refused},
		{Symlink, "trusted.a", "1", 0, 0},
		{Symlink, "security.a", "1", 0, 0},
		{Symlink, AccessACL, string(plainList(7, 7, 7).Append(nil)), 0, fault.Unsupported},
		{Fifo, "user.a", "1", 0, fault.Refused},
		{Fifo, "trusted.a", "1", 0, 0},
		{Socket, "user.a", "1", 0, fault.Refused},
		{CharDev, "user.a", "1", 0, fault.Refused},
		{Fifo, AccessACL, string(list(7, 7, 7, 7, 7).Append(nil)), 0, 0},
		{File, AccessACL, "nonsense", 0, fault.Invalid},
		{File, DefaultACL, string(list(7, 7, 7, 7, 7).Append(nil)), 0, fault.Permission},
		{Dir, DefaultACL, string(list(7, 7, 7, 7, 7).Append(nil)), 0, 0},
	} {
		op := SetXattr{Ino: ino[c.typ], Name: c.name, Value: []byte(c.value), Flags: c.flags, Time: 9}
		if c.want != 0 {
			before := d.xattr(op.Ino, c.name)
			d.refuse(c.want, op)
			if after := d.xattr(op.Ino, c.name); after != before {
				t.Errorf("%+v was refused and made %q of %q", c, after, before)
			}
			continue
		}
		d.do(op)
		if got := d.xattr(op.Ino, c.name); got != c.value {
			t.Errorf("%v %q: %d bytes", c.typ, c.name, len(got))
		}
		if !slices.Contains(d.xattrs(op.Ino), c.name) || !slices.Contains(d.last().Attrs, op.Ino) {
			t.Errorf("%v %q: names %q, change %+v", c.typ, c.name, d.xattrs(op.Ino), d.last())
		}
	}
	d.refuse(fault.Stale, SetXattr{Ino: 999, Name: "user.a"})
	d.refuse(fault.Stale, RemoveXattr{Ino: 999, Name: "user.a"})
	d.refuse(fault.NotExist, RemoveXattr{Ino: ino[File], Name: "user.never"})
	d.refuse(fault.Unsupported, RemoveXattr{Ino: ino[File], Name: "nowhere.a"})
	d.do(RemoveXattr{Ino: ino[File], Name: AccessACL}) // an ACL is what there is without one, too
	for _, name := range d.xattrs(ino[File]) {
		d.do(RemoveXattr{Ino: ino[File], Name: name, Time: 10})
	}
	if n := d.stat(ino[File]); n.Xattrs != 0 || n.xbytes != 0 || n.Special != 0 || n.Ctime != 10 {
		t.Errorf("without any: %+v", n)
	}
}

// What an inode's attributes may take is bounded, and given back.
func TestXattrBounds(t *testing.T) {
	d := newDrive(t, 1)
	f, g := d.file("f"), d.file("g")
	long := strings.Repeat("n", XattrNameMax-9)
	for i := range XattrListMax / (XattrNameMax + 1) {
		d.do(SetXattr{Ino: f, Name: fmt.Sprintf("user.%s%04d", long, i)})
	}
	if n := d.stat(f); n.Xattrs != XattrListMax {
		t.Fatalf("%d bytes of names", n.Xattrs)
	}
	d.refuse(fault.NoSpace, SetXattr{Ino: f, Name: "user.a"})
	for i := range XattrSumMax / XattrValueMax {
		d.do(SetXattr{Ino: g, Name: fmt.Sprintf("user.%d", i), Value: make([]byte, XattrValueMax)})
	}
	d.refuse(fault.NoSpace, SetXattr{Ino: g, Name: "user.x", Value: []byte{1}})
	d.do(SetXattr{Ino: g, Name: "user.0", Value: make([]byte, XattrValueMax)})
	d.do(SetXattr{Ino: g, Name: "user.0", Value: make([]byte, 5)})
	d.do(SetXattr{Ino: g, Name: "user.x", Value: make([]byte, XattrValueMax-5)})
}

// They live as long as the inode, names or not, and go with it, however many ops that takes.
func TestXattrsGoWithTheInode(t *testing.T) {
	d := newDrive(t, 1)
	before := len(d.dump())
	f, other := d.file("f"), d.file("other")
	for i := range 2500 {
		d.do(SetXattr{Ino: f, Name: fmt.Sprintf("user.%d", i), Value: []byte("v")})
	}
	d.do(SetXattr{Ino: other, Name: "user.stays", Value: []byte("v")})
	d.do(Unlink{Dir: Root, Name: "f"})
	d.do(SetXattr{Ino: f, Name: "user.late", Value: []byte("v")})
	rounds := 1
	for d.do(Reap{Inos: []Ino{f}}).More {
		rounds++
	}
	if rounds != 3 {
		t.Errorf("%d rounds", rounds)
	}
	if got := d.xattr(other, "user.stays"); got != "v" {
		t.Errorf("another file's: %q", got)
	}
	d.do(Unlink{Dir: Root, Name: "other"})
	d.do(Reap{Inos: []Ino{other}})
	if after := len(d.dump()); after != before {
		t.Errorf("%d keys, %d before", after, before)
	}
}

// An access ACL and the mode are two views of one thing.
func TestACLsAndModes(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	set := func(a acl.ACL) { d.do(SetXattr{Ino: f, Name: AccessACL, Value: a.Append(nil), Time: 5}) }
	want := func(what string, mode uint32, a acl.ACL) {
		t.Helper()
		text := "none"
		if a != nil {
			text = string(a.Append(nil))
		}
		if n := d.stat(f); n.Mode != mode || d.xattr(f, AccessACL) != text || (n.Special&HasAccessACL != 0) != (a != nil) {
			t.Errorf("%s: mode %o, %x, want %o, %x", what, n.Mode, d.xattr(f, AccessACL), mode, text)
		}
	}
	set(plainList(7, 5, 1))
	want("one that a mode can say", 0o751, nil)
	set(list(6, 7, 4, 5, 0))
	want("one that it cannot", 0o650, list(6, 7, 4, 5, 0))
	d.do(SetAttr{Ino: f, Mask: SetMode, Mode: 0o2731})
	want("chmod", 0o2731, list(7, 7, 4, 3, 1))
	d.do(Commit{Ino: f, Attrs: SetAttr{Mask: SetMode, Mode: 0o2700}})
	want("chmod with a commit", 0o2700, list(7, 7, 4, 0, 0))
	d.do(SetXattr{Ino: f, Name: AccessACL, Value: list(7, 7, 7, 7, 7).Append(nil), KillSetgid: true})
	want("set by who may not keep setgid", 0o777, list(7, 7, 7, 7, 7))
	d.do(RemoveXattr{Ino: f, Name: AccessACL})
	want("removed", 0o777, nil)
	set(list(6, 7, 4, 5, 0))
	set(plainList(6, 4, 0))
	want("replaced by a mode", 0o640, nil)
}

// What is made in a directory with a default ACL gets what that and the maker's mode both give; the umask does not count then.
func TestDefaultACLs(t *testing.T) {
	d := newDrive(t, 1)
	dir := d.dir(Root, "d")
	def := list(7, 6, 5, 7, 0)
	d.do(SetXattr{Ino: dir, Name: DefaultACL, Value: def.Append(nil)})
	if n := d.stat(dir); n.Mode&0o777 != 0o755 {
		t.Fatalf("a default ACL changed the mode to %o", n.Mode)
	}
	n := 0
	create := func(op Create) Inode {
		t.Helper()
		n++
		op.Dir, op.Name, op.Umask = max(op.Dir, dir), fmt.Sprint(n), 0o77
		return d.do(op).Inode
	}
	f := create(Create{Type: File, Mode: 0o4664})
	if f.Mode != 0o4660 || d.xattr(f.Ino, AccessACL) != string(list(6, 6, 5, 6, 0).Append(nil)) || d.xattr(f.Ino, DefaultACL) != "none" {
		t.Errorf("a file: %o, %q", f.Mode, d.xattrs(f.Ino))
	}
	sub := create(Create{Type: Dir, Mode: 0o777})
	if sub.Mode != 0o770 || d.xattr(sub.Ino, AccessACL) != string(def.Append(nil)) || d.xattr(sub.Ino, DefaultACL) != string(def.Append(nil)) {
		t.Errorf("a directory: %o, %q", sub.Mode, d.xattrs(sub.Ino))
	}
	deep := create(Create{Dir: sub.Ino, Type: Fifo, Mode: 0o600})
	if deep.Mode != 0o600 || d.xattr(deep.Ino, AccessACL) != string(list(6, 6, 5, 0, 0).Append(nil)) {
		t.Errorf("a fifo below: %o, %q", deep.Mode, d.xattrs(deep.Ino))
	}
	if l := create(Create{Type: Symlink, Target: "t", Mode: 0o777}); l.Xattrs != 0 {
		t.Errorf("a symlink: %o, %q", l.Mode, d.xattrs(l.Ino))
	}
	d.do(SetXattr{Ino: dir, Name: DefaultACL, Value: plainList(7, 5, 5).Append(nil)})
	if f := create(Create{Type: File, Mode: 0o666}); f.Mode != 0o644 || f.Xattrs != 0 {
		t.Errorf("by a default ACL that is a mode: %o, %q", f.Mode, d.xattrs(f.Ino))
	}
	d.do(RemoveXattr{Ino: dir, Name: DefaultACL})
	if f := create(Create{Type: File, Mode: 0o666}); f.Mode != 0o600 || f.Xattrs != 0 {
		t.Errorf("by the umask: %o, %q", f.Mode, d.xattrs(f.Ino))
	}
}

// A program's capabilities end with another owner, and with other bytes cut away or added by a size.
func TestCapabilitiesAreDropped(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	for what, c := range map[string]struct {
		op   Op
		keep bool
	}{
		"chown":              {SetAttr{Ino: f, Mask: SetUID, UID: 3}, false},
		"chgrp":              {SetAttr{Ino: f, Mask: SetGID, GID: 3}, false},
		"truncate":           {SetAttr{Ino: f, Mask: SetSize, Size: 3}, false},
		"chmod":              {SetAttr{Ino: f, Mask: SetMode, Mode: 0o700}, true},
		"chown by a commit":  {Commit{Ino: f, Attrs: SetAttr{Mask: SetUID, UID: 4}}, false},
		"a commit of a time": {Commit{Ino: f, Mtime: 7}, true},
	} {
		d.do(SetXattr{Ino: f, Name: Capability, Value: []byte("c")})
		d.do(SetXattr{Ino: f, Name: "user.a", Value: []byte("a")})
		d.do(c.op)
		if has := d.stat(f).Special&HasCapability != 0; has != c.keep || (d.xattr(f, Capability) == "c") != c.keep || d.xattr(f, "user.a") != "a" {
			t.Errorf("%s: %q", what, d.xattrs(f))
		}
	}
}
