package rules

import (
	"strings"
	"testing"
)

// never says what a part of the tree does not import. The longest matching part of a file's directory decides.
var never = map[string][]string{
	"cmd":          {},
	"integration":  {},
	"cluster/node": {"dfs/cmd", "dfs/integration"},
	"fs":           {"dfs/cmd", "dfs/integration", "dfs/sched", "dfs/osmodel", "dfs/cluster/node", "dfs/cluster/admin"},
	"blockstore":   {"dfs/cmd", "dfs/integration", "dfs/sched", "dfs/osmodel", "dfs/cluster/node", "dfs/cluster/admin", "dfs/fs"},
	"net":          {"dfs/cmd", "dfs/integration", "dfs/sched", "dfs/osmodel", "dfs/cluster/node", "dfs/cluster/admin", "dfs/fs", "dfs/blockstore"},
	"cluster":      {"dfs/cmd", "dfs/integration", "dfs/sched", "dfs/osmodel", "dfs/cluster/node", "dfs/fs"},
	"sched":        {"dfs/cmd", "dfs/integration", "dfs/cluster/node", "dfs/fs"},
}

// only says which directories alone may import a library.
var only = map[string][]string{
	"github.com/hanwen/go-fuse":      {"fs/mount/fuse"},
	"github.com/winfsp/cgofuse":      {"fs/mount/winfsp"},
	"github.com/dgraph-io/badger":    {"blockstore/kv/badger"},
	"go.etcd.io/raft":                {"cluster/raft"},
	"github.com/hashicorp":           {"cluster/gossip"},
	"github.com/klauspost":           {"blockstore/erasure"},
	"github.com/spf13":               {"cmd"},
	"github.com/BurntSushi/toml":     {"cmd"},
	"github.com/prometheus":          {"cluster/admin"},
	"google.golang.org/protobuf":     {"cluster/raft"},
	"os/exec":                        {"cmd", "sched", "integration", "fs/mount", "fs/fstest"}, // the mount starts fusermount3 before it serves; tests play in a child
	"dfs/integration":                {"integration"},
	"dfs/cluster/node":               {"cmd", "integration"},
	"dfs/fs/mount/fuse":              {"cluster/node", "fs/mount", "integration"},
	"dfs/fs/mount/winfsp":            {"cluster/node", "fs/mount"},
	"honnef.co/go/tools":             {},
	"github.com/dgraph-io/ristretto": {},
}

func tree(t *testing.T) []File {
	t.Helper()
	root, err := Root(".")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Tree(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range tree(t) {
		part := ""
		for p := range never {
			if Within(f.Dir, p) && len(p) > len(part) {
				part = p
			}
		}
		for _, imp := range f.Imports {
			for _, no := range never[part] {
				if Within(imp, no) {
					t.Errorf("%s imports %s: %s does not import %s", f.Path, imp, part, no)
				}
			}
		}
	}
}

func TestModelsImportTheStandardLibraryAlone(t *testing.T) {
	for _, f := range tree(t) {
		if !Within(f.Dir, "osmodel") {
			continue
		}
		for _, imp := range f.Imports {
			first, _, _ := strings.Cut(imp, "/")
			if strings.Contains(first, ".") || first == "dfs" && !Within(imp, "dfs/osmodel") {
				t.Errorf("%s imports %s", f.Path, imp)
			}
		}
	}
}

func TestLibrariesHaveTheirImporters(t *testing.T) {
	for _, f := range tree(t) {
		for _, imp := range f.Imports {
			for lib, dirs := range only {
				if Within(imp, lib) && !anyWithin(f.Dir, dirs) && !(f.Test && lib == "os/exec") {
					t.Errorf("%s imports %s, which belongs to %s", f.Path, imp, strings.Join(dirs, ", "))
				}
			}
		}
	}
}

func anyWithin(dir string, dirs []string) bool {
	for _, d := range dirs {
		if Within(dir, d) {
			return true
		}
	}
	return false
}
