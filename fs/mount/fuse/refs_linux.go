package fuse

import (
	"sync"

	"dfs/fs/meta"
	"dfs/fs/vfs"
)

const refShards = 16 // tables, so that lookups do not wait for one lock

// refs counts the kernel's references to inodes.
type refs [refShards]struct {
	mu     sync.Mutex
	counts map[meta.Ino]uint64
}

var _ vfs.Refs = (*refs)(nil)

// Add notes one more reference. It comes before the state is read that the answer is made from: a notify in between must
// find it.
func (r *refs) Add(ino meta.Ino) {
	s := &r[ino%refShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[meta.Ino]uint64{}
	}
	s.counts[ino]++
}

// Drop takes back a reference that no answer gave.
func (r *refs) Drop(ino meta.Ino) { r.forget(ino, 1) }

// forget takes n references back.
func (r *refs) forget(ino meta.Ino, n uint64) {
	s := &r[ino%refShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[ino] <= n {
		delete(s.counts, ino)
	} else {
		s.counts[ino] -= n
	}
}

// has reports whether the kernel has, or is about to have, the inode.
func (r *refs) has(ino meta.Ino) bool {
	if ino == meta.Root {
		return true
	}
	s := &r[ino%refShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[ino] > 0
}

// all returns every inode the kernel has, and the root.
func (r *refs) all() []meta.Ino {
	out := []meta.Ino{meta.Root}
	for i := range r {
		s := &r[i]
		s.mu.Lock()
		for ino := range s.counts {
			out = append(out, ino)
		}
		s.mu.Unlock()
	}
	return out
}

// len returns how many inodes the kernel has.
func (r *refs) len() int {
	n := 0
	for i := range r {
		s := &r[i]
		s.mu.Lock()
		n += len(s.counts)
		s.mu.Unlock()
	}
	return n
}
