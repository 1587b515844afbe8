package disk

import (
	"errors"
	"testing"

	"dfs/cluster/fault"
)

// A file that was removed while it was open takes bytes like any other, and all of them go when the process ends: its
// Sync says so.
func TestSyncOfARemovedFileFails(t *testing.T) {
	d := Dir(t.TempDir())
	f, err := d.Open("a", true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.WriteAll(0, []byte("x")), f.Sync(), d.Remove("a")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, fault.NotExist) {
		t.Errorf("synced: %v", err)
	}
}
