package meta

import (
	"slices"

	"dfs/cluster"
)

// Amount is a number of extents and their blocks.
type Amount struct{ Extents, Blocks uint64 }

func (a *Amount) add(b bucket) {
	a.Extents += b.extents
	a.Blocks += b.blocks
}

// Parting is what it would mean to do without some peers.
type Parting struct {
	Held Amount // that the maps place on one of them
	Only Amount // of that, with no replica on anybody who stays: lost
	Less Amount // of that, with fewer replicas on those who stay than asked for and than they could hold
}

// Without returns what it would mean if only the peers in stay were left, of those that gone names. It reads the
// histogram, not the extents.
func (v *Image) Without(gone, stay []cluster.PeerID) (p Parting, err error) {
	stay = sortPeers(slices.Clone(stay))
	err = eachBucket(v.r, func(b bucket) {
		if !slices.ContainsFunc(b.peers, func(id cluster.PeerID) bool { return slices.Contains(gone, id) }) {
			return
		}
		p.Held.add(b)
		have, want := b.state(stay)
		if have == 0 {
			p.Only.add(b)
		}
		if have < min(want, max(1, len(stay))) {
			p.Less.add(b)
		}
	})
	return p, err
}

// Homeless returns up to limit files of which some extent has no replica on any peer in stay, beginning after place, and
// where to go on; done says that there are no more. It looks at up to examine extents.
func (v *Image) Homeless(stay []cluster.PeerID, after Place, examine, limit int) (inos []Ino, next Place, done bool, err error) {
	stay = sortPeers(slices.Clone(stay))
	next, done = after, true
	var failed error
	err = v.r.Scan(prefix('x'), extentKey(after.Ino, after.End+1), func(k, b []byte) bool {
		if examine--; examine < 0 || len(inos) >= limit {
			done = false
			return false
		}
		next = Place{Ino: Ino(number(k, 2)), End: int64(number(k, 10))}
		var rec record
		if rec, failed = decodeRecord(next.End, b); failed != nil {
			return false
		}
		if !slices.ContainsFunc(rec.Layout.Peers, func(id cluster.PeerID) bool { return isMember(stay, id) }) &&
			!slices.Contains(inos, next.Ino) {
			inos = append(inos, next.Ino)
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return inos, next, done, err
}
