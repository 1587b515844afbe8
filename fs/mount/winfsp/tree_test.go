package winfsp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// forest is a tree with helpers that fail the test.
type forest struct {
	*tree
	t *testing.T
}

func newForest(t *testing.T, windows bool) forest {
	d := fstest.NewDrive(t, vfs.Options{})
	return forest{newTree(context.Background(), d.FS, windows), t}
}

// write makes a file.
func (f forest) write(path, text string) {
	f.t.Helper()
	fh, _, err := f.create(vfs.Caller{}, path, 0o600, vfs.Mode{Write: true, Trunc: true})
	if err != nil {
		f.t.Fatal(err)
	}
	defer f.release(fh)
	if _, err := f.fs.Write(f.ctx, vfs.Handle(fh), 0, []byte(text), false); err != nil {
		f.t.Fatal(err)
	}
	f.ok("close "+path, f.fs.Flush(f.ctx, vfs.Handle(fh)))
}

func (f forest) read(path string) string {
	f.t.Helper()
	fh, _, err := f.open(path, vfs.Mode{Read: true})
	f.ok("open "+path, err)
	defer f.release(fh)
	b := make([]byte, 1000)
	n, err := f.fs.Read(f.ctx, vfs.Handle(fh), 0, b)
	f.ok("read "+path, err)
	return string(b[:n])
}

func (f forest) ok(what string, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
}

func (f forest) want(what string, err error, k fault.Kind) {
	f.t.Helper()
	if !errors.Is(err, k) {
		f.t.Fatalf("%s: %v, want %v", what, err, k)
	}
}

func (f forest) names(path string) (names []string) {
	f.t.Helper()
	err := f.list(path, noHandle, 0, func(name string, st *meta.Inode, next int64) bool {
		if name != "." && name != ".." {
			names = append(names, name)
		}
		return true
	})
	f.ok("list "+path, err)
	slices.Sort(names)
	return names
}

func (f forest) real(path, want string) {
	f.t.Helper()
	if got, err := f.realPath(path); err != nil || got != want {
		f.t.Fatalf("%s is %q, %v; want %q", path, got, err, want)
	}
}

func TestCaseDoesNotMatterOnWindows(t *testing.T) {
	f := newForest(t, true)
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/Documents", 0))
	f.write("/DOCUMENTS/ReadMe.txt", "one")
	f.real("/documents/README.TXT", "/Documents/ReadMe.txt")
	if got := f.read("/documents/readme.TXT"); got != "one" {
		t.Fatalf("read %q", got)
	}
	f.want("mkdir again", f.mkdir(vfs.Caller{}, "/dOCUMENTS", 0), fault.Exist)
	_, _, err := f.create(vfs.Caller{}, "/Documents/README.txt", 0, vfs.Mode{Write: true, Excl: true})
	f.want("create again", err, fault.Exist)
	f.write("/Documents/readme.txt", "two") // over what is there, which keeps its name
	if got := f.names("/documents"); !slices.Equal(got, []string{"ReadMe.txt"}) {
		t.Fatalf("listed %q", got)
	}
	f.ok("truncate", f.truncate("/DOCUMENTS/readme.txt", noHandle, 2, false))
	if got := f.read("/Documents/ReadMe.txt"); got != "tw" {
		t.Fatalf("read %q", got)
	}
	f.ok("unlink", f.unlink("/documents/readme.txt"))
	f.ok("rmdir", f.rmdir("/DOCUMENTS"))
	f.want("stat", f.unlink("/Documents"), fault.NotExist)
}

func TestSpellingsThatOthersMade(t *testing.T) {
	f := newForest(t, true)
	other := forest{newTree(f.ctx, f.fs, false), t} // as Linux has it
	for _, name := range []string{"File", "file"} {
		other.write("/"+name, name)
	}
	for _, name := range []string{"File", "file"} {
		if got := f.read("/" + name); got != name {
			t.Fatalf("%s holds %q", name, got)
		}
	}
	if got := f.names("/"); !slices.Equal(got, []string{"File", "file"}) {
		t.Fatalf("listed %q", got)
	}
	f.ok("unlink", f.unlink("/File"))
	if got := f.read("/FILE"); got != "file" {
		t.Fatalf("FILE holds %q", got)
	}
	if _, err := other.stat("/FILE", noHandle); !errors.Is(err, fault.NotExist) {
		t.Fatalf("case does not matter on Linux: %v", err)
	}
}

func TestRenameOnWindows(t *testing.T) {
	f := newForest(t, true)
	f.write("/name", "1")
	f.ok("another case", f.rename("/NAME", "/Name", 0))
	f.real("/name", "/Name")
	f.write("/Other", "2")
	f.ok("over another case", f.rename("/name", "/OTHER", 0))
	if got := f.names("/"); !slices.Equal(got, []string{"Other"}) {
		t.Fatalf("listed %q", got)
	}
	if got := f.read("/other"); got != "1" {
		t.Fatalf("read %q", got)
	}
	f.want("onto what is there", f.rename("/other", "/OTHER2", meta.RenameExchange), fault.NotExist)
	f.want("onto the root", f.rename("/other", "/", 0), fault.Busy)
	f.want("to what stands for nothing", f.rename("/other", "/\uf041", 0), fault.Invalid)
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/dir", 0))
	f.ok("into", f.rename("/other", "/DIR/new:name", 0))
	f.real("/dir/NEW:NAME", "/dir/new\uf03aname")
}

func TestNamesOnWindows(t *testing.T) {
	f := newForest(t, true)
	other := forest{newTree(f.ctx, f.fs, false), t}
	names := []string{"a:b", "CON", "dot.", "space ", "what?", "\xff", "\uf03a", "tab\t", ".hidden", "nul.txt"}
	for _, name := range names {
		other.write("/"+name, name)
	}
	shown := f.names("/")
	if len(shown) != len(names) {
		t.Fatalf("listed %q", shown)
	}
	for _, s := range shown {
		name, _ := hide(s)
		if got := f.read("/" + s); got != name {
			t.Errorf("%q holds %q", s, got)
		}
		f.real("/"+s, "/"+s)
	}
	f.write("/made\uf03f", "x") // as programs of WSL and Cygwin do
	if got := other.read("/made?"); got != "x" {
		t.Fatalf("read %q", got)
	}
	f.want("stat of what stands for nothing", f.unlink("/\uf041"), fault.NotExist)
	f.want("make of what stands for nothing", f.mkdir(vfs.Caller{}, "/\uf041", 0), fault.Invalid)
}

func TestSymlinks(t *testing.T) {
	f := newForest(t, true)
	other := forest{newTree(f.ctx, f.fs, false), t}
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/dir", 0))
	f.ok("symlink", f.symlink(vfs.Caller{}, "../dir/a\uf03ab", "/link"))
	if got, err := other.readlink("/link"); got != "../dir/a:b" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := f.readlink("/LINK"); got != "../dir/a\uf03ab" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	_, err := f.readlink("/dir")
	f.want("readlink of a directory", err, fault.Invalid)
	// WinFsp resolves links on the way when it is told that there is nothing.
	_, err = f.stat("/link/x", noHandle)
	f.want("behind a link", err, fault.NotExist)
	_, err = other.stat("/link/x", noHandle)
	f.want("behind a link, on Linux", err, fault.NotDir)
}

func TestOwnersOnWindows(t *testing.T) {
	f := newForest(t, true)
	other := forest{newTree(f.ctx, f.fs, false), t}
	f.ok("mkdir", other.mkdir(vfs.Caller{UID: 1000, GID: 100}, "/home", 0o700))
	f.write("/home/f", "x")
	f.ok("mkdir", f.mkdir(vfs.Caller{UID: 197609}, "/home/d", 0))
	for path, mode := range map[string]uint32{"/home/f": 0o644, "/home/d": 0o755} {
		st, err := f.stat(path, noHandle)
		if err != nil || st.UID != 1000 || st.GID != 100 || st.Mode != mode {
			t.Errorf("%s: %+v, %v", path, st, err)
		}
	}
}

func TestAttributesOfOpenFiles(t *testing.T) {
	f := newForest(t, true)
	fh, _, err := f.create(vfs.Caller{}, "/f", 0, vfs.Mode{Write: true, Read: true})
	f.ok("create", err)
	f.ok("flags", f.set("/F", noHandle, meta.SetAttr{Mask: meta.SetFlags | meta.SetBtime, Flags: meta.Hidden, Btime: 5}))
	f.ok("unlink", f.unlink("/f"))
	st, err := f.stat("/f", fh) // its path is gone
	if err != nil || st.Flags != meta.Hidden || st.Btime != 5 || st.Nlink != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	f.ok("truncate", f.truncate("/f", fh, 100, true))
	f.release(fh)
	f.want("truncate a directory", f.truncate("/", noHandle, 1, false), fault.IsDir)
	_, err = f.stat("/f", noHandle)
	f.want("stat", err, fault.NotExist)
	if n := len(f.opens); n != 0 {
		t.Fatalf("%d handles are left", n)
	}
}

// WinFsp asks at its start: that the root is no link says that there are links, that "/." is nothing says that we do not follow them.
func TestWhatWinFspAsksFirst(t *testing.T) {
	f := newForest(t, true)
	_, err := f.readlink("/")
	f.want("readlink of the root", err, fault.Invalid)
	_, err = f.stat("/.", noHandle)
	f.want("stat of the root's dot", err, fault.NotExist)
	if st, err := f.stat("/", noHandle); err != nil || st.Type != meta.Dir || st.Btime == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
}

func TestLinksAndSpecialFiles(t *testing.T) {
	f := newForest(t, true)
	f.write("/One", "text")
	f.ok("link", f.link("/ONE", "/Two"))
	f.want("link again", f.link("/one", "/TWO"), fault.Exist)
	if got := f.read("/two"); got != "text" {
		t.Fatalf("read %q", got)
	}
	f.ok("mknod", f.mknod(vfs.Caller{}, "/Pipe", meta.Fifo, 0, 0))
	if st, err := f.stat("/pipe", noHandle); err != nil || st.Type != meta.Fifo {
		t.Fatalf("%+v, %v", st, err)
	}
}

func TestListing(t *testing.T) {
	f := newForest(t, false)
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/d", 0o755))
	for i := range 1000 {
		f.ok("symlink", f.symlink(vfs.Caller{}, "x", fmt.Sprintf("/d/%d", i)))
	}
	fh, err := f.opendir("/d")
	f.ok("opendir", err)
	defer f.release(fh)
	seen := map[string]int{}
	at, more := int64(0), true
	for more { // a few at a time, as a kernel with little room
		n := 0
		more = false
		f.ok("list", f.list("/d", fh, at, func(name string, _ *meta.Inode, next int64) bool {
			if more = n == 7; more {
				return false
			}
			n++
			seen[name]++
			at = next
			return true
		}))
	}
	if len(seen) != 1002 {
		t.Fatalf("%d names", len(seen))
	}
	for name, n := range seen {
		if n != 1 {
			t.Fatalf("%s was listed %d times", name, n)
		}
	}
	_, err = f.opendir("/d/1")
	f.want("opendir of a link", err, fault.NotDir)
}

func TestNotifications(t *testing.T) {
	f := newForest(t, true)
	type told struct {
		path string
		what sort
	}
	tells := make(chan told, 10)
	tell := newTeller(f.tree, func(path string, what sort) { tells <- told{path, what} })
	ctx, cancel := context.WithCancel(f.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tell.run(ctx)
	}()
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/Dir", 0))
	f.ok("mkdir", f.mkdir(vfs.Caller{}, "/Dir/sub", 0))
	f.write("/Dir/a:b", "")
	dir, err := f.stat("/dir", noHandle)
	f.ok("stat", err)
	for _, e := range []event{
		{dir.Ino, "a:b"}, {dir.Ino, "sub"}, {dir.Ino, "gone"}, {dir.Ino, ""}, {12345, "of nobody"}, {meta.Root, "Dir"},
	} {
		tell.hear(e)
	}
	for _, want := range []told{
		{"/Dir/a\uf03ab", fileMade}, {"/Dir/sub", dirMade}, {"/Dir/gone", fileGone}, {"/Dir/gone", dirGone}, {"/Dir", changed}, {"/Dir", dirMade},
	} {
		if got := <-tells; got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	cancel()
	<-ended
	for range 2 * eventsMax { // nobody listens: it does not block
		tell.hear(event{ino: dir.Ino})
	}
}

// What is remembered of paths is bounded, and the newest.
func TestSeen(t *testing.T) {
	s := newSeen()
	for i := range 5 * seenMax {
		s.add(meta.Ino(i), fmt.Sprint(i))
	}
	if n := s.len(); n > 2*seenMax {
		t.Fatalf("%d paths", n)
	}
	for i := 4 * seenMax; i < 5*seenMax; i++ {
		if p, ok := s.path(meta.Ino(i)); !ok || p != fmt.Sprint(i) {
			t.Fatalf("%d: %q, %v", i, p, ok)
		}
	}
}
