//go:build linux && cgo && fuse3

package winfsp

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// TestMain also plays the helper that touch starts.
func TestMain(m *testing.M) {
	fstest.Child()
	if at := os.Getenv("TOUCH_MOUNT"); at != "" {
		f, err := os.Open(at)
		if err != nil {
			os.Exit(1)
		}
		f.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// touch has another process open a file of the mount, so that the kernel learns that there is no polling: see the tests of
// fs/mount/fuse.
func touch(t *testing.T, point string, fs *vfs.FS) {
	t.Helper()
	ctx := context.Background()
	_, o, err := fs.Create(ctx, vfs.Caller{}, meta.Root, ".touch", 0o644, vfs.Mode{Write: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs.Release(o.Handle)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TOUCH_MOUNT="+filepath.Join(point, ".touch"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("touch %s: %v: %s", point, err, out)
	}
	if err := fs.Unlink(ctx, meta.Root, ".touch"); err != nil {
		t.Fatal(err)
	}
}

// mounted mounts a fresh drive through libfuse for the length of a test.
func mounted(t *testing.T, o Options) (*Server, *fstest.Drive) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("needs /dev/fuse: %v", err)
	} else {
		f.Close()
	}
	point := filepath.Join(t.TempDir(), "drive")
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	d := fstest.NewDrive(t, vfs.Options{})
	s, err := Mount(context.Background(), point, d.FS, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- d.FS.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if at, _ := mount.At(point); at != nil {
			t.Errorf("still mounted: %+v", at)
		}
	})
	touch(t, point, d.FS)
	return s, d
}

// TestLibfuseContract runs the contract through libfuse and the kernel.
func TestLibfuseContract(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree {
		s, _ := mounted(t, Options{})
		return fstest.Dir(s.Point())
	})
}

// TestLibfuseConformance plays the conformance cases through libfuse and the kernel.
func TestLibfuseConformance(t *testing.T) {
	s, _ := mounted(t, Options{})
	fstest.RunDir(t, "libfuse", s.Point(), func(name string) string {
		for _, e := range exceptions {
			if strings.Contains(name, e.part) {
				return e.why
			}
		}
		return ""
	})
}

// exceptions are what libfuse's interface of paths, or cgofuse, cannot do, by a part of the cases' names.
var exceptions = []struct{ part, why string }{
	{"mkdir in a removed directory", "a removed directory has no path"},
	{"rmdir of a working directory", "a removed directory has no path"},
	{"rmdir of an open directory", "a removed directory has no path"},
	{"an open directory is replaced", "a removed directory has no path"},
	{"O_TMPFILE", "libfuse has none for paths"},
	{"a file without a name", "libfuse has no O_TMPFILE for paths"},
	{"O_APPEND can be switched off", "cgofuse says how a file was opened, and no more"},
	{"a device that is not there is not opened", "mounted without devices"},
	{"a new file has one time", "libfuse has no birth times"},
	{"utimensat sets the time it is", "cgofuse says what time, not that it is now"},
	{"access time", "reads mark no access times"},
	{"seeking data and holes", "cgofuse does not seek"},
	{"O_DIRECT", "cgofuse does not say so, and it needs no alignment"},
	{"a map of a file opened to append", "needs a flag that libfuse does not ask for"},
}

// TestLibfuseWindows mounts the drive as Windows has it: the kernel asks for names as programs spell them.
func TestLibfuseWindows(t *testing.T) {
	s, _ := mounted(t, Options{Windows: true})
	at := func(p string) string { return filepath.Join(s.Point(), p) }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(os.Mkdir(at("Dir"), 0o755))
	ok(os.WriteFile(at("DIR/File\uf03aname"), []byte("text"), 0o644))
	got, err := os.ReadFile(at("dir/FILE:NAME"))
	ok(err)
	if string(got) != "text" {
		t.Fatalf("read %q", got)
	}
	ls, err := os.ReadDir(at("dIR"))
	ok(err)
	if len(ls) != 1 || ls[0].Name() != "File\uf03aname" {
		t.Fatalf("listed %v", ls)
	}
	ok(os.Rename(at("dir/file:name"), at("DIR/Other")))
	ok(os.Remove(at("dir/OTHER")))
	ok(os.Remove(at("DIR")))
	ls, err = os.ReadDir(s.Point())
	ok(err)
	if len(ls) != 0 {
		t.Fatalf("left: %v", ls)
	}
}

// TestLibfuseMountIsRefused: a mount that cannot be is an error, and nothing is left of it.
func TestLibfuseMountIsRefused(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	for _, point := range []string{"relative", "/nowhere/at/all"} {
		if s, err := Mount(context.Background(), point, d.FS, Options{}); err == nil {
			t.Errorf("%s is mounted: %v", point, s.Point())
		}
	}
}

func TestLibfuseArguments(t *testing.T) {
	o := Options{Label: `my, drive: "a"/` + strings.Repeat("x", 40)}
	o.setDefaults()
	if want := "my drive a" + strings.Repeat("x", 22); o.Label != want {
		t.Errorf("label %q, want %q", o.Label, want)
	}
	if args := o.arguments(true); !slices.Contains(args, "volname="+o.Label) || !slices.Contains(args, "FileInfoTimeout=0") {
		t.Errorf("%q", args)
	}
}

func TestLibfuseXattrs(t *testing.T) {
	s, _ := mounted(t, Options{})
	f := filepath.Join(s.Point(), "f")
	if err := os.WriteFile(f, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"user.one": "1", "user.two": ""} {
		if err := unix.Setxattr(f, name, []byte(value), unix.XATTR_CREATE); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(f, name, nil, unix.XATTR_CREATE); err != unix.EEXIST {
			t.Errorf("create %s again: %v", name, err)
		}
	}
	b := make([]byte, 100)
	if n, err := unix.Getxattr(f, "user.one", b); err != nil || string(b[:n]) != "1" {
		t.Errorf("user.one is %q, %v", b[:n], err)
	}
	if n, err := unix.Listxattr(f, b); err != nil || !slices.Contains(strings.Split(string(b[:n]), "\x00"), "user.two") {
		t.Errorf("listed %q, %v", b[:n], err)
	}
	if _, err := unix.Listxattr(f, b[:3]); err != unix.ERANGE {
		t.Errorf("a list without room: %v", err)
	}
	if err := unix.Removexattr(f, "user.one"); err != nil {
		t.Error(err)
	}
	if _, err := unix.Getxattr(f, "user.one", b); err != unix.ENODATA {
		t.Errorf("removed: %v", err)
	}
}
