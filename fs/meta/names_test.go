package meta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"dfs/cluster/fault"
)

// tree is the drive that the rename table plays on:
//
//	f, g     files
//	h        another name of f
//	d/       with d/x (a file) and d/sub/
//	e/       empty
func tree(t *testing.T) (*drive, map[string]Ino) {
	d := newDrive(t, 1)
	m := map[string]Ino{"f": d.file("f"), "g": d.file("g")}
	d.do(Link{Ino: m["f"], Dir: Root, Name: "h", Time: 2})
	m["h"] = m["f"]
	m["d"] = d.dir(Root, "d")
	m["d/x"] = d.do(Create{Dir: m["d"], Name: "x", Type: File, Time: 2}).Inode.Ino
	m["d/sub"] = d.dir(m["d"], "sub")
	m["e"] = d.dir(Root, "e")
	return d, m
}

// rename(2) and renameat2(2), case by case.
func TestRenameTable(t *testing.T) {
	const no, swap = RenameNoReplace, RenameExchange
	for _, c := range []struct {
		old, new string
		flags    uint32
		want     fault.Kind // 0: it works
		after    string     // paths there afterwards, by what they name before
	}{
		{"f", "new", 0, 0, "new=f -f"},
		{"f", "g", 0, 0, "g=f -f"},
		{"f", "h", 0, 0, "f=f h=f"},
		{"f", "f", 0, 0, "f=f"},
		{"f", "e", 0, fault.IsDir, ""},
		{"f", "d/x", 0, 0, "d/x=f -f"},
		{"f", "e/y", 0, 0, "e/y=f -f"},
		{"nope", "g", 0, fault.NotExist, ""},
		{"nope", "nope", 0, fault.NotExist, ""},
		{"d", "g", 0, fault.NotDir, ""},
		{"d", "e", 0, 0, "e=d e/x=d/x -d"},
		{"e", "d", 0, fault.NotEmpty, ""},
		{"e", "d/sub", 0, 0, "d/sub=e -e"},
		{"d", "d/sub", 0, fault.Loop, ""},
		{"d", "d/sub/y", 0, fault.Loop, ""},
		{"d", "d/y", 0, fault.Loop, ""},
		{"d/sub", "d", 0, fault.NotEmpty, ""},
		{"d", "d", 0, 0, "d=d"},
		{"f", "g", no, fault.Exist, ""},
		{"f", "h", no, fault.Exist, ""},
		{"f", "new", no, 0, "new=f -f"},
		{"f", "g", swap, 0, "f=g g=f"},
		{"f", "h", swap, 0, "f=f h=f"},
		{"f", "d", swap, 0, "f=d f/x=d/x d=f"},
		{"f", "d/x", swap, 0, "f=d/x d/x=f"},
		{"f", "d/sub", swap, 0, "f=d/sub d/sub=f"},
		{"f", "new", swap, fault.NotExist, ""},
		{"d", "d/sub", swap, fault.Loop, ""},
		{"d/sub", "d", swap, fault.Loop, ""},
		{"d/sub", "e", swap, 0, "e=d/sub d/sub=e"},
		{"f", "g", no | swap, fault.Invalid, ""},
		{"f", "g", 8, fault.Invalid, ""},
		{"f", strings.Repeat("n", 256), 0, fault.NameTooLong, ""},
		{"f", "g/y", 0, fault.NotDir, ""},
	} {
		t.Run(fmt.Sprintf("%.8s to %.8s %d", c.old, c.new, c.flags), func(t *testing.T) {
			d, was := tree(t)
			oldDir, oldName := split(was, c.old)
			newDir, newName := split(was, c.new)
			op := Rename{OldDir: oldDir, OldName: oldName, NewDir: newDir, NewName: newName, Flags: c.flags, Time: 9}
			if c.want != 0 {
				d.refuse(c.want, op)
				return
			}
			d.do(op)
			for _, w := range strings.Fields(c.after) {
				path, of, there := strings.Cut(w, "=")
				got, err := d.walk(strings.TrimPrefix(path, "-"))
				if there && (err != nil || got.Ino != was[of]) {
					t.Errorf("%s is %d (%v), want %s", path, got.Ino, err, of)
				}
				if !there && !errors.Is(err, fault.NotExist) {
					t.Errorf("%s is still there", path)
				}
			}
		})
	}
}

func split(m map[string]Ino, path string) (Ino, string) {
	if dir, name, ok := strings.Cut(path, "/"); ok {
		if dir2, name2, ok := strings.Cut(name, "/"); ok {
			return m[dir+"/"+dir2], name2
		}
		return m[dir], name
	}
	return Root, path
}

func (d *drive) walk(path string) (Inode, error) {
	v := d.view()
	defer v.Close()
	n, err := v.Stat(Root)
	for name := range strings.SplitSeq(path, "/") {
		if err == nil {
			n, err = v.Lookup(n.Ino, name)
		}
	}
	return n, err
}

func TestNamesThatAreRefused(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	for name, kind := range map[string]fault.Kind{"": fault.Invalid, ".": fault.Invalid, "..": fault.Invalid, "a/b": fault.Invalid,
		"a\x00": fault.Invalid, strings.Repeat("x", 256): fault.NameTooLong, "f": fault.Exist} {
		d.refuse(kind, Create{Dir: Root, Name: name, Type: File})
		d.refuse(kind, Link{Ino: f, Dir: Root, Name: name})
	}
	d.do(Create{Dir: Root, Name: strings.Repeat("x", 255), Type: File})
	d.do(Create{Dir: Root, Name: "s", Type: Symlink, Target: strings.Repeat("t", TargetMax)})
	d.refuse(fault.NameTooLong, Create{Dir: Root, Name: "s2", Type: Symlink, Target: strings.Repeat("t", TargetMax+1)})
	d.refuse(fault.Invalid, Create{Dir: Root, Name: "s2", Type: Symlink})
	d.refuse(fault.Invalid, Create{Dir: Root, Name: "s2", Type: 99})
	d.refuse(fault.NotDir, Create{Dir: f, Name: "a", Type: File})
	d.refuse(fault.NotExist, Create{Dir: 77, Name: "a", Type: File})
	e := d.dir(Root, "e")
	d.refuse(fault.IsDir, Link{Ino: e, Dir: Root, Name: "e2"})
	d.refuse(fault.IsDir, Unlink{Dir: Root, Name: "e"})
	d.refuse(fault.NotDir, Rmdir{Dir: Root, Name: "f"})
	d.do(Rmdir{Dir: Root, Name: "e"})
	d.refuse(fault.NotExist, Create{Dir: e, Name: "a", Type: File})
	d.refuse(fault.Exist, Format{})
}

func TestNewFilesTakeAfterTheirDirectory(t *testing.T) {
	d := newDrive(t, 1)
	shared := d.do(Create{Dir: Root, Name: "shared", Type: Dir, Mode: 0o2775, GID: 50}).Inode.Ino
	f := d.do(Create{Dir: shared, Name: "f", Type: File, Mode: 0o664, GID: 7}).Inode
	s := d.do(Create{Dir: shared, Name: "s", Type: Dir, Mode: 0o755, GID: 7}).Inode
	if f.GID != 50 || f.Mode != 0o664 || s.GID != 50 || s.Mode != 0o2755 {
		t.Fatalf("%+v\n%+v", f, s)
	}
	wish := f.Wish
	wish.Copies = 3
	d.do(SetAttr{Ino: shared, Mask: SetWish, Wish: wish})
	if g := d.do(Create{Dir: shared, Name: "g", Type: File}).Inode; g.Wish != wish {
		t.Fatalf("%+v", g.Wish)
	}
}

// A directory's mtime moves with every change of its names, whatever the clocks say.
func TestDirectoryMtimeStrictlyIncreases(t *testing.T) {
	d := newDrive(t, 1)
	a := d.dir(Root, "a")
	last := d.stat(a).Mtime
	moved := func(what string) {
		t.Helper()
		if now := d.stat(a).Mtime; now <= last {
			t.Fatalf("%s: %d after %d", what, now, last)
		} else {
			last = now
		}
	}
	f := d.do(Create{Dir: a, Name: "f", Type: File, Time: 100}).Inode.Ino
	moved("create")
	d.do(Link{Ino: f, Dir: a, Name: "g", Time: 50})
	moved("link at an earlier time")
	d.do(Rename{OldDir: a, OldName: "g", NewDir: a, NewName: "h"})
	moved("rename")
	d.do(Unlink{Dir: a, Name: "h"})
	moved("unlink")
	d.do(Create{Dir: a, Name: "s", Type: Dir})
	moved("mkdir")
	d.do(Rmdir{Dir: a, Name: "s"})
	moved("rmdir")
}

// A listing that goes on while names come and go shows each name that stays exactly once.
func TestListingSurvivesChange(t *testing.T) {
	for _, collide := range []bool{false, true} {
		t.Run(fmt.Sprintf("colliding %v", collide), func(t *testing.T) {
			if collide {
				was := hashName
				hashName = func(_ bool, name string) uint64 { return uint64(len(name)) << 60 }
				defer func() { hashName = was }()
			}
			d := newDrive(t, 1)
			r := rand.New(rand.NewPCG(1, 2))
			dir := d.dir(Root, "dir")
			names := map[string]bool{} // true: stays
			for i := range 120 {
				name := fmt.Sprintf("%d", 100+i)
				names[name] = i%2 == 0
				d.do(Create{Dir: dir, Name: name, Type: File})
			}
			seen := map[string]int{}
			var after Cursor
			for n := 0; ; n++ {
				v := d.view()
				list, err := v.List(dir, after, 7)
				v.Close()
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					if e.Cursor < 256 || e.Cursor >= 1<<62 || e.Cursor <= after {
						t.Fatalf("cursor %#x after %#x", e.Cursor, after)
					}
					seen[e.Name]++
					after = e.Cursor
				}
				if len(list) < 7 {
					break
				}
				for range 5 {
					name := fmt.Sprintf("%d", 101+2*r.IntN(60))
					if _, err := d.walk("dir/" + name); err == nil {
						d.do(Unlink{Dir: dir, Name: name})
					} else {
						d.do(Create{Dir: dir, Name: name, Type: File})
					}
				}
			}
			for name, stays := range names {
				if stays && seen[name] != 1 {
					t.Errorf("%s seen %d times", name, seen[name])
				}
			}
			v := d.view()
			list, _ := v.List(dir, 0, 1000)
			v.Close()
			for _, e := range list {
				d.do(Unlink{Dir: dir, Name: e.Name})
			}
			d.do(Rmdir{Dir: Root, Name: "dir"})
			for k := range d.dump() {
				if strings.HasPrefix(k, string(dirPrefix(dir))) {
					t.Fatalf("%q is left of an empty directory", k)
				}
			}
		})
	}
}

// More names of one hash than have room are refused, and nothing else suffers.
func TestTooManyNamesOfOneHash(t *testing.T) {
	was := hashName
	hashName = func(bool, string) uint64 { return 5 << 40 }
	defer func() { hashName = was }()
	d := newDrive(t, 1)
	for i := range 256 {
		d.file(fmt.Sprint(i))
	}
	d.refuse(fault.NoSpace, Create{Dir: Root, Name: "one more", Type: File})
	d.do(Unlink{Dir: Root, Name: "100"})
	d.do(Create{Dir: Root, Name: "one more", Type: File})
	for _, name := range []string{"0", "255", "one more"} {
		if _, err := d.walk(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLinksAreCounted(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	for i := range 3 {
		d.do(Link{Ino: f, Dir: Root, Name: fmt.Sprint("l", i)})
	}
	for i, name := range []string{"f", "l0", "l1", "l2"} {
		if n := d.stat(f).Nlink; n != uint32(4-i) {
			t.Fatalf("%d links", n)
		}
		d.do(Unlink{Dir: Root, Name: name})
	}
	if c := d.last(); !slices.Equal(c.Orphaned, []Ino{f}) || !slices.Contains(c.Attrs, f) || !slices.Contains(c.Attrs, Root) {
		t.Fatalf("%+v", c)
	}
	d.refuse(fault.NotExist, Link{Ino: f, Dir: Root, Name: "again"})
	v := d.view()
	if o, err := v.Orphans(0, 9); err != nil || !slices.Equal(o, []Ino{f}) {
		t.Fatal(o, err)
	}
	v.Close()
	d.do(Reap{Inos: []Ino{f, Root, 99}})
	if c := d.last(); !slices.Equal(c.Gone, []Ino{f}) {
		t.Fatalf("%+v", c)
	}
	d.refuse(fault.Stale, SetAttr{Ino: f, Mask: SetMode})
	d.refuse(fault.Stale, Commit{Ino: f})
}

// What is made without a name is an orphan that is not reaped while its maker may be about to name it, and gets names until it loses its last.
func TestNamelessFiles(t *testing.T) {
	d := newDrive(t, 1)
	f := d.do(Create{Dir: Root, Name: Nameless, Type: File, Mode: 0o600, Time: 5, Grant: true}).Inode
	if f.Nlink != 0 || f.Grant == 0 || d.stat(Root).Size != 0 || !slices.Equal(d.last().Orphaned, []Ino{f.Ino}) {
		t.Fatalf("%+v", f)
	}
	d.do(Reap{Inos: []Ino{f.Ino}})
	d.do(Link{Ino: f.Ino, Dir: Root, Name: "f", Time: 6})
	d.do(EndGrant{Session: f.Grant, Inos: []Ino{f.Ino}})
	d.do(Reap{Inos: []Ino{f.Ino}})
	if n, err := d.walk("f"); err != nil || n.Ino != f.Ino || n.Nlink != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	v := d.view()
	if o, err := v.Orphans(0, 9); err != nil || len(o) != 0 {
		t.Fatal(o, err)
	}
	v.Close()
	d.do(Unlink{Dir: Root, Name: "f"})
	d.refuse(fault.NotExist, Link{Ino: f.Ino, Dir: Root, Name: "again"})
	g := d.do(Create{Dir: Root, Name: Nameless, Type: File, Grant: true}).Inode
	d.do(EndGrant{Session: g.Grant, Inos: []Ino{g.Ino}})
	d.do(Reap{Inos: []Ino{f.Ino, g.Ino}})
	if c := d.last(); !slices.Equal(c.Gone, []Ino{f.Ino, g.Ino}) {
		t.Fatalf("%+v", c)
	}
	d.refuse(fault.Invalid, Create{Dir: Root, Name: Nameless, Type: Dir})
}
