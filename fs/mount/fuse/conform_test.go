//go:build linux

package fuse

import (
	"testing"

	"dfs/fs/fstest"
)

// TestConformance plays the conformance cases through the kernel.
func TestConformance(t *testing.T) {
	s, _ := mounted(t, Options{})
	fstest.RunDir(t, "mount", s.Point())
}
