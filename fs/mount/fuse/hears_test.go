//go:build linux

package fuse

import (
	"dfs/cluster/state"
	"dfs/fs/fstest"
	"dfs/fs/meta"
)

// hears tells a drive's file system what is applied.
type hears struct{ d *fstest.Drive }

func (h hears) Applied(a state.Applied) { h.d.FS.Applied(meta.ChangeOf(a)) }
func (h hears) Reset(uint64)            { h.d.FS.Reset() }
