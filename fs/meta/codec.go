package meta

import (
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/net/wire"

	"dfs/blockstore"
)

// The encodings of what is stored and what travels. Stored values begin with a format number where they may grow.
const inodeFormat = 1

func appendInode(b []byte, n Inode) []byte {
	b = append(b, inodeFormat, byte(n.Type))
	for _, v := range [...]uint64{uint64(n.Ino), uint64(n.Mode), uint64(n.UID), uint64(n.GID), uint64(n.Nlink), n.Blocks, uint64(n.Rdev),
		n.TruncGen, n.Changed, n.Written, n.Writer, n.Grant, uint64(n.Parent), uint64(n.cuts)} {
		b = wire.AppendUint(b, v)
	}
	for _, v := range [...]int64{n.Size, int64(n.Atime), int64(n.Mtime), int64(n.Ctime), int64(n.Btime)} {
		b = wire.AppendInt(b, v)
	}
	b = n.Wish.Append(wire.AppendString(b, n.Target))
	if n.Xattrs > 0 {
		b = appendUints(append(b, fieldXattrs, byte(n.Special)), uint64(n.Xattrs), uint64(n.xbytes))
	}
	if n.Flags != 0 {
		b = append(b, fieldFlags, byte(n.Flags))
	}
	if n.folded {
		b = append(b, fieldFolded)
	}
	if n.doomed > 0 {
		b = wire.AppendUint(append(b, fieldDoomed), n.doomed)
	}
	return b
}

// What came later stands behind an inode's first fields, where it is not zero, each behind its number, in their order.
const (
	fieldXattrs = 1
	fieldFlags  = 2
	fieldFolded = 3
	fieldDoomed = 4
)

// readFields reads up to the end of d.
func (n *Inode) readFields(d *wire.Reader) error {
	last := byte(0)
	for d.Err() == nil && d.Len() > 0 {
		f := d.Byte()
		switch {
		case f <= last:
			return fault.New("decode inode", fault.Invalid, "field %d after %d", f, last)
		case f == fieldXattrs:
			n.Special, n.Xattrs, n.xbytes = Special(d.Byte()), d.Uint32(), d.Uint32()
		case f == fieldFlags:
			n.Flags = Flags(d.Byte())
		case f == fieldFolded:
			n.folded = true
		case f == fieldDoomed:
			n.doomed = d.Uint()
		default:
			return fault.New("decode inode", fault.Invalid, "field %d", f)
		}
		last = f
	}
	return d.Err()
}

// readInode reads an inode that ends where d does.
func readInode(d *wire.Reader) (Inode, error) {
	if f := d.Byte(); d.Err() == nil && f != inodeFormat {
		return Inode{}, fault.New("decode inode", fault.Invalid, "format %d", f)
	}
	n := Inode{Type: Type(d.Byte()), Ino: Ino(d.Uint()), Mode: d.Uint32(), UID: d.Uint32(), GID: d.Uint32(), Nlink: d.Uint32(),
		Blocks: d.Uint(), Rdev: d.Uint32(), TruncGen: d.Uint(), Changed: d.Uint(), Written: d.Uint(), Writer: d.Uint(),
		Grant: d.Uint(), Parent: Ino(d.Uint()), cuts: uint8(d.Uint())}
	n.Size, n.Atime, n.Mtime, n.Ctime, n.Btime = d.Int(), Time(d.Int()), Time(d.Int()), Time(d.Int()), Time(d.Int())
	n.Target = d.String(TargetMax)
	var err error
	if n.Wish, err = placement.ReadWish(d); err == nil {
		err = n.readFields(d)
	}
	return n, err
}

func decodeInode(b []byte) (Inode, error) {
	d := wire.NewReader(b)
	n, err := readInode(d)
	if err == nil {
		err = d.Done()
	}
	return n, corrupt("inode", err)
}

func appendSpan(b []byte, s blockstore.Span) []byte {
	b = append(b, s.Extent[:]...)
	return wire.AppendUint(wire.AppendUint(b, uint64(s.First)), uint64(s.Count))
}

func readSpan(d *wire.Reader) blockstore.Span {
	return blockstore.Span{Extent: blockstore.ID(d.Fixed(16)), First: d.Uint32(), Count: d.Uint32()}
}

// appendExtents writes a list whose neighbours are alike: offsets relative to the end of the one before, a layout
// only where it differs from it. A block's own extent takes some 21 bytes.
func appendExtents(b []byte, list []extent.Extent) []byte {
	b = wire.AppendUint(b, uint64(len(list)))
	var last extent.Extent
	for i, e := range list {
		same := i > 0 && sameLayout(e.Layout, last.Layout)
		b = wire.AppendBool(b, same)
		b = wire.AppendInt(b, e.Off-last.End())
		b = appendSpan(b, e.Span)
		b = wire.AppendUint(b, uint64(e.Tail))
		if !same {
			b = e.Layout.Append(b)
		}
		last = e
	}
	return b
}

func readExtents(d *wire.Reader) []extent.Extent {
	var list []extent.Extent
	var last extent.Extent
	for range d.Count(CommitExtents) {
		same := d.Bool()
		e := extent.Extent{Off: last.End() + d.Int(), Span: readSpan(d), Tail: uint16(min(d.Uint(), 1<<16-1)), Layout: last.Layout}
		if !same {
			e.Layout = placement.ReadLayout(d)
		}
		if d.Err() != nil {
			return nil
		}
		list = append(list, e)
		last = e
	}
	return list
}

func sameLayout(a, b placement.Layout) bool {
	if a.Data != b.Data || a.Parity != b.Parity || len(a.Peers) != len(b.Peers) {
		return false
	}
	for i := range a.Peers {
		if a.Peers[i] != b.Peers[i] {
			return false
		}
	}
	return true
}

func appendPeers(b []byte, ps []cluster.PeerID) []byte {
	b = wire.AppendUint(b, uint64(len(ps)))
	for _, p := range ps {
		b = append(b, p[:]...)
	}
	return b
}

func readPeers(d *wire.Reader, limit int) []cluster.PeerID {
	var ps []cluster.PeerID
	for range d.Count(limit) {
		ps = append(ps, cluster.PeerID(d.Fixed(20)))
	}
	return ps
}

func appendInos(b []byte, inos []Ino) []byte {
	b = wire.AppendUint(b, uint64(len(inos)))
	for _, i := range inos {
		b = wire.AppendUint(b, uint64(i))
	}
	return b
}

func readInos(d *wire.Reader) []Ino {
	var inos []Ino
	for range d.Count(ListMax) {
		inos = append(inos, Ino(d.Uint()))
	}
	return inos
}

// corrupt marks a stored value that does not decode.
func corrupt(what string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Because("meta read "+what, fault.Corrupt, err)
}
