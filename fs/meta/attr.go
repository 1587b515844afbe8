package meta

import (
	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

func (a *apply) setAttr(op SetAttr) error {
	n, err := a.file(op.Ino)
	if err != nil {
		return err
	}
	a.subject = n
	if op.Mask&SetSize != 0 {
		if err := a.setSize(n, op); err != nil {
			return err
		}
	}
	return a.attrs(n, op)
}

// attrs sets what op's mask names, the size excepted.
func (a *apply) attrs(n *node, op SetAttr) error {
	if op.Mask&(SetUID|SetGID) != 0 && n.Type != Dir {
		n.Mode &^= setuid
		if n.Mode&groupX != 0 {
			n.Mode &^= setgid
		}
	}
	if op.Mask&SetMode != 0 {
		n.Mode = op.Mode & modeBits
	}
	if op.Mask&SetUID != 0 {
		n.UID = op.UID
	}
	if op.Mask&SetGID != 0 {
		n.GID = op.GID
	}
	if op.Mask&SetAtime != 0 {
		n.Atime = op.Atime
	}
	if op.Mask&SetMtime != 0 {
		n.Mtime = op.Mtime
	}
	if op.Mask&SetWish != 0 {
		n.Wish = op.Wish
	}
	if op.Mask&SetFlags != 0 {
		n.Flags = op.Flags
	}
	if op.Mask&SetBtime != 0 {
		n.Btime = op.Btime
	}
	n.Ctime = op.Time
	if op.Mask&SetCtime != 0 {
		n.Ctime = op.Ctime
	}
	a.touch(n)
	if op.Mask&(SetUID|SetGID|SetSize) != 0 {
		if err := a.dropCapability(n); err != nil {
			return err
		}
	}
	if op.Mask&SetMode != 0 {
		return a.followMode(n)
	}
	return nil
}

func (a *apply) accessed(op Accessed) error {
	if len(op.Inos) > ListMax || len(op.Times) != len(op.Inos) {
		return fault.New("accessed", fault.Invalid, "%d inodes, %d times", len(op.Inos), len(op.Times))
	}
	for i, ino := range op.Inos {
		n, err := a.node(ino)
		if err != nil {
			return err
		}
		if n == nil || n.Atime >= op.Times[i] || n.Grant != 0 && n.Grant != a.c.Session {
			continue
		}
		n.Atime = op.Times[i]
		a.touch(n)
	}
	return nil
}

func (a *apply) setSize(n *node, op SetAttr) error {
	switch {
	case n.Type == Dir:
		return fault.New("set size", fault.IsDir, "inode %d", n.Ino)
	case n.Type != File || op.Size < 0:
		return fault.New("set size", fault.Invalid, "%d", op.Size)
	case op.Size > SizeMax:
		return fault.New("set size", fault.TooBig, "%d", op.Size)
	}
	n.Mtime = op.Time
	if op.Size == n.Size {
		return nil
	}
	if op.Size < n.Size {
		if _, err := a.cut(n, op.Size, DropMax); err != nil {
			return err
		}
	}
	n.Size = op.Size
	a.wrote(n, false)
	return nil
}

// wrote notes that n's bytes changed. Past says that they went past the writer's own page cache.
func (a *apply) wrote(n *node, past bool) {
	a.ch.Data = append(a.ch.Data, Data{Ino: n.Ino, Merged: past || n.Writer != 0 && n.Writer != a.c.Session})
	n.Written, n.Writer = a.c.Index, a.c.Session
}

// cut drops the records of n from size on, at most limit of them; the rest is doomed, and left to Trim.
func (a *apply) cut(n *node, size int64, limit int) (dropped int, err error) {
	old, err := loadCuts(a.tx, &n.Inode)
	if err != nil {
		return 0, err
	}
	n.TruncGen++
	n.dirty = true
	var drop []record
	more := false
	err = scanRecords(a.tx, n.Ino, size, func(rec record) bool {
		if more = len(drop) >= limit; more {
			return false
		}
		drop = append(drop, rec)
		return true
	})
	if err != nil {
		return 0, err
	}
	for _, rec := range drop {
		take := a.dropRecord
		if old.doomed(rec) {
			take = a.dropDoomed
		}
		if err := take(n, rec); err != nil {
			return 0, err
		}
		gone := rec
		if left, ok := rec.Clip(rec.Off, size); ok && rec.Off < size && !old.doomed(rec) {
			if rest := uint16(size % blockstore.Size); rest != 0 && (left.Tail == 0 || left.Tail > rest) {
				left.Tail = rest
			}
			if err := a.addRecord(n, rec.piece(left)); err != nil {
				return 0, err
			}
			rest, ok := rec.Clip(left.End(), rec.End())
			if !ok {
				continue
			}
			gone = rec.piece(rest)
		}
		if err := a.letGo(gone.freed()); err != nil {
			return 0, err
		}
	}
	c := cut{gen: n.TruncGen, from: ceilBlock(size)}
	if more {
		if err := a.doom(n, old, c); err != nil {
			return 0, err
		}
	}
	return len(drop), a.putCuts(n, old, c, more)
}

// doomLook is how many records a truncation counts that it does not drop. It is part of the format.
const doomLook = 8 * DropMax

// doom takes the blocks that c dooms out of n's count: it counts them, or, where they are too many, those that stay. Where both are, in a
// file of very many pieces cut in its middle, what is left to Trim counts until that has dropped it.
func (a *apply) doom(n *node, old cuts, c cut) error {
	all := n.Blocks + n.doomed
	sum := func(from, to int64, ok func(record) bool) (blocks uint64, whole bool, err error) {
		look := doomLook
		err = scanRecords(a.tx, n.Ino, from, func(rec record) bool {
			if rec.Off >= to {
				return false
			}
			if look--; look >= 0 && ok(rec) {
				blocks += uint64(rec.Span.Count)
			}
			return look >= 0
		})
		return blocks, look >= 0, err
	}
	stay, whole, err := sum(0, c.from, func(rec record) bool { return !old.doomed(rec) })
	if err != nil {
		return err
	}
	if whole {
		n.Blocks, n.doomed = stay, all-stay
		return nil
	}
	gone, whole, err := sum(c.from, SizeMax, func(rec record) bool { return !old.doomed(rec) })
	if err == nil && whole {
		n.Blocks, n.doomed = n.Blocks-gone, n.doomed+gone
	}
	return err
}

// putCuts stores c in place of those it covers, if anything is left for it to doom.
func (a *apply) putCuts(n *node, old cuts, c cut, more bool) error {
	for _, o := range old {
		if o.from < c.from {
			continue
		}
		if err := a.tx.Delete(cutKey(n.Ino, o.gen)); err != nil {
			return err
		}
		n.cuts--
	}
	if len(old) > 0 && (n.cuts == 0 || more) {
		if err := a.tx.Delete(cutKey(n.Ino, 0)); err != nil { // Trim starts over
			return err
		}
	}
	if !more {
		return nil
	}
	if n.cuts >= CutsMax {
		return fault.New("set size", fault.Busy, "inode %d: %d truncations wait", n.Ino, n.cuts)
	}
	n.cuts++
	return a.tx.Set(cutKey(n.Ino, c.gen), wire.AppendInt(nil, c.from))
}

func ceilBlock(off int64) int64 { return (off + blockstore.Size - 1) &^ (blockstore.Size - 1) }
