package fstest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"dfs/fs/vfs"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

// TestCore: what the core decides, it decides as POSIX and Linux do.
func TestCore(t *testing.T) { RunCore(t, NewDrive(t, vfs.Options{}).FS) }

// TestExt4 judges the suite itself.
func TestExt4(t *testing.T) { RunDir(t, "ext4", ext4(t)) }

// TestRandomExt4 judges the random operations.
func TestRandomExt4(t *testing.T) {
	root := ext4(t)
	RunRandom(t, 5000, root, root)
}

// ext4 returns a directory on ext4.
func ext4(t *testing.T) string {
	root := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil || st.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("needs TMPDIR on ext4; %s is of type %#x", root, st.Type)
	}
	return root
}
