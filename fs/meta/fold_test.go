package meta

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"dfs/blockstore/kv/mem"
	"dfs/cluster/fault"
)

func TestFold(t *testing.T) {
	for name, want := range map[string]string{
		"":               "",
		"plain-name.txt": "plain-name.txt",
		"README.TXT":     "readme.txt",
		"ÄÖÜß":           "äöüß", // sharp s has no other case of one letter
		"ΣΑΣ":            "σας",  // see below: the final sigma
		"Kelvin \u212a":  "kelvin k",
		"İ":              "İ", // neither i nor ı
		"\xff\xfeA":      "\xff\xfea",
		"日本\U00010400":   "日本\U00010428",
	} {
		if got := Fold(name); Fold(got) != got || got != Fold(want) {
			t.Errorf("%q folds to %q, want %q", name, got, Fold(want))
		}
	}
	if Fold("ΣΑΣ") != Fold("σας") || Fold("a") == Fold("ä") || Fold("İ") == Fold("i") {
		t.Error("folds are too fine or too coarse")
	}
}

// What the folds of today are.
const (
	foldedRunes = 1454
	foldedSum   = 0x8565dc8fb83aa82a
)

// The folds of all runes are part of the format. If this fails after a new Go, whose Unicode knows more pairs of letters, keep the
// folds of before: a table of those that changed belongs into foldRune.
func TestFoldsAreAsEver(t *testing.T) {
	n, sum := 0, uint64(14695981039346656037)
	for r := rune(0); r <= 0x10ffff; r++ {
		if f := foldRune(r); f != r {
			n++
			sum = (sum ^ uint64(r)) * 1099511628211
			sum = (sum ^ uint64(f)) * 1099511628211
		}
	}
	if n != foldedRunes || sum != foldedSum {
		t.Fatalf("%d runes have another fold, sum %#x; want %d, %#x", n, sum, foldedRunes, uint64(foldedSum))
	}
}

// folded looks name up without its case.
func (d *drive) folded(dir Ino, name string) (Ino, string) {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	n, real, err := v.LookupFold(dir, name)
	if err != nil && !errors.Is(err, fault.NotExist) {
		d.t.Fatal(err)
	}
	return n.Ino, real
}

func TestLookupFold(t *testing.T) {
	d := newDrive(t, 1)
	dir := d.dir(Root, "Dir")
	for i := range 2000 {
		d.do(Create{Dir: dir, Name: fmt.Sprint("other-", i), Type: File})
	}
	one := d.do(Create{Dir: dir, Name: "ReadMe", Type: File}).Inode.Ino
	for _, name := range []string{"ReadMe", "readme", "README"} {
		if ino, real := d.folded(dir, name); ino != one || real != "ReadMe" {
			t.Errorf("%s: inode %d, %q", name, ino, real)
		}
	}
	two := d.do(Create{Dir: dir, Name: "readme", Type: File}).Inode.Ino
	for name, want := range map[string]Ino{"ReadMe": one, "readme": two} {
		if ino, real := d.folded(dir, name); ino != want || real != name {
			t.Errorf("%s: inode %d, %q: an exact name comes first", name, ino, real)
		}
	}
	if ino, _ := d.folded(dir, "README"); ino != one && ino != two {
		t.Errorf("README: inode %d", ino)
	}
	d.do(Unlink{Dir: dir, Name: "ReadMe"})
	if ino, real := d.folded(dir, "README"); ino != two || real != "readme" {
		t.Errorf("README: inode %d, %q", ino, real)
	}
	if ino, _ := d.folded(dir, "readme2"); ino != 0 {
		t.Error("readme2 is there")
	}
	v := d.view()
	defer v.Close()
	if _, _, err := v.LookupFold(two, "x"); !errors.Is(err, fault.NotDir) {
		t.Error(err)
	}
	if _, _, err := v.LookupFold(Root, strings.Repeat("x", 256)); !errors.Is(err, fault.NameTooLong) {
		t.Error(err)
	}
}

// Names that differ in case only do not use up the room for names of one hash.
func TestManySpellingsOfOneName(t *testing.T) {
	d := newDrive(t, 1)
	spell := func(n int) string {
		b := []byte("abcdefghijkl")
		for i := range b {
			if n>>i&1 != 0 {
				b[i] -= 'a' - 'A'
			}
		}
		return string(b)
	}
	for n := range 1 << 12 {
		d.file(spell(n))
	}
	for n := range 1 << 12 {
		if _, real := d.folded(Root, spell(n)); real != spell(n) {
			t.Fatalf("%s is %q", spell(n), real)
		}
	}
}

// A directory from before there were folds keeps its names where they are.
func TestFoldsInAnOldDirectory(t *testing.T) {
	s := mem.New()
	old := &Inode{Ino: 7, Type: Dir}
	tx := s.Begin(1)
	for i := range 100 {
		e, ok, err := findDent(tx, old, fmt.Sprint("Name", i))
		if ok || err != nil {
			t.Fatal(ok, err)
		}
		e.ino, e.typ = Ino(100+i), File
		if err := tx.Set(dentKey(old.Ino, e.at), e.encode()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	r := s.At(1)
	defer r.Close()
	for i := range 100 {
		for _, name := range []string{fmt.Sprint("Name", i), fmt.Sprint("nAME", i)} {
			if e, ok, err := findFolded(r, old, name); !ok || err != nil || e.ino != Ino(100+i) {
				t.Fatalf("%s: %+v %v %v", name, e, ok, err)
			}
		}
	}
	if _, ok, err := findFolded(r, old, "Nobody"); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// Inodes without flags and folds are stored as they were before there were any, and so are ops that set neither flags nor birth time.
func TestOldInodesReadBack(t *testing.T) {
	file := Inode{Ino: 5, Type: File, Mode: 0o644, Nlink: 1, Btime: 3}
	dir := Inode{Ino: 6, Type: Dir, Mode: 0o755, Nlink: 2, Parent: 1}
	for _, n := range []Inode{file, dir} {
		b := appendInode(nil, n)
		if got, err := decodeInode(b); err != nil || got != n {
			t.Errorf("%+v (%v), want %+v", got, err, n)
		}
		n.Flags, n.folded = System, true
		if more := appendInode(nil, n); !bytes.Equal(more[:len(b)], b) || len(more) != len(b)+3 {
			t.Errorf("%x became %x", b, more)
		}
	}
	set := SetAttr{Ino: 3, Mask: SetMode, Mode: 0o600, Time: 4}
	more := set
	more.Mask |= SetFlags | SetBtime
	if a, b := Encode(set), Encode(more); len(b) != len(a)+3 || !bytes.Equal(a[:3], b[:3]) { // the mask is a byte longer, flags and time are one each
		t.Errorf("%x and %x", a, b)
	}
}

func TestFlagsAndBirth(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.do(SetAttr{Ino: f, Mask: SetFlags | SetBtime, Flags: Hidden | ReadOnly, Btime: 12345, Time: 9})
	if n := d.stat(f); n.Flags != Hidden|ReadOnly || n.Btime != 12345 || n.Ctime != 9 {
		t.Fatalf("%+v", n)
	}
	d.do(SetAttr{Ino: f, Mask: SetMode, Mode: 0o600, Time: 10})
	if n := d.stat(f); n.Flags != Hidden|ReadOnly || n.Btime != 12345 {
		t.Fatalf("%+v", n)
	}
	d.do(SetAttr{Ino: f, Mask: SetFlags, Time: 11})
	if n := d.stat(f); n.Flags != 0 || n.Btime != 12345 {
		t.Fatalf("%+v", n)
	}
}
