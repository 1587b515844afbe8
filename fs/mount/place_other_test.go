//go:build !windows

package mount

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dfs/cluster/fault"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file, full, empty := filepath.Join(dir, "file"), filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	for _, d := range []string{full, empty} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{file, filepath.Join(full, "file")} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for point, kind := range map[string]fault.Kind{
		file: fault.NotDir, full: fault.NotEmpty, filepath.Join(dir, "none"): fault.NotExist, "relative": fault.Invalid,
	} {
		if err := Check(point); !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", point, err, kind)
		}
	}
	if err := Check(empty); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}
