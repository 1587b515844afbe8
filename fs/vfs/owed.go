package vfs

import "dfs/fs/meta"

// Dirty returns the bytes that are written and not yet committed, of all files.
func (f *FS) Dirty() int64 { return f.dirty.Load() }

// Unflushed reports whether this mount owes ino a commit.
func (f *FS) Unflushed(ino meta.Ino) bool {
	n := f.known(ino)
	if n == nil {
		return false
	}
	defer f.unpin(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.unflushedLocked()
}
