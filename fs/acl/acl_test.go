package acl_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/acl"
)

func entry(tag acl.Tag, perm uint16, id ...uint32) acl.Entry {
	return acl.Entry{Tag: tag, Perm: perm, ID: append(id, acl.NoID)[0]}
}

var (
	plain = acl.ACL{entry(acl.UserObj, 6), entry(acl.GroupObj, 4), entry(acl.Other, 0)}
	rich  = acl.ACL{entry(acl.UserObj, 7), entry(acl.User, 6, 1000), entry(acl.User, 5, 1001), entry(acl.GroupObj, 5),
		entry(acl.Group, 7, 50), entry(acl.Mask, 6), entry(acl.Other, 1)}
)

func TestReadBack(t *testing.T) {
	for _, a := range []acl.ACL{plain, rich} {
		got, err := acl.Parse(a.Append(nil))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%v: %v, %v", a, got, err)
		}
	}
	if !plain.Trivial() || rich.Trivial() {
		t.Error("what a mode can say")
	}
}

func TestUnsoundLists(t *testing.T) {
	u, g, o, m := entry(acl.UserObj, 7), entry(acl.GroupObj, 7), entry(acl.Other, 7), entry(acl.Mask, 7)
	for name, a := range map[string]acl.ACL{
		"empty":             {},
		"no owner":          {g, o},
		"no group":          {u, o},
		"no other":          {u, g},
		"two owners":        {u, u, g, o},
		"out of order":      {g, u, o},
		"a user, no mask":   {u, entry(acl.User, 7, 1), g, o},
		"a group, no mask":  {u, g, entry(acl.Group, 7, 1), o},
		"too many bits":     {entry(acl.UserObj, 8), g, o},
		"an unknown tag":    {u, g, entry(3, 1), o},
		"a late tag":        {u, g, o, entry(0x40, 1)},
		"nobody's entry":    {u, entry(acl.User, 7), g, m, o},
		"user behind group": {u, g, entry(acl.User, 7, 1), m, o},
	} {
		if got, err := acl.Parse(a.Append(nil)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	good := plain.Append(nil)
	for _, b := range [][]byte{nil, good[:3], good[:len(good)-1], append([]byte{1}, good[1:]...)} {
		if _, err := acl.Parse(b); !errors.Is(err, fault.Invalid) {
			t.Errorf("%x: %v", b, err)
		}
	}
	if _, err := acl.Parse(make([]byte, acl.BytesMax+4)); !errors.Is(err, fault.TooBig) {
		t.Errorf("too long: %v", err)
	}
}

func TestModes(t *testing.T) {
	if got := plain.Mode(); got != 0o640 {
		t.Errorf("plain: %o", got)
	}
	if got := rich.Mode(); got != 0o761 {
		t.Errorf("rich: %o", got)
	}
	changed := rich.Chmod(0o4750)
	if changed.Mode() != 0o750 || changed[3].Perm != 5 || changed[5].Perm != 5 || rich[5].Perm != 6 {
		t.Errorf("chmod: %v, of %v", changed, rich)
	}
	if got := plain.Chmod(0o777); got.Mode() != 0o777 {
		t.Errorf("chmod of a plain one: %v", got)
	}
}

func TestInherit(t *testing.T) {
	a, mode := rich.Inherit(0o640)
	if mode != 0o640 || a.Mode() != 0o640 || a[0].Perm != 6 || a[1].Perm != 6 || a[3].Perm != 5 || a[5].Perm != 4 || a[6].Perm != 0 {
		t.Errorf("%o: %v", mode, a)
	}
	a, mode = plain.Inherit(0o666)
	if mode != 0o640 || !a.Trivial() {
		t.Errorf("%o: %v", mode, a)
	}
}

// What parses is sound: it encodes to the same bytes, but for IDs nobody looks at, and its mode survives chmod.
func FuzzACL(f *testing.F) {
	f.Add(plain.Append(nil))
	f.Add(rich.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := acl.Parse(b)
		if err != nil {
			return
		}
		again, err := acl.Parse(a.Append(nil))
		if err != nil || !bytes.Equal(again.Append(nil), a.Append(nil)) {
			t.Fatalf("%v became %v: %v", a, again, err)
		}
		if c := a.Chmod(a.Mode()); !reflect.DeepEqual(c, a) {
			t.Fatalf("%v became %v", a, c)
		}
		if i, mode := a.Inherit(0o777); i.Mode() != mode || mode != a.Mode() {
			t.Fatalf("%v inherits %v, %o", a, i, mode)
		}
	})
}
