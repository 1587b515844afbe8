package fstest

import (
	"testing"

	"dfs/blockstore/kv/mem"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// Drive is a file system without a cluster: metadata on one machine in memory, blocks in memory.
type Drive struct {
	FS     *vfs.FS
	Meta   *meta.Local
	Blocks *Blocks
}

// NewDrive returns an empty drive. o's Session is set to the metadata's, and small files share blocks too.
func NewDrive(t testing.TB, o vfs.Options) *Drive {
	t.Helper()
	m, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := NewBlocks()
	b.Peer = m.Peers()[0]
	o.Session = m.Session()
	if o.CloneMin == 0 {
		o.CloneMin = 64 << 10
	}
	return &Drive{FS: vfs.New(m, b, vfs.Alone{Store: m}, o), Meta: m, Blocks: b}
}
