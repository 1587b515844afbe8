// Package acl is POSIX access control lists (POSIX.1e, draft 17, sections 5 and 23) in the form in which Linux hands them over
// as extended attributes. It is pure: who may do what is for the kernel to check; what becomes of a list when a file is made
// or its mode changes is decided here.
//
// A list and a mode say the same thing twice: the owner's entry is the mode's owner bits, "other" its other bits, and the mask, or
// the owning group's entry where there is no mask, its group bits. Whoever changes one changes the other.
package acl

import (
	"encoding/binary"

	"dfs/cluster/fault"
)

// Tag says whom an entry is about. The numbers are stored and travel.
type Tag uint16

const (
	UserObj  Tag = 0x01 // the owner
	User     Tag = 0x02 // the user ID
	GroupObj Tag = 0x04 // the owning group
	Group    Tag = 0x08 // the group ID
	Mask     Tag = 0x10 // the most that users, groups and the owning group get
	Other    Tag = 0x20
)

// NoID is the ID of entries that are about nobody in particular.
const NoID = ^uint32(0)

// Entry is one line of a list.
type Entry struct {
	Tag  Tag
	Perm uint16 // of 7: read, write, execute
	ID   uint32
}

// ACL is a list in its one order: UserObj, User, GroupObj, Group, Mask, Other. Parse returns only such.
type ACL []Entry

const (
	version    = 2
	headBytes  = 4
	entryBytes = 8
)

// BytesMax bounds an encoded list, as Linux's FUSE does: a page.
const BytesMax = 4096

// Parse reads the form of the attributes system.posix_acl_access and system.posix_acl_default. fault.Invalid for what is no
// sound list, an empty one too; fault.TooBig.
func Parse(b []byte) (ACL, error) {
	if len(b) > BytesMax {
		return nil, fault.New("acl", fault.TooBig, "%d bytes", len(b))
	}
	if len(b) < headBytes || (len(b)-headBytes)%entryBytes != 0 || binary.LittleEndian.Uint32(b) != version {
		return nil, fault.New("acl", fault.Invalid, "%d bytes that are no list of version %d", len(b), version)
	}
	a := make(ACL, 0, (len(b)-headBytes)/entryBytes)
	for b = b[headBytes:]; len(b) > 0; b = b[entryBytes:] {
		a = append(a, Entry{Tag(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return a, a.check()
}

// check returns fault.Invalid unless a is in order and has what a list must have.
func (a ACL) check() error {
	var last Tag
	seen := map[Tag]int{}
	for _, e := range a {
		named := e.Tag == User || e.Tag == Group
		switch {
		case e.Perm > 7 || e.Tag < last:
			return fault.New("acl", fault.Invalid, "entry %+v", e)
		case e.Tag == last && !named:
			return fault.New("acl", fault.Invalid, "two entries %#x", e.Tag)
		case named && e.ID == NoID:
			return fault.New("acl", fault.Invalid, "nobody's entry")
		}
		seen[e.Tag]++
		last = e.Tag
	}
	if len(a) != seen[UserObj]+seen[User]+seen[GroupObj]+seen[Group]+seen[Mask]+seen[Other] {
		return fault.New("acl", fault.Invalid, "an unknown tag")
	}
	if seen[UserObj] == 0 || seen[GroupObj] == 0 || seen[Other] == 0 || seen[User]+seen[Group] > 0 && seen[Mask] == 0 {
		return fault.New("acl", fault.Invalid, "an entry is missing")
	}
	return nil
}

// Append encodes a for Parse.
func (a ACL) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, version)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.Tag))
		b = binary.LittleEndian.AppendUint16(b, e.Perm)
		id := e.ID
		if e.Tag != User && e.Tag != Group {
			id = NoID
		}
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// Trivial reports whether a says no more than a mode can.
func (a ACL) Trivial() bool { return len(a) == 3 }

// Mode returns the nine permission bits that a stands for.
func (a ACL) Mode() (mode uint32) {
	for i, shift := range a.classes() {
		mode |= uint32(a[i].Perm) << shift
	}
	return mode
}

// classes returns the places of the entries that are the mode's, and by how much their bits are shifted there.
func (a ACL) classes() map[int]uint {
	at := map[int]uint{}
	group := 0
	for i, e := range a {
		switch e.Tag {
		case UserObj:
			at[i] = 6
		case GroupObj, Mask: // a mask comes later
			group = i
		case Other:
			at[i] = 0
		}
	}
	at[group] = 3
	return at
}

// Chmod returns the list that a becomes when the file's mode is set to mode.
func (a ACL) Chmod(mode uint32) ACL {
	b := append(ACL(nil), a...)
	for i, shift := range a.classes() {
		b[i].Perm = uint16(mode>>shift) & 7
	}
	return b
}

// Inherit returns the access list and the permission bits of a file that is made with mode in a directory whose default list a is:
// nobody gets what either does not give.
func (a ACL) Inherit(mode uint32) (ACL, uint32) {
	b := append(ACL(nil), a...)
	for i, shift := range a.classes() {
		b[i].Perm &= uint16(mode>>shift) & 7
	}
	return b, b.Mode()
}
