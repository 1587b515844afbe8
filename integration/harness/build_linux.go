package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is where the programs of this run are.
var bin string

// Main builds the programs, runs the tests and removes what it built. Call it from TestMain.
func Main(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "dfs-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"dfsd", "dfsplane", "dfsctl"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "dfs/cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	bin = dir
	return m.Run(), nil
}

// Program returns the path of dfsd, dfsctl or dfsplane.
func Program(name string) string { return filepath.Join(bin, name) }

// NeedFUSE skips the test where nothing can be mounted.
func NeedFUSE(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("/dev/fuse: %v", err)
	}
	f.Close()
}

// Soak reports whether the long versions are wanted (make soak).
func Soak() bool { return os.Getenv("DFS_SOAK") != "" }
