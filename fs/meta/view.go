package meta

import (
	"dfs/blockstore"
	"dfs/blockstore/kv"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/net/wire"
)

// Image is the state after one log index: a View, and what the loops that keep the drive in order ask besides.
type Image struct {
	r     kv.Reader
	index uint64
	last  Inode // the one read last: who asks for a file's map has often asked for its attributes; Ino 0: none
}

var _ View = (*Image)(nil)

// NewView returns what r shows, which is the state after index. Closing the view closes r.
func NewView(r kv.Reader, index uint64) *Image { return &Image{r: r, index: index} }

func (v *Image) Index() uint64 { return v.index }
func (v *Image) Close()        { v.r.Close() }

func (v *Image) Stat(ino Ino) (Inode, error) {
	if ino != 0 && v.last.Ino == ino {
		return v.last, nil
	}
	n, ok, err := getInode(v.r, ino)
	switch {
	case err != nil:
	case !ok:
		err = fault.New("stat", fault.NotExist, "inode %d", ino)
	default:
		v.last = n
	}
	return n, err
}

func (v *Image) Lookup(dir Ino, name string) (Inode, error) {
	n, _, err := v.lookup(dir, name, findDent)
	return n, err
}

func (v *Image) LookupFold(dir Ino, name string) (Inode, string, error) {
	return v.lookup(dir, name, findFolded)
}

func (v *Image) lookup(dir Ino, name string, find func(reader, *Inode, string) (dent, bool, error)) (Inode, string, error) {
	d, err := v.directory(dir)
	if err != nil {
		return Inode{}, "", err
	}
	if len(name) > NameMax {
		return Inode{}, "", checkName(name)
	}
	e, ok, err := find(v.r, &d, name)
	if err != nil {
		return Inode{}, "", err
	}
	if !ok {
		return Inode{}, "", fault.New("lookup", fault.NotExist, "%q", name)
	}
	n, err := v.Stat(e.ino)
	return n, e.name, err
}

func (v *Image) List(dir Ino, after Cursor, limit int) ([]Dentry, error) {
	if _, err := v.directory(dir); err != nil {
		return nil, err
	}
	var list []Dentry
	var failed error
	err := v.r.Scan(dirPrefix(dir), dentKey(dir, after+1), func(k, b []byte) bool {
		var e dent
		if e, failed = decodeDent(Cursor(number(k, 10)), b); failed != nil || len(list) >= limit {
			return false
		}
		if e.ino != 0 {
			list = append(list, Dentry{Name: e.name, Inode: Inode{Ino: e.ino}, Cursor: e.at})
		}
		return true
	})
	if err == nil {
		err = failed
	}
	for i := range list {
		if err != nil {
			return nil, err
		}
		list[i].Inode, err = v.Stat(list[i].Inode.Ino)
	}
	return list, err
}

func (v *Image) directory(dir Ino) (Inode, error) {
	n, err := v.Stat(dir)
	if err == nil && n.Type != Dir {
		err = fault.New("directory", fault.NotDir, "inode %d", dir)
	}
	return n, err
}

func (v *Image) Extents(ino Ino, off, n int64) (extent.Map, error) {
	node, err := v.Stat(ino)
	if err != nil || n <= 0 {
		return nil, err
	}
	cs, err := loadCuts(v.r, &node)
	if err != nil {
		return nil, err
	}
	end := off + n
	if end < off {
		end = SizeMax
	}
	var m extent.Map
	err = scanRecords(v.r, ino, max(off, 0), func(rec record) bool {
		if rec.Off >= end {
			return false
		}
		if !cs.doomed(rec) {
			m = append(m, rec.Extent)
		}
		return true
	})
	return m, err
}

// ExtentsFrom returns up to limit extents of a file, in order: those that end after off.
func (v *Image) ExtentsFrom(ino Ino, off int64, limit int) (m extent.Map, err error) {
	node, err := v.Stat(ino)
	if err != nil {
		return nil, err
	}
	cs, err := loadCuts(v.r, &node)
	if err != nil {
		return nil, err
	}
	err = scanRecords(v.r, ino, max(off, 0), func(rec record) bool {
		if !cs.doomed(rec) {
			m = append(m, rec.Extent)
		}
		return len(m) < limit
	})
	return m, err
}

// CountOf returns how many extents a file lies in.
func (v *Image) CountOf(ino Ino) (n uint64, err error) {
	node, err := v.Stat(ino)
	if err != nil {
		return 0, err
	}
	cs, err := loadCuts(v.r, &node)
	if err != nil {
		return 0, err
	}
	err = scanRecords(v.r, ino, 0, func(rec record) bool {
		if !cs.doomed(rec) {
			n++
		}
		return true
	})
	return n, err
}

func (v *Image) Usage() (Usage, error) {
	t, err := readCounters(v.r)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Inodes: t.inodes, Blocks: t.blocks, Extents: t.extents}
	members, err := readMembers(v.r)
	if err != nil {
		return Usage{}, err
	}
	err = eachBucket(v.r, func(b bucket) {
		if have, want := b.state(members); have < want {
			u.BelowExtents += b.extents
			u.BelowBlocks += b.blocks
		}
	})
	return u, err
}

// Held returns the blocks that the maps place on each peer, one that is no member any more included.
func (v *Image) Held() (map[cluster.PeerID]uint64, error) {
	held := map[cluster.PeerID]uint64{}
	err := eachBucket(v.r, func(b bucket) {
		for _, p := range b.peers {
			held[p] += b.blocks
		}
	})
	return held, err
}

// Orphans returns up to limit inodes after after that no name leads to, in order.
func (v *Image) Orphans(after Ino, limit int) ([]Ino, error) {
	return v.inos(prefix('o'), orphanKey(after+1), 2, limit)
}

// TrimPending returns up to limit inodes after after that have extents left over from a truncation, in order.
func (v *Image) TrimPending(after Ino, limit int) (list []Ino, err error) {
	last := Ino(0)
	err = v.r.Scan(prefix('t'), cutsOf(after+1), func(k, _ []byte) bool {
		if ino := Ino(number(k, 2)); ino != last {
			if len(list) >= limit {
				return false
			}
			list, last = append(list, ino), ino
		}
		return true
	})
	return list, err
}

// GrantsOf returns up to limit inodes after after that a session holds grants of, in order.
func (v *Image) GrantsOf(session uint64, after Ino, limit int) ([]Ino, error) {
	return v.inos(grantsOf(session), grantKey(session, after+1), 10, limit)
}

// Grantees returns the sessions that hold grants.
func (v *Image) Grantees() (sessions []uint64, err error) {
	for from, more := grantKey(0, 0), true; more && err == nil; {
		more = false
		err = v.r.Scan(prefix('g'), from, func(k, _ []byte) bool {
			s := number(k, 2)
			sessions, from, more = append(sessions, s), grantKey(s+1, 0), s+1 != 0
			return false
		})
	}
	return sessions, err
}

func (v *Image) inos(prefix, from []byte, at, limit int) (list []Ino, err error) {
	err = v.r.Scan(prefix, from, func(k, _ []byte) bool {
		if len(list) >= limit {
			return false
		}
		list = append(list, Ino(number(k, at)))
		return true
	})
	return list, err
}

// Volatile returns the peers that hold extents of ino's commits which are not yet known to be stable: what fsync
// has to sync besides its own. Sorted, without repeats.
func (v *Image) Volatile(ino Ino) (peers []cluster.PeerID, err error) {
	var failed error
	err = v.r.Scan(volatilesOf(ino), nil, func(_, b []byte) bool {
		d := wire.NewReader(b)
		peers = append(peers, readPeers(d, peersMax)...)
		failed = corrupt("volatile", d.Done())
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return sortPeers(peers), err
}

// VolatileInos returns up to limit inodes after after that have commits waiting for a Stable op, in order.
func (v *Image) VolatileInos(after Ino, limit int) (list []Ino, err error) {
	err = v.r.Scan(prefix('w'), volatilesOf(after+1), func(k, _ []byte) bool {
		if ino := Ino(number(k, 2)); len(list) == 0 || list[len(list)-1] != ino {
			if len(list) >= limit {
				return false
			}
			list = append(list, ino)
		}
		return true
	})
	return list, err
}

// VolatileCommits reports whether any commit waits for a Stable op, and the lowest index of one.
func (v *Image) VolatileCommits() (lowest uint64, any bool, err error) {
	err = v.r.Scan(prefix('v'), nil, func(k, _ []byte) bool {
		lowest, any = number(k, 2), true
		return false
	})
	return lowest, any, err
}

// FreedAt is spans that one log entry freed on a peer.
type FreedAt struct {
	Index uint64
	Spans []blockstore.Span
}

// FreedFor returns what was freed on a peer after an index and is not confirmed yet, by rising index, and stops once it
// has limit spans or more: whole entries only. Several elements may have one index.
func (v *Image) FreedFor(peer cluster.PeerID, after uint64, limit int) (list []FreedAt, err error) {
	var failed error
	n := 0
	err = v.r.Scan(freedOf(peer), freedKey(peer, after+1, 0, 0), func(k, b []byte) bool {
		index := number(k, 22)
		if n >= limit && list[len(list)-1].Index != index {
			return false
		}
		var spans []blockstore.Span
		spans, failed = decodeSpans(b)
		list = append(list, FreedAt{Index: index, Spans: spans})
		n += len(spans)
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return list, err
}

// Place is a place in the walk over all extents: the zero value is its start.
type Place struct {
	Ino Ino
	End int64 // of the last extent seen
}

// Short is an extent that lies below its target.
type Short struct {
	Ino    Ino
	Extent extent.Extent
	Target int // replicas wanted
	Have   int // replicas on members that are not lost
}

// Repairs looks at up to examine extents after place and returns those below their target, and where to go on;
// done says that there are no more. Usage.BelowExtents says whether looking is worth it.
func (v *Image) Repairs(after Place, examine int) (below []Short, next Place, done bool, err error) {
	members, err := readMembers(v.r)
	if err != nil {
		return nil, after, false, err
	}
	next, done = after, true
	var list []short
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
		h := bucket{copies: rec.copies, peers: rec.Layout.Peers}
		if have, want := h.state(members); have < want {
			list = append(list, short{Short{Ino: next.Ino, Extent: rec.Extent, Target: want, Have: have}, rec})
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, after, false, err
	}
	below, err = v.living(list)
	return below, next, done, err
}

// living drops what a truncation has doomed: it goes without being repaired.
func (v *Image) living(list []short) (kept []Short, err error) {
	var n Inode
	var cs cuts
	for _, s := range list {
		if s.Ino != n.Ino {
			if n, err = v.Stat(s.Ino); err != nil {
				return nil, err
			}
			if cs, err = loadCuts(v.r, &n); err != nil {
				return nil, err
			}
		}
		if !cs.doomed(s.rec) {
			kept = append(kept, s.Short)
		}
	}
	return kept, nil
}

// short is a Short with its whole record.
type short struct {
	Short
	rec record
}
