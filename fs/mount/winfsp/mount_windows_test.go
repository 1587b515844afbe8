package winfsp

import (
	"context"
	"errors"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/fstest"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// Without WinFsp a mount is refused with a next step: cgofuse would panic.
func TestMountWithoutWinFsp(t *testing.T) {
	if mount.Ready() == nil {
		t.Skip("WinFsp is installed")
	}
	_, err := Mount(context.Background(), "Q:", fstest.NewDrive(t, vfs.Options{}).FS, Options{})
	if !errors.Is(err, fault.Unsupported) || fault.NextStep(err) == "" {
		t.Errorf("%v, next: %q", err, fault.NextStep(err))
	}
}
