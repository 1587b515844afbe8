//go:build linux

package fuse

import (
	"maps"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"dfs/fs/fstest"
)

// TestConformance plays the conformance cases through the kernel.
func TestConformance(t *testing.T) {
	s, _ := mounted(t, Options{})
	fstest.RunDir(t, "mount", s.Point())
}

// TestRandom plays random operations through the kernel.
func TestRandom(t *testing.T) {
	s, _ := mounted(t, Options{})
	fstest.RunRandom(t, 5000, s.Point(), s.Point())
}

// not says which of go-fuse's own tests do not hold here, and why.
var not = map[string]string{
	"FcntlFlockLocksFile": "it wants a process to be kept out by its own lock, which POSIX has belong to the process: ext4 lets it in too",
}

// TestPosix runs the tests that go-fuse has for any file system.
func TestPosix(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			if why := not[name]; why != "" {
				t.Skip(why)
			}
			s, _ := mounted(t, Options{})
			posixtest.All[name](t, s.Point())
		})
	}
}
