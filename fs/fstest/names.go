package fstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"dfs/cluster/fault"
)

var nameCases = []Case{
	{"names are new once", testExcl},
	{"names that cannot be are refused", testBadNames},
	{"names are any bytes", testNames},
	{"a directory with entries is not removed", testRmdir},
	{"rename follows rename(2)", testRename},
	{"a rename replaces in one step, also what is open", testRenameOpen},
	{"hard links are one file", testLinks},
	{"symbolic links keep their target", testSymlinks},
	{"directories count their subdirectories", testDirLinks},
	{"a listing of 3,000 entries has each once", testListing},
	{"a listing has each entry once while others go", testListingChanges},
}

func testExcl(t *testing.T, fs Tree) {
	write(t, fs, "f", nil)
	_, err := fs.Open("f", Flags{Write: true, Create: true, Excl: true})
	want(t, "create again", err, fault.Exist)
	want(t, "mkdir over it", fs.Mkdir("f"), fault.Exist)
	want(t, "symlink over it", fs.Symlink("x", "f"), fault.Exist)
	want(t, "link over it", fs.Link("f", "f"), fault.Exist)
}

func testBadNames(t *testing.T, fs Tree) {
	write(t, fs, "f", nil)
	long := strings.Repeat("n", 256)
	want(t, "mkdir of a long name", fs.Mkdir(long), fault.NameTooLong)
	_, err := fs.Stat(long)
	want(t, "stat of a long name", err, fault.NameTooLong)
	ok(t, "mkdir of the longest name", fs.Mkdir(long[:255]))
	_, err = fs.Stat("nowhere/f")
	want(t, "stat below nothing", err, fault.NotExist)
	_, err = fs.Stat("f/f")
	want(t, "stat below a file", err, fault.NotDir)
	want(t, "remove of nothing", fs.Remove("nothing"), fault.NotExist)
	want(t, "rmdir of nothing", fs.Rmdir("nothing"), fault.NotExist)
	want(t, "rmdir of a file", fs.Rmdir("f"), fault.NotDir)
	want(t, "rename of nothing", fs.Rename("nothing", "x"), fault.NotExist)
}

func testNames(t *testing.T, fs Tree) {
	names := []string{"a b", "tab\there", "ümlaut", "\xff\xfe", "-dash", "new\nline", "...", "C:", "日本"}
	for _, n := range names {
		write(t, fs, n, []byte(n))
	}
	got, err := fs.List("")
	ok(t, "list", err)
	slices.Sort(names)
	slices.Sort(got)
	if !slices.Equal(got, names) {
		t.Fatalf("listed %q, want %q", got, names)
	}
	for _, n := range names {
		same(t, n, read(t, fs, n), []byte(n))
	}
}

func testRmdir(t *testing.T, fs Tree) {
	ok(t, "mkdir", fs.Mkdir("d"))
	write(t, fs, "d/f", nil)
	want(t, "rmdir", fs.Rmdir("d"), fault.NotEmpty)
	want(t, "unlink of a directory", fs.Remove("d"), fault.IsDir)
	ok(t, "remove", fs.Remove("d/f"))
	ok(t, "rmdir", fs.Rmdir("d"))
	_, err := fs.Stat("d")
	want(t, "stat", err, fault.NotExist)
}

// renameTable is what rename does to each sort of source and target: "" is success.
var renameTable = []struct {
	from, to string
	want     []fault.Kind
}{
	{"file", "new", nil},
	{"file", "file2", nil},
	{"file", "dir", []fault.Kind{fault.IsDir}},
	{"file", "file", nil},
	{"dir", "new", nil},
	{"dir", "empty", nil},
	{"dir", "full", []fault.Kind{fault.NotEmpty, fault.Exist}},
	{"dir", "file", []fault.Kind{fault.NotDir}},
	{"dir", "dir/sub", []fault.Kind{fault.Invalid, fault.Loop}},
	{"dir", "dir", nil},
	{"link", "file", nil},
	{"file", "link", nil},
	{"file", "twin", nil}, // two names of one file: nothing happens
	{"none", "new", []fault.Kind{fault.NotExist}},
	{"file", "none/new", []fault.Kind{fault.NotExist}},
	{"file", "full/new", nil},
	{"full/file", "new", nil},
	{"full", "dir/full", nil},
}

func testRename(t *testing.T, fs Tree) {
	for i, r := range renameTable {
		root := fmt.Sprintf("case%d", i)
		ok(t, "mkdir", fs.Mkdir(root))
		in := func(p string) string { return root + "/" + p }
		for _, d := range []string{"dir", "empty", "full"} {
			ok(t, "mkdir", fs.Mkdir(in(d)))
		}
		for _, f := range []string{"file", "file2", "full/file"} {
			write(t, fs, in(f), []byte(f))
		}
		ok(t, "symlink", fs.Symlink("target", in("link")))
		ok(t, "link", fs.Link(in("file"), in("twin")))
		before, _ := fs.Stat(in(r.from))
		err := fs.Rename(in(r.from), in(r.to))
		what := fmt.Sprintf("rename %s to %s", r.from, r.to)
		if r.want != nil {
			want(t, what, err, r.want...)
			continue
		}
		ok(t, what, err)
		after, err := fs.Stat(in(r.to))
		ok(t, what+": stat", err)
		if after.Ino != before.Ino {
			t.Fatalf("%s: inode %d, was %d", what, after.Ino, before.Ino)
		}
		_, err = fs.Stat(in(r.from))
		if stays := r.from == r.to || r.to == "twin"; stays {
			ok(t, what+": the source stays", err)
		} else {
			want(t, what+": the source", err, fault.NotExist)
		}
	}
}

func testRenameOpen(t *testing.T, fs Tree) {
	write(t, fs, "old", []byte("old"))
	write(t, fs, "new", []byte("new"))
	f, err := fs.Open("old", ReadOnly)
	ok(t, "open", err)
	defer f.Close()
	ok(t, "rename", fs.Rename("new", "old"))
	same(t, "by name", read(t, fs, "old"), []byte("new"))
	same(t, "by the open handle", readAll(t, f), []byte("old"))
	_, err = fs.Stat("new")
	want(t, "the source", err, fault.NotExist)
}

func testLinks(t *testing.T, fs Tree) {
	write(t, fs, "a", []byte("one"))
	ok(t, "mkdir", fs.Mkdir("d"))
	ok(t, "link", fs.Link("a", "d/b"))
	a, err := fs.Stat("a")
	ok(t, "stat", err)
	b, err := fs.Stat("d/b")
	ok(t, "stat", err)
	if a.Ino != b.Ino || a.Nlink != 2 || b.Nlink != 2 {
		t.Fatalf("%+v and %+v", a, b)
	}
	write(t, fs, "d/b", []byte("two"))
	same(t, "the other name", read(t, fs, "a"), []byte("two"))
	ok(t, "remove", fs.Remove("a"))
	b, err = fs.Stat("d/b")
	ok(t, "stat", err)
	if b.Nlink != 1 {
		t.Fatalf("%d links", b.Nlink)
	}
	want(t, "link to a directory", fs.Link("d", "e"), fault.Permission, fault.IsDir)
}

func testSymlinks(t *testing.T, fs Tree) {
	for _, target := range []string{"f", "../up", "/abs/olute", strings.Repeat("long/", 800)} {
		ok(t, "symlink", fs.Symlink(target, "l"))
		got, err := fs.Readlink("l")
		ok(t, "readlink", err)
		if got != target {
			t.Fatalf("target %q, want %q", got, target)
		}
		st, err := fs.Stat("l")
		ok(t, "stat", err)
		if !st.Link {
			t.Fatalf("%+v is no symbolic link", st)
		}
		ok(t, "remove", fs.Remove("l"))
	}
	write(t, fs, "f", nil)
	_, err := fs.Readlink("f")
	want(t, "readlink of a file", err, fault.Invalid)
}

func testDirLinks(t *testing.T, fs Tree) {
	links := func(p string, n uint32) {
		t.Helper()
		st, err := fs.Stat(p)
		ok(t, "stat", err)
		if st.Nlink != n {
			t.Fatalf("%s has %d links, want %d", p, st.Nlink, n)
		}
	}
	ok(t, "mkdir", fs.Mkdir("d"))
	ok(t, "mkdir", fs.Mkdir("e"))
	links("d", 2)
	ok(t, "mkdir", fs.Mkdir("d/s"))
	links("d", 3)
	ok(t, "rename", fs.Rename("d/s", "e/s"))
	links("d", 2)
	links("e", 3)
	ok(t, "rmdir", fs.Rmdir("e/s"))
	links("e", 2)
}

func testListing(t *testing.T, fs Tree) {
	const n = 3000
	ok(t, "mkdir", fs.Mkdir("d"))
	for i := range n {
		ok(t, "symlink", fs.Symlink("t", fmt.Sprintf("d/%d", i)))
	}
	got, err := fs.List("d")
	ok(t, "list", err)
	slices.Sort(got)
	if len(got) != n || len(slices.Compact(got)) != n {
		t.Fatalf("%d entries, %d different, want %d", len(got), len(slices.Compact(got)), n)
	}
}

func testListingChanges(t *testing.T, fs Tree) {
	ok(t, "mkdir", fs.Mkdir("d"))
	for i := range 300 {
		ok(t, "symlink", fs.Symlink("t", fmt.Sprintf("d/%d", i)))
	}
	for left := 300; left > 0; {
		got, err := fs.List("d")
		ok(t, "list", err)
		if len(got) != left {
			t.Fatalf("%d entries, want %d", len(got), left)
		}
		for _, name := range got[:100] {
			ok(t, "remove", fs.Remove("d/"+name))
		}
		left -= 100
	}
}
