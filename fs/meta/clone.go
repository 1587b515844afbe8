package meta

import (
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Clone makes [DstOff, DstOff+N) of Dst what [SrcOff, SrcOff+N) of Src is, by naming the same blocks: no byte moves. Offsets are at
// block borders. N may end within a block where Dst does not reach beyond it. Holes become holes; Dst grows to the larger of what it is and the
// end. Promises are as a write's into Dst: so both files' layouts must be the same (fault.Unsupported), and Dst is volatile as long as Src is.
// Both may be one file; then the ranges are apart.
//
// fault.Stale, IsDir; Invalid: no files, or no such ranges. Conflict: Src ends before the range does, or Dst reaches beyond an end within a
// block. TooBig: more than CloneMax records of Src, or of Dst, lie in the range; clone it in parts. TooManyLinks: a block has as
// many records as can be counted.
type Clone struct {
	Src, Dst       Ino
	SrcOff, DstOff int64
	N              int64
	Mtime          Time // strictly increases, as with a Commit; 0 leaves it
	Time           Time
}

// CloneMax is how many records of either file one Clone touches. It is part of the format.
const CloneMax = DropMax

func (Clone) op() byte { return 23 }

func (o Clone) append(b []byte) []byte {
	return appendInts(appendUints(b, uint64(o.Src), uint64(o.Dst)), o.SrcOff, o.DstOff, o.N, int64(o.Mtime), int64(o.Time))
}

func readClone(d *wire.Reader) Clone {
	return Clone{Src: Ino(d.Uint()), Dst: Ino(d.Uint()), SrcOff: d.Int(), DstOff: d.Int(), N: d.Int(), Mtime: Time(d.Int()), Time: Time(d.Int())}
}

func (a *apply) clone(op Clone) error {
	src, err := a.file(op.Src)
	if err != nil {
		return err
	}
	dst, err := a.file(op.Dst)
	if err != nil {
		return err
	}
	a.subject = dst
	if err := checkClone(src, dst, op); err != nil {
		return err
	}
	copies, err := a.pieces(src, dst, op)
	if err != nil {
		return err
	}
	replaced, err := a.makeRoom(dst, op.DstOff, op.DstOff+ceilBlock(op.N))
	if err != nil {
		return err
	}
	for _, rec := range copies {
		if err := a.hold(rec.Span, rec.Layout.Peers); err != nil {
			return err
		}
		if err := a.addRecord(dst, rec); err != nil {
			return err
		}
		a.ch.Added = append(a.ch.Added, rec.Extent)
	}
	if err := a.retireClone(src, dst, copies, replaced); err != nil {
		return err
	}
	dst.Size = max(dst.Size, op.DstOff+op.N)
	a.wrote(dst, false)
	a.dated(dst, op.Mtime, op.Time)
	return nil
}

func checkClone(src, dst *node, op Clone) error {
	if err := checkRange("clone", src, op.SrcOff, op.N); err != nil {
		return err
	}
	if err := checkRange("clone", dst, op.DstOff, op.N); err != nil {
		return err
	}
	apart := op.SrcOff - op.DstOff
	switch {
	case src == dst && max(apart, -apart) < ceilBlock(op.N):
		return fault.New("clone", fault.Invalid, "the ranges of inode %d overlap", src.Ino)
	case op.SrcOff+op.N > src.Size:
		return fault.New("clone", fault.Conflict, "inode %d ends at %d", src.Ino, src.Size)
	case op.N%blockstore.Size != 0 && dst.Size > op.DstOff+op.N:
		return fault.New("clone", fault.Conflict, "inode %d goes on behind %d", dst.Ino, op.DstOff+op.N)
	case !SameLayout(src.Inode, dst.Inode):
		return fault.New("clone", fault.Unsupported, "inodes %d and %d have other layouts", src.Ino, dst.Ino)
	}
	return nil
}

// SameLayout reports whether what is written to both files is promised the same, so that they may share blocks.
func SameLayout(a, b Inode) bool {
	x, y := a.Wish, b.Wish
	x.CommitClose, y.CommitClose = false, false // how a close waits concerns no block
	return x == y
}

// pieces counts src's records in the range as shared, and returns what dst is to have of them.
func (a *apply) pieces(src, dst *node, op Clone) (copies []record, err error) {
	cs, err := loadCuts(a.tx, &src.Inode)
	if err != nil {
		return nil, err
	}
	end := op.SrcOff + op.N
	list, more, err := a.firstOverlapping(src, op.SrcOff, end, CloneMax)
	if err == nil && more {
		err = fault.New("clone", fault.TooBig, "inode %d has more than %d records there", src.Ino, CloneMax)
	}
	for _, rec := range list {
		if err != nil {
			return nil, err
		}
		if cs.doomed(rec) {
			continue
		}
		if err = a.markShared(src, &rec); err != nil {
			return nil, err
		}
		c, _ := rec.Clip(op.SrcOff, end)
		if rest := uint16(end % blockstore.Size); rest != 0 && c.End() > end && (c.Tail == 0 || c.Tail > rest) {
			c.Tail = rest
		}
		c.Off += op.DstOff - op.SrcOff
		copies = append(copies, record{Extent: c, gen: dst.TruncGen, copies: dst.Wish.Copies, shared: true})
	}
	return copies, err
}

// markShared has rec counted from now on.
func (a *apply) markShared(n *node, rec *record) error {
	if rec.shared {
		return nil
	}
	rec.shared = true
	if err := a.hold(rec.Span, rec.Layout.Peers); err != nil {
		return err
	}
	return a.tx.Set(extentKey(n.Ino, rec.End()), rec.encode())
}

// makeRoom takes [from, to) out of n's map and returns what was there.
func (a *apply) makeRoom(n *node, from, to int64) ([]Freed, error) {
	cs, err := loadCuts(a.tx, &n.Inode)
	if err != nil {
		return nil, err
	}
	under, more, err := a.firstOverlapping(n, from, to, CloneMax)
	if err == nil && more {
		err = fault.New("clone", fault.TooBig, "inode %d has more than %d records there", n.Ino, CloneMax)
	}
	if err != nil {
		return nil, err
	}
	return a.carve(n, cs, under, from, to)
}

// retireClone frees what was replaced, or lets it wait with the blocks that src still waits for.
func (a *apply) retireClone(src, dst *node, copies []record, replaced []Freed) error {
	waits := false
	if len(copies) > 0 {
		err := a.tx.Scan(volatilesOf(src.Ino), nil, func(_, _ []byte) bool {
			waits = true
			return false
		})
		if err != nil {
			return err
		}
	}
	if !waits {
		return a.letAllGo(replaced)
	}
	var peers []cluster.PeerID
	for _, rec := range copies {
		for _, p := range rec.Layout.Peers {
			if !slices.Contains(peers, p) {
				peers = append(peers, p)
			}
		}
	}
	return a.putVolatile(dst.Ino, sortPeers(peers), replaced)
}
