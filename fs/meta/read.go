package meta

import (
	"strings"

	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/net/wire"
)

// reader is what questions need of the map; views and ops ask them alike.
type reader interface {
	Get(key []byte) ([]byte, bool, error)
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
}

func getInode(r reader, ino Ino) (Inode, bool, error) {
	b, ok, err := r.Get(inodeKey(ino))
	if err != nil || !ok {
		return Inode{}, false, err
	}
	n, err := decodeInode(b)
	return n, err == nil, err
}

// checkName refuses what no entry may be called.
func checkName(name string) error {
	switch {
	case len(name) > NameMax:
		return fault.New("name", fault.NameTooLong, "%d bytes", len(name))
	case name == "" || name == "." || name == "..":
		return fault.New("name", fault.Invalid, "%q", name)
	case strings.ContainsAny(name, "/\x00"):
		return fault.New("name", fault.Invalid, "%q has a slash or a zero byte", name)
	}
	return nil
}

// dent is one stored directory entry. ino 0 marks one that went and left its place for others of its hash.
type dent struct {
	at   Cursor
	name string
	ino  Ino
	typ  Type
}

func (e dent) encode() []byte {
	if e.ino == 0 {
		return nil
	}
	return append(wire.AppendUint([]byte{byte(e.typ)}, uint64(e.ino)), e.name...)
}

func decodeDent(at Cursor, b []byte) (dent, error) {
	if len(b) == 0 {
		return dent{at: at}, nil
	}
	d := wire.NewReader(b)
	e := dent{at: at, typ: Type(d.Byte()), ino: Ino(d.Uint()), name: string(d.Rest())}
	return e, corrupt("dentry", d.Err())
}

// findDent returns the entry called name of a directory, or the place where it would go, which may be beyond the last one.
func findDent(r reader, dir *Inode, name string) (e dent, ok bool, err error) {
	free := Cursor(0)
	for at := firstCursor(dir.folded, name); ; at++ {
		b, there, err := r.Get(dentKey(dir.Ino, at))
		if err != nil {
			return dent{}, false, err
		}
		if !there {
			if free == 0 {
				free = at
			}
			return dent{at: free, name: name}, false, nil
		}
		if e, err = decodeDent(at, b); err != nil {
			return dent{}, false, err
		}
		if e.ino == 0 && free == 0 {
			free = at
		}
		if e.ino != 0 && e.name == name {
			return e, true, nil
		}
		if at&0xff == 0xff { // 256 names of one 54-bit hash are no accident
			if free != 0 {
				return dent{at: free, name: name}, false, nil
			}
			return dent{}, false, fault.New("name", fault.NoSpace, "%q: its hash is taken", name)
		}
	}
}

// findFolded returns the entry of a directory that is called like name if case does not matter: name itself rather than others, of
// others the first.
func findFolded(r reader, dir *Inode, name string) (e dent, ok bool, err error) {
	if e, ok, err = findDent(r, dir, name); ok || err != nil {
		return e, ok, err
	}
	fold := Fold(name)
	from, to := variants(name)
	if !dir.folded { // older than folds: its names lie anywhere
		from, to = 0, Cursor(1)<<62
	}
	var failed error
	err = r.Scan(dirPrefix(dir.Ino), dentKey(dir.Ino, from), func(k, b []byte) bool {
		at := Cursor(number(k, 10))
		if at >= to {
			return false
		}
		e, failed = decodeDent(at, b)
		ok = failed == nil && e.ino != 0 && Fold(e.name) == fold
		return !ok && failed == nil
	})
	if err == nil {
		err = failed
	}
	return e, ok, err
}

// record is an extent of a file as it is stored.
type record struct {
	extent.Extent
	gen    uint64 // of truncation, when it was written
	copies uint8  // the wish it was written under; 0 auto
	shared bool   // its blocks are counted, and others may name them (share.go)
}

// sharedBit stands beside the copies of a shared record.
const sharedBit = 1 << 8

func (rec record) encode() []byte {
	copies := uint64(rec.copies)
	if rec.shared {
		copies |= sharedBit
	}
	b := appendUints(nil, rec.gen, copies, uint64(rec.Tail))
	return rec.Layout.Append(appendSpan(b, rec.Span))
}

func decodeRecord(end int64, b []byte) (record, error) {
	d := wire.NewReader(b)
	rec := record{gen: d.Uint()}
	copies := d.Uint()
	rec.copies, rec.shared = uint8(copies), copies&sharedBit != 0
	rec.Tail = uint16(d.Uint())
	rec.Span = readSpan(d)
	rec.Layout = placement.ReadLayout(d)
	rec.Off = end - rec.Span.Bytes()
	return rec, corrupt("extent", d.Done())
}

// scanRecords calls fn for the records of ino that end after off, in order, until it returns false. Those that a
// truncation has doomed are among them.
func scanRecords(r reader, ino Ino, off int64, fn func(record) bool) error {
	var failed error
	err := r.Scan(extentsOf(ino), extentKey(ino, off+1), func(k, v []byte) bool {
		var rec record
		rec, failed = decodeRecord(int64(number(k, 10)), v)
		return failed == nil && fn(rec)
	})
	if err == nil {
		err = failed
	}
	return err
}

// cut is a truncation not all of whose extents are dropped: older records from from on are doomed, and no longer
// part of the file.
type cut struct {
	gen  uint64
	from int64
}

type cuts []cut

func (cs cuts) doomed(rec record) bool {
	for _, c := range cs {
		if rec.gen < c.gen && rec.Off >= c.from {
			return true
		}
	}
	return false
}

// loadCuts returns the file's unfinished truncations, oldest first.
func loadCuts(r reader, n *Inode) (cs cuts, err error) {
	if n.cuts == 0 {
		return nil, nil
	}
	var failed error
	err = r.Scan(cutsOf(n.Ino), cutKey(n.Ino, 1), func(k, v []byte) bool {
		d := wire.NewReader(v)
		cs = append(cs, cut{gen: number(k, 10), from: d.Int()})
		failed = corrupt("truncation", d.Done())
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return cs, err
}
