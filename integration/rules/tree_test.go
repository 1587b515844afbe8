package rules

import (
	"bytes"
	"go/format"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// folders are the top level of the tree. Dot files and folders are not counted, nor what git ignores.
var folders = []string{"blockstore", "cluster", "cmd", "fs", "integration", "net", "osmodel", "sched"}

// empty names say nothing about what is inside.
var empty = []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "misc", "base", "shared"}

func TestTopLevel(t *testing.T) {
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" || e.Name() == "run" {
			continue
		}
		if !slices.Contains(folders, e.Name()) {
			t.Errorf("folder %s is not one of %v", e.Name(), folders)
		}
	}
}

func TestFilesAreFormatted(t *testing.T) {
	for _, f := range tree(t) {
		want, err := format.Source(f.Source)
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
			continue
		}
		if !bytes.Equal(f.Source, want) {
			t.Errorf("%s: gofmt would change it", f.Path)
		}
	}
}

func TestNamesSaySomething(t *testing.T) {
	for _, f := range tree(t) {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.Path), ".go"), "_test")
		for _, part := range append(strings.Split(f.Dir, "/"), stem) {
			if slices.Contains(empty, part) {
				t.Errorf("%s: %q says nothing of what is inside", f.Path, part)
			}
		}
	}
}

func TestPackagesExplainThemselves(t *testing.T) {
	type about struct{ name, comment string }
	packages := map[string]about{}
	for _, f := range tree(t) {
		if f.Test {
			continue
		}
		p := packages[f.Dir]
		p.name = f.Syntax.Name.Name
		if f.Syntax.Doc != nil && p.comment == "" {
			p.comment = f.Syntax.Doc.Text()
		}
		packages[f.Dir] = p
	}
	for dir, p := range packages {
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(p.comment, want) {
			t.Errorf("%s: its comment should begin with %q", dir, strings.TrimSpace(want))
		}
	}
}

// fs and net hold no Go files of their own, so that no package of the standard library is shadowed.
func TestFoldersThatAreOnlyFolders(t *testing.T) {
	for _, f := range tree(t) {
		if f.Dir == "fs" || f.Dir == "net" || f.Dir == "." {
			t.Errorf("%s: Go files belong further down", f.Path)
		}
	}
}
