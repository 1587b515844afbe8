package cli

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"dfs/cluster/fault"
)

func TestCheckFresh(t *testing.T) {
	dir := t.TempDir()
	if err := CheckFresh(filepath.Join(dir, "none"), ""); err != nil {
		t.Errorf("none: %v", err)
	}
	for _, c := range []struct {
		name  string
		files []string
		mount string
		ok    bool
	}{
		{"empty", nil, "", true},
		{"settings", []string{"dfsd.toml", "lost+found"}, "", true},
		{"foreign", []string{"dfsd.toml", "letter"}, "", false},
		{"been here", []string{"letter", UpLock, "log"}, "", true},
		{"way to the mount", []string{"mnt"}, "mnt/drive", true},
		{"not the way", []string{"mn"}, "mnt", false},
	} {
		data := filepath.Join(dir, c.name)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range c.files {
			if err := os.WriteFile(filepath.Join(data, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mount := ""
		if c.mount != "" {
			mount = filepath.Join(data, filepath.FromSlash(c.mount))
		}
		if err := CheckFresh(data, mount); (err == nil) != c.ok || err != nil && !errors.Is(err, fault.NotEmpty) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRealMount(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(s string) string { return filepath.Join(dir, s) }
	if err := os.MkdirAll(in("real/mnt"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "real", "abs": in("link"), "real/to": "../link/mnt", "loop": "loop", "dangling": "real/new"} {
		if err := os.Symlink(target, in(name)); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[string]string{
		"real/mnt": "real/mnt", "link/mnt": "real/mnt", "abs/mnt": "real/mnt", "abs/new/er": "real/new/er", "link/to": "real/mnt",
		"dangling": "real/new", "none/at/all": "none/at/all",
	} {
		if got := RealMount(in(from)); got != in(want) {
			t.Errorf("%s: %s, want %s", from, got, in(want))
		}
	}
	if got := RealMount("/"); got != "/" {
		t.Errorf("/: %s", got)
	}
	RealMount(in("loop")) // ends
}

func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{"a b é": "a b é", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "\x1b[31m": `"\x1b[31m"`} {
		if got := Printable(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
