package integration

import (
	"go/build"
	"path/filepath"
	"testing"

	"dfs/fs/fstest"
	"dfs/integration/harness"
)

func TestMain(m *testing.M) {
	fstest.Child()
	harness.Main(m)
}

// sources are directories of the Go distribution: real trees, about a thousand files. The long runs take all of it.
func sources() []string {
	root := filepath.Join(build.Default.GOROOT, "src")
	if harness.Soak() {
		return []string{root}
	}
	var dirs []string
	for _, d := range []string{"net", "os", "go"} {
		dirs = append(dirs, filepath.Join(root, d))
	}
	return dirs
}

// oldKernel is the environment that has daemons take the path for kernels before 6.16.
var oldKernel = []string{"DFS_FORCE_OLD_KERNEL=1"}
