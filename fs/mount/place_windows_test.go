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
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for point, kind := range map[string]fault.Kind{
		"C:": fault.Busy, `c:\`: fault.Busy, "relative": fault.Invalid, dir: fault.Exist, file: fault.Exist,
		filepath.Join(file, "drive"): fault.NotDir, filepath.Join(dir, "none", "drive"): fault.NotExist,
	} {
		if err := Check(point); !errors.Is(err, kind) || fault.NextStep(err) == "" {
			t.Errorf("%s: %v, want %v", point, err, kind)
		}
	}
	deep := filepath.Join(dir, "a", "b", "drive")
	if err := Make(deep); err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{filepath.Join(dir, "drive"), deep, "Q:", `q:\`} {
		if err := Check(point); err != nil {
			t.Errorf("%s: %v", point, err)
		}
	}
	if _, err := os.Stat(deep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was made, which WinFsp does: %v", deep, err)
	}
}

// Without WinFsp there is an error with a next step, and nothing is tried.
func TestReady(t *testing.T) {
	if err := Ready(); err != nil && (!errors.Is(err, fault.Unsupported) || fault.NextStep(err) == "") {
		t.Errorf("%v, next: %q", err, fault.NextStep(err))
	}
}
