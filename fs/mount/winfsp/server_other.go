//go:build !windows && !(linux && cgo && fuse3)

package winfsp

import (
	"context"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// Server is one mount; there are none in this build.
type Server struct{}

var _ coherence.Kernel = (*Server)(nil)

// Mount is fault.Unsupported here.
func Mount(context.Context, string, *vfs.FS, Options) (*Server, error) { return nil, unsupported() }

func unsupported() error {
	return fault.New("mount", fault.Unsupported, "this front is for Windows, or for cgo with the build tag fuse3")
}

func (*Server) Run(context.Context) error               { return unsupported() }
func (*Server) Unmount() error                          { return unsupported() }
func (*Server) Point() string                           { return "" }
func (*Server) Epoch() bool                             { return false }
func (*Server) Guard() coherence.Guard                  { return nil }
func (*Server) Inodes() int                             { return 0 }
func (*Server) Has(meta.Ino) bool                       { return false }
func (*Server) InvalAttrNow(meta.Ino) bool              { return false }
func (*Server) Remembered() []meta.Ino                  { return nil }
func (*Server) InvalInode(meta.Ino, int64, int64) error { return unsupported() }
func (*Server) InvalEntry(meta.Ino, string) error       { return unsupported() }
func (*Server) ExpireEpoch() error                      { return unsupported() }
