package fstest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheSuiteItself runs the promises about holes on ext4, which knows all the calls.
func TestTheSuiteItself(t *testing.T) {
	var st unix.Statfs_t
	if err := unix.Statfs(t.TempDir(), &st); err != nil || st.Type != unix.EXT4_SUPER_MAGIC || st.Bsize != 4096 {
		t.Skipf("needs ext4 with blocks of 4096 bytes at %s", t.TempDir())
	}
	RunSparse(t, st.Bsize, true, func(t *testing.T) Tree { return Dir(t.TempDir()) })
}

// TestTheSuiteOfCopies runs the promises about copies on whatever is there: all file systems of Linux keep them.
func TestTheSuiteOfCopies(t *testing.T) {
	RunCopies(t, func(t *testing.T) Tree { return Dir(t.TempDir()) })
}
