package vfs

import (
	"cmp"
	"slices"

	"dfs/fs/extent"
	"dfs/fs/meta"
)

// blocksLooks is how many stretches of a file's map one look at its attributes reads. Beyond it, in a file with as many scattered writes
// that are not committed, what lies under them counts twice until they are.
const blocksLooks = 1024

// blocksOf returns how many blocks the file st of v takes with what this mount has written and v has not: those that are new and no more.
func (f *FS) blocksOf(v meta.View, st meta.Inode) (uint64, error) {
	n := f.known(st.Ino)
	if n == nil {
		return st.Blocks, nil
	}
	n.mu.Lock()
	list := n.scopesLocked(v.Index(), st.Size)
	n.mu.Unlock()
	f.unpin(n)
	list = merge(list)
	blocks := int64(st.Blocks)
	for look := 0; len(list) > 0; look++ {
		k := 1
		for k < len(list) && list[k].end-list[0].off <= windowBytes {
			k++
		}
		var m extent.Map
		if st.Blocks > 0 && look < blocksLooks {
			var err error
			if m, err = v.Extents(st.Ino, list[0].off, list[k-1].end-list[0].off); err != nil {
				return 0, err
			}
		}
		for _, s := range list[:k] {
			blocks += (s.end - s.off - m.Slice(s.off, s.end-s.off).Bytes()) / 512
		}
		list = list[k:]
	}
	return uint64(blocks), nil
}

// scopesLocked returns the whole blocks that this mount has written and the view at, where the file ends at size, has not, in any order.
func (n *node) scopesLocked(at uint64, size int64) (list []scope) {
	add := func(off, end int64) { list = append(list, scope{down(off), up(end)}) }
	for _, s := range n.settled {
		for _, e := range s.extents {
			if s.index > at {
				add(e.Off, e.End())
			}
		}
		if s.index > at {
			size = max(size, s.end)
		}
	}
	tail := int64(len(n.tail))
	for _, b := range n.inflight {
		for _, r := range b.runs {
			if c, ok := r.clip(b.from, everything); ok {
				add(c.off, c.end())
			}
		}
		if b.from != everything {
			tail += int64(len(b.tail))
		}
	}
	for _, r := range n.dirty.all() {
		add(r.off, r.end())
	}
	if tail > 0 {
		add(size, size+tail)
	}
	return list
}

// merge returns what list covers: sorted and disjoint.
func merge(list []scope) (out []scope) {
	slices.SortFunc(list, func(a, b scope) int { return cmp.Compare(a.off, b.off) })
	for _, s := range list {
		if k := len(out) - 1; k >= 0 && s.off <= out[k].end {
			out[k].end = max(out[k].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}
