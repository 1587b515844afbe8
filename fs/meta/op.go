package meta

import (
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/cluster/state"
	"dfs/net/wire"
)

// Encode returns the body of op's proposal: the part's tag, the op's number, its fields.
func Encode(op Op) []byte { return op.append([]byte{tag, op.op()}) }

// Decode is the inverse of Encode. It checks what can be checked without the state. fault.Invalid.
func Decode(body []byte) (Op, error) {
	if len(body) == 0 || body[0] != tag {
		return nil, fault.New("decode op", fault.Invalid, "no metadata op")
	}
	return decodeOp(body[1:])
}

// ResultOf decodes what applying a proposal answered: the op's result, or its error with its kind.
func ResultOf(raw []byte) (Result, error) {
	b, err := state.DecodeResult(raw)
	if err != nil {
		return Result{}, err
	}
	d := wire.NewReader(b)
	r := Result{Index: d.Uint(), More: d.Bool()}
	if d.Bool() {
		if r.Inode, err = readInode(d); err != nil {
			return Result{}, err
		}
	}
	return r, d.Done()
}

func appendResult(b []byte, r Result) []byte {
	b = wire.AppendBool(wire.AppendUint(b, r.Index), r.More)
	if r.Inode.Ino == 0 {
		return append(b, 0)
	}
	return appendInode(append(b, 1), r.Inode)
}

func (Create) op() byte   { return 1 }
func (Link) op() byte     { return 2 }
func (Unlink) op() byte   { return 3 }
func (Rmdir) op() byte    { return 4 }
func (Rename) op() byte   { return 5 }
func (SetAttr) op() byte  { return 6 }
func (Commit) op() byte   { return 7 }
func (EndGrant) op() byte { return 8 }
func (Reap) op() byte     { return 9 }
func (Trim) op() byte     { return 10 }
func (Stable) op() byte   { return 11 }
func (Replace) op() byte  { return 12 }
func (Confirm) op() byte  { return 13 }
func (Format) op() byte   { return 14 }
func (Reserve) op() byte  { return 15 }
func (Batch) op() byte    { return 16 }

func (Accessed) op() byte { return 24 }

func (SetXattr) op() byte    { return 20 }
func (RemoveXattr) op() byte { return 21 }

// nameLimit lets names that are too long arrive, so that they are answered with their own kind.
const nameLimit = 4 * NameMax

func decodeOp(b []byte) (Op, error) {
	d := wire.NewReader(b)
	var op Op
	var err error
	switch n := d.Byte(); n {
	case 1:
		op = Create{Dir: Ino(d.Uint()), Name: d.String(nameLimit), Type: Type(d.Byte()), Mode: d.Uint32(), UID: d.Uint32(), GID: d.Uint32(),
			Rdev: d.Uint32(), Target: d.String(2 * TargetMax), Time: Time(d.Int()), Grant: d.Bool(), Ino: expected(d), Umask: uint32(expected(d))}
	case 2:
		op = Link{Ino: Ino(d.Uint()), Dir: Ino(d.Uint()), Name: d.String(nameLimit), Time: Time(d.Int())}
	case 3:
		op = Unlink{Dir: Ino(d.Uint()), Name: d.String(nameLimit), Time: Time(d.Int()), Ino: expected(d)}
	case 4:
		op = Rmdir{Dir: Ino(d.Uint()), Name: d.String(nameLimit), Time: Time(d.Int()), Ino: expected(d)}
	case 5:
		op = Rename{OldDir: Ino(d.Uint()), OldName: d.String(nameLimit), NewDir: Ino(d.Uint()), NewName: d.String(nameLimit),
			Flags: d.Uint32(), Time: Time(d.Int()), Ino: expected(d), Over: expected(d)}
	case 6:
		op, err = readSetAttr(d)
	case 7:
		op, err = readCommit(d)
	case 8:
		op = EndGrant{Session: d.Uint(), Inos: readInos(d)}
	case 9:
		op = Reap{Inos: readInos(d)}
	case 10:
		op = Trim{Ino: Ino(d.Uint())}
	case 11:
		op = readStable(d)
	case 12:
		op = Replace{Ino: Ino(d.Uint()), Old: readExtents(d), New: readExtents(d)}
	case 13:
		op = Confirm{Peer: cluster.PeerID(d.Fixed(20)), Index: d.Uint()}
	case 14:
		op = Format{Mode: d.Uint32(), UID: d.Uint32(), GID: d.Uint32(), Time: Time(d.Int())}
	case 15:
		op = Reserve{Count: d.Uint()}
	case 16:
		op, err = readBatch(d)
	case 17:
		op, err = readLock(d)
	case 18:
		op = readUnlock(d)
	case 19:
		op = EndLocks{Session: d.Uint()}
	case 24:
		op, err = readAccessed(d)
	case 20:
		op = SetXattr{Ino: Ino(d.Uint()), Name: d.String(nameLimit), Value: d.Bytes(2 * XattrValueMax), Flags: d.Uint32(),
			KillSetgid: d.Bool(), Time: Time(d.Int())}
	case 21:
		op = RemoveXattr{Ino: Ino(d.Uint()), Name: d.String(nameLimit), Time: Time(d.Int())}
	case 22:
		op = readPunch(d)
	case 23:
		op = readClone(d)
	default:
		return nil, fault.New("decode op", fault.Invalid, "op %d is unknown", n)
	}
	if err == nil {
		err = d.Done()
	}
	if err != nil {
		return nil, err
	}
	return op, nil
}

func (o Create) append(b []byte) []byte {
	b = append(wire.AppendString(wire.AppendUint(b, uint64(o.Dir)), o.Name), byte(o.Type))
	b = appendUints(b, uint64(o.Mode), uint64(o.UID), uint64(o.GID), uint64(o.Rdev))
	b = wire.AppendInt(wire.AppendString(b, o.Target), int64(o.Time))
	b = wire.AppendBool(b, o.Grant)
	if o.Umask != 0 {
		return appendUints(b, uint64(o.Ino), uint64(o.Umask))
	}
	return appendExpected(b, o.Ino)
}

func (o Link) append(b []byte) []byte {
	b = wire.AppendString(appendUints(b, uint64(o.Ino), uint64(o.Dir)), o.Name)
	return wire.AppendInt(b, int64(o.Time))
}

func (o Unlink) append(b []byte) []byte {
	b = wire.AppendInt(wire.AppendString(wire.AppendUint(b, uint64(o.Dir)), o.Name), int64(o.Time))
	return appendExpected(b, o.Ino)
}

func (o Rmdir) append(b []byte) []byte { return Unlink(o).append(b) }

func (o Rename) append(b []byte) []byte {
	b = wire.AppendString(wire.AppendUint(b, uint64(o.OldDir)), o.OldName)
	b = wire.AppendString(wire.AppendUint(b, uint64(o.NewDir)), o.NewName)
	b = wire.AppendInt(wire.AppendUint(b, uint64(o.Flags)), int64(o.Time))
	if o.Over != 0 {
		return appendUints(b, uint64(o.Ino), uint64(o.Over))
	}
	return appendExpected(b, o.Ino)
}

func (o Accessed) append(b []byte) []byte {
	b = appendInos(b, o.Inos)
	for _, t := range o.Times {
		b = wire.AppendInt(b, int64(t))
	}
	return b
}

func readAccessed(d *wire.Reader) (Accessed, error) {
	o := Accessed{Inos: readInos(d)}
	for range o.Inos {
		o.Times = append(o.Times, Time(d.Int()))
	}
	return o, d.Err()
}

func (o SetAttr) append(b []byte) []byte {
	b = appendUints(b, uint64(o.Ino), uint64(o.Mask), uint64(o.Mode), uint64(o.UID), uint64(o.GID))
	b = appendInts(b, o.Size, int64(o.Atime), int64(o.Mtime), int64(o.Ctime), int64(o.Time))
	b = o.Wish.Append(b)
	if o.Mask&SetFlags != 0 {
		b = append(b, byte(o.Flags))
	}
	if o.Mask&SetBtime != 0 {
		b = wire.AppendInt(b, int64(o.Btime))
	}
	return b
}

func readSetAttr(d *wire.Reader) (SetAttr, error) {
	o := SetAttr{Ino: Ino(d.Uint()), Mask: d.Uint32(), Mode: d.Uint32(), UID: d.Uint32(), GID: d.Uint32(), Size: d.Int(),
		Atime: Time(d.Int()), Mtime: Time(d.Int()), Ctime: Time(d.Int()), Time: Time(d.Int())}
	var err error
	o.Wish, err = placement.ReadWish(d)
	if o.Mask&SetFlags != 0 {
		o.Flags = Flags(d.Byte())
	}
	if o.Mask&SetBtime != 0 {
		o.Btime = Time(d.Int())
	}
	return o, err
}

func (o Commit) append(b []byte) []byte {
	b = appendUints(b, uint64(o.Ino), o.TruncGen, uint64(len(o.Edges)))
	for _, e := range o.Edges {
		b = appendSpan(wire.AppendInt(b, e.Off), e.Span)
	}
	b = appendExtents(b, o.Extents)
	b = appendInts(b, o.End, o.AppendAt, int64(o.Mtime), int64(o.Time))
	b = wire.AppendBool(wire.AppendBool(wire.AppendBool(b, o.Append), o.EndGrant), o.Synced)
	if o.Attrs.Mask == 0 {
		return append(b, 0)
	}
	return o.Attrs.append(append(b, 1))
}

func readCommit(d *wire.Reader) (o Commit, err error) {
	o = Commit{Ino: Ino(d.Uint()), TruncGen: d.Uint()}
	for range d.Count(2 * CommitExtents) {
		o.Edges = append(o.Edges, Edge{Off: d.Int(), Span: readSpan(d)})
	}
	o.Extents = readExtents(d)
	o.End, o.AppendAt, o.Mtime, o.Time = d.Int(), d.Int(), Time(d.Int()), Time(d.Int())
	o.Append, o.EndGrant, o.Synced = d.Bool(), d.Bool(), d.Bool()
	if d.Bool() {
		o.Attrs, err = readSetAttr(d)
	}
	return o, err
}

func (o EndGrant) append(b []byte) []byte { return appendInos(wire.AppendUint(b, o.Session), o.Inos) }
func (o Reap) append(b []byte) []byte     { return appendInos(b, o.Inos) }
func (o Trim) append(b []byte) []byte     { return wire.AppendUint(b, uint64(o.Ino)) }

func (o Stable) append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(len(o.Marks)))
	for _, m := range o.Marks {
		b = wire.AppendUint(append(b, m.Peer[:]...), m.Index)
	}
	return appendPeers(b, o.Absent)
}

func readStable(d *wire.Reader) (o Stable) {
	for range d.Count(ListMax) {
		o.Marks = append(o.Marks, Mark{Peer: cluster.PeerID(d.Fixed(20)), Index: d.Uint()})
	}
	o.Absent = readPeers(d, ListMax)
	return o
}

func (o Replace) append(b []byte) []byte {
	return appendExtents(appendExtents(wire.AppendUint(b, uint64(o.Ino)), o.Old), o.New)
}

func (o Confirm) append(b []byte) []byte { return wire.AppendUint(append(b, o.Peer[:]...), o.Index) }

func (o Format) append(b []byte) []byte {
	return wire.AppendInt(appendUints(b, uint64(o.Mode), uint64(o.UID), uint64(o.GID)), int64(o.Time))
}

// appendExpected writes an inode number that may be left out: last in its op, so that ops without one look as they always did.
func appendExpected(b []byte, i Ino) []byte {
	if i == 0 {
		return b
	}
	return wire.AppendUint(b, uint64(i))
}

func expected(d *wire.Reader) Ino {
	if d.Err() != nil || d.Len() == 0 {
		return 0
	}
	return Ino(d.Uint())
}

func (o Reserve) append(b []byte) []byte { return wire.AppendUint(b, o.Count) }

func (o Batch) append(b []byte) []byte {
	b = appendUints(b, o.For, o.Upto, uint64(len(o.Ops)))
	for _, op := range o.Ops {
		b = wire.AppendBytes(b, op.append([]byte{op.op()}))
	}
	if !o.Peer.IsZero() {
		b = append(b, o.Peer[:]...)
	}
	return b
}

func readBatch(d *wire.Reader) (o Batch, err error) {
	o.For, o.Upto = d.Uint(), d.Uint()
	for range d.Count(BatchMax) {
		op, err := decodeOp(d.Bytes(batchedMax))
		if err != nil {
			return Batch{}, err
		}
		if !batchable(op) {
			return Batch{}, fault.New("decode op", fault.Invalid, "op %T in a batch", op)
		}
		o.Ops = append(o.Ops, op)
	}
	if d.Err() == nil && d.Len() > 0 {
		o.Peer = cluster.PeerID(d.Fixed(len(o.Peer)))
	}
	return o, nil
}

func (o SetXattr) append(b []byte) []byte {
	b = wire.AppendBytes(wire.AppendString(wire.AppendUint(b, uint64(o.Ino)), o.Name), o.Value)
	return wire.AppendInt(wire.AppendBool(wire.AppendUint(b, uint64(o.Flags)), o.KillSetgid), int64(o.Time))
}

func (o RemoveXattr) append(b []byte) []byte {
	return wire.AppendInt(wire.AppendString(wire.AppendUint(b, uint64(o.Ino)), o.Name), int64(o.Time))
}

func appendUints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = wire.AppendUint(b, v)
	}
	return b
}

func appendInts(b []byte, vs ...int64) []byte {
	for _, v := range vs {
		b = wire.AppendInt(b, v)
	}
	return b
}
