package meta

import (
	"strings"

	"dfs/cluster/fault"
	"dfs/fs/acl"
)

// Extended attributes that mean something to us or to the kernel.
const (
	AccessACL  = "system.posix_acl_access"
	DefaultACL = "system.posix_acl_default"
	Capability = "security.capability"
	// ReservedXattrs begins the names that nobody may give to attributes of their own.
	ReservedXattrs = "user.dfs."
)

// Special is a set of extended attributes: which of those that matter to us an inode has.
type Special uint8

const (
	HasAccessACL  Special = 1 << iota // it says more than the mode does
	HasDefaultACL                     // what is made in the directory gets it
	HasCapability                     // a program's capabilities, which a change of owner or bytes ends
)

func specialOf(name string) Special {
	switch name {
	case AccessACL:
		return HasAccessACL
	case DefaultACL:
		return HasDefaultACL
	case Capability:
		return HasCapability
	}
	return 0
}

// IsACL reports whether name is one of the two ACLs.
func IsACL(name string) bool { return name == AccessACL || name == DefaultACL }

// CheckXattr refuses what no extended attribute may be called. fault.Invalid, NameTooLong, Unsupported (the namespace).
func CheckXattr(name string) error {
	space, rest, _ := strings.Cut(name, ".")
	switch {
	case name == "" || strings.IndexByte(name, 0) >= 0:
		return badXattr(fault.Invalid, name)
	case len(name) > XattrNameMax:
		return badXattr(fault.NameTooLong, name)
	case IsACL(name):
		return nil
	case space != "user" && space != "trusted" && space != "security":
		return badXattr(fault.Unsupported, name)
	case rest == "":
		return badXattr(fault.Invalid, name)
	}
	return nil
}

// checkXattr refuses what an inode of type t cannot have.
func checkXattr(t Type, name string) error {
	err := CheckXattr(name)
	switch {
	case err != nil:
		return err
	case IsACL(name) && t == Symlink:
		return badXattr(fault.Unsupported, name)
	case strings.HasPrefix(name, "user.") && t != File && t != Dir, strings.HasPrefix(name, ReservedXattrs):
		return badXattr(fault.Refused, name)
	}
	return nil
}

func badXattr(k fault.Kind, name string) error {
	return fault.New("extended attribute", k, "%.300q", name)
}

func (a *apply) setXattr(op SetXattr) error {
	n, err := a.file(op.Ino)
	if err != nil {
		return err
	}
	a.subject = n
	if err := checkXattr(n.Type, op.Name); err != nil {
		return err
	}
	if len(op.Value) > XattrValueMax {
		return fault.New("extended attribute", fault.TooBig, "%d bytes", len(op.Value))
	}
	old, there, err := a.xattr(n, op.Name)
	switch {
	case err != nil:
		return err
	case there && op.Flags&XattrCreate != 0:
		return fault.New("extended attribute", fault.Exist, "%q", op.Name)
	case !there && op.Flags&XattrReplace != 0:
		return fault.New("extended attribute", fault.NotExist, "%q", op.Name)
	}
	n.Ctime = max(n.Ctime, op.Time)
	a.touch(n)
	value := op.Value
	if IsACL(op.Name) {
		if value, err = a.takeACL(n, op); err != nil {
			return err
		}
	}
	if value == nil && op.Name == AccessACL {
		return a.dropXattr(n, op.Name, len(old), there)
	}
	return a.putXattr(n, op.Name, value, len(old), there)
}

// takeACL does what setting an ACL means besides, and returns what is to be kept of it; nil: nothing.
func (a *apply) takeACL(n *node, op SetXattr) ([]byte, error) {
	list, err := acl.Parse(op.Value)
	if err != nil {
		return nil, err
	}
	if op.Name == DefaultACL {
		if n.Type != Dir {
			return nil, fault.New("extended attribute", fault.Permission, "a default ACL of what is no directory")
		}
		return list.Append(nil), nil
	}
	n.Mode = n.Mode&^0o777 | list.Mode()
	if op.KillSetgid {
		n.Mode &^= setgid
	}
	if list.Trivial() {
		return nil, nil
	}
	return list.Append(nil), nil
}

func (a *apply) removeXattr(op RemoveXattr) error {
	n, err := a.file(op.Ino)
	if err != nil {
		return err
	}
	a.subject = n
	if err := checkXattr(n.Type, op.Name); err != nil {
		return err
	}
	old, there, err := a.xattr(n, op.Name)
	if err != nil {
		return err
	}
	switch {
	case !there && IsACL(op.Name):
		return nil
	case !there:
		return fault.New("extended attribute", fault.NotExist, "%q", op.Name)
	}
	n.Ctime = max(n.Ctime, op.Time)
	a.touch(n)
	return a.dropXattr(n, op.Name, len(old), there)
}

// xattr returns an extended attribute of n.
func (a *apply) xattr(n *node, name string) (value []byte, there bool, err error) {
	return getXattr(a.tx, &n.Inode, name)
}

// getXattr returns an extended attribute of n. That there is none is usually known from n.
func getXattr(r reader, n *Inode, name string) (value []byte, there bool, err error) {
	if n.Xattrs == 0 || specialOf(name)&^n.Special != 0 {
		return nil, false, nil
	}
	return r.Get(xattrKey(n.Ino, name))
}

// putXattr stores an extended attribute, in place of one of was bytes if it is there.
func (a *apply) putXattr(n *node, name string, value []byte, was int, there bool) error {
	if !there {
		n.Xattrs += uint32(len(name) + 1)
		was = 0
	}
	n.xbytes = n.xbytes - uint32(was) + uint32(len(value))
	if n.Xattrs > XattrListMax || n.xbytes > XattrSumMax {
		return fault.New("extended attribute", fault.NoSpace, "inode %d: %d bytes of names, %d of values", n.Ino, n.Xattrs, n.xbytes)
	}
	n.Special |= specialOf(name)
	n.dirty = true
	return a.tx.Set(xattrKey(n.Ino, name), value)
}

// dropXattr removes an extended attribute of was bytes, if it is there.
func (a *apply) dropXattr(n *node, name string, was int, there bool) error {
	if !there {
		return nil
	}
	n.Xattrs -= uint32(len(name) + 1)
	n.xbytes -= uint32(was)
	n.Special &^= specialOf(name)
	n.dirty = true
	return a.tx.Delete(xattrKey(n.Ino, name))
}

// dropXattrs removes up to limit extended attributes and returns how many it did.
func (a *apply) dropXattrs(n *node, limit int) (dropped int, err error) {
	type one struct {
		name string
		size int
	}
	var all []one
	err = a.tx.Scan(xattrsOf(n.Ino), nil, func(k, v []byte) bool {
		all = append(all, one{string(k[10:]), len(v)})
		return len(all) < limit
	})
	for _, x := range all {
		if err == nil {
			err = a.dropXattr(n, x.name, x.size, true)
		}
	}
	return len(all), err
}

// dropCapability takes a program's capabilities from n: it has another owner, or other bytes.
func (a *apply) dropCapability(n *node) error {
	if n.Special&HasCapability == 0 {
		return nil
	}
	old, there, err := a.xattr(n, Capability)
	if err != nil {
		return err
	}
	return a.dropXattr(n, Capability, len(old), there)
}

// followMode brings n's access ACL, if it has one, in step with its mode.
func (a *apply) followMode(n *node) error {
	if n.Special&HasAccessACL == 0 {
		return nil
	}
	old, there, err := a.xattr(n, AccessACL)
	if err != nil {
		return err
	}
	list, err := acl.Parse(old)
	if err != nil {
		return corrupt("acl", err)
	}
	if list.Mode() == n.Mode&0o777 {
		return nil
	}
	return a.putXattr(n, AccessACL, list.Chmod(n.Mode).Append(nil), len(old), there)
}

// inheritACL gives n, which is being made in dir with mode, what dir's default ACL says.
func (a *apply) inheritACL(dir, n *node, mode uint32) error {
	if dir.Special&HasDefaultACL == 0 || n.Type == Symlink {
		return nil
	}
	value, _, err := a.xattr(dir, DefaultACL)
	if err != nil {
		return err
	}
	list, err := acl.Parse(value)
	if err != nil {
		return corrupt("acl", err)
	}
	access, perm := list.Inherit(mode)
	n.Mode = n.Mode&^0o777 | perm
	if !access.Trivial() {
		if err := a.putXattr(n, AccessACL, access.Append(nil), 0, false); err != nil {
			return err
		}
	}
	if n.Type != Dir {
		return nil
	}
	return a.putXattr(n, DefaultACL, value, 0, false)
}

// errNoXattr is made once: it is the answer that is given most.
var errNoXattr = fault.New("extended attribute", fault.NotExist, "there is none of that name")

// Xattr returns an extended attribute. fault.NotExist.
func (v *Image) Xattr(ino Ino, name string) ([]byte, error) {
	n, err := v.Stat(ino)
	if err != nil {
		return nil, err
	}
	value, there, err := getXattr(v.r, &n, name)
	if err == nil && !there {
		err = errNoXattr
	}
	return value, err
}

// Xattrs returns the names of an inode's extended attributes, sorted.
func (v *Image) Xattrs(ino Ino) (names []string, err error) {
	n, err := v.Stat(ino)
	if err != nil || n.Xattrs == 0 {
		return nil, err
	}
	err = v.r.Scan(xattrsOf(ino), nil, func(k, _ []byte) bool {
		names = append(names, string(k[10:]))
		return true
	})
	return names, err
}
