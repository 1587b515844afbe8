package meta

import (
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/fs/extent"
)

// Kept is an extent of a file's map.
type Kept struct {
	Ino    Ino
	Extent extent.Extent
}

// Replicas looks at up to examine extents after place and returns those that a peer should hold a replica of, and where
// to go on; done says that there are no more. A zero peer means all extents.
func (v *Image) Replicas(of cluster.PeerID, after Place, examine int) (list []Kept, next Place, done bool, err error) {
	next, done = after, true
	var found []short
	var failed error
	err = v.r.Scan(prefix('x'), extentKey(after.Ino, after.End+1), func(k, b []byte) bool {
		if examine--; examine < 0 {
			done = false
			return false
		}
		next = Place{Ino: Ino(number(k, 2)), End: int64(number(k, 10))}
		var rec record
		if rec, failed = decodeRecord(next.End, b); failed != nil {
			return false
		}
		if of.IsZero() || slices.Contains(rec.Layout.Peers, of) {
			found = append(found, short{Short{Ino: next.Ino, Extent: rec.Extent}, rec})
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, after, false, err
	}
	living, err := v.living(found)
	for _, s := range living {
		list = append(list, Kept{s.Ino, s.Extent})
	}
	return list, next, done, err
}

// Pieces returns the pieces of an extent that a file's map shows within [off, off+n). A file that is gone shows none.
func (v *Image) Pieces(id blockstore.ID, ino Ino, off, n int64) (list []Kept, err error) {
	if _, ok, err := getInode(v.r, ino); err != nil || !ok {
		return nil, err
	}
	m, err := v.Extents(ino, max(0, off), n)
	for _, e := range m {
		if e.Span.Extent == id {
			list = append(list, Kept{ino, e})
		}
	}
	return list, err
}
