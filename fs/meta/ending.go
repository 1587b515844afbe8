package meta

import (
	"slices"

	"dfs/cluster"
	"dfs/cluster/state"
	"dfs/net/wire"
)

// Bounds of what ending all grants of a session writes at once: it may be part of the entry that ends the session.
const (
	endBytes   = 256 << 10
	inodeBytes = 200 // and its grant, about
)

// endGrant ends grants: those named, or all of a session, as far as one op may.
func (a *apply) endGrant(op EndGrant) (r Result, err error) {
	inos, all := op.Inos, len(op.Inos) == 0
	if all {
		keys, more, err := a.some(grantsOf(op.Session), nil, func([]byte) bool { return true })
		if err != nil {
			return Result{}, err
		}
		for _, k := range keys {
			inos = append(inos, Ino(number(k, 10)))
		}
		r.More = more
	}
	bytes := 0
	for _, ino := range inos {
		n, err := a.node(ino)
		if err != nil {
			return Result{}, err
		}
		if n == nil || n.Grant == 0 || n.Grant != op.Session {
			continue
		}
		if bytes += inodeBytes + len(n.Target); all && bytes > endBytes {
			r.More = true
			break
		}
		if err := a.ungrant(n); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

func (a *apply) ungrant(n *node) error {
	a.ch.Ended = append(a.ch.Ended, n.Ino)
	holder := n.Grant
	n.Grant, n.dirty = 0, true
	return a.tx.Delete(grantKey(holder, n.Ino))
}

// reap drops orphans, as far as one op may.
func (a *apply) reap(op Reap) (r Result, err error) {
	left := DropMax
	for _, ino := range op.Inos {
		n, err := a.node(ino)
		if err != nil {
			return Result{}, err
		}
		if n == nil || n.Nlink > 0 || n.Type == File && n.Parent != 0 && n.Grant != 0 {
			continue // the last: whoever made it may not have had time to say that it holds it
		}
		if left <= 0 {
			return Result{More: true}, nil
		}
		dropped, err := a.empty(n, left)
		if err != nil {
			return Result{}, err
		}
		left -= dropped
		if n.Xattrs > 0 && left > 0 {
			if dropped, err = a.dropXattrs(n, left); err != nil {
				return Result{}, err
			}
			left -= dropped
		}
		if n.Blocks+n.doomed > 0 || n.Xattrs > 0 {
			r.More = true
			continue
		}
		if err := a.remove(n); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// empty drops up to limit records of an orphan and returns how many it did. What was not dropped is doomed.
func (a *apply) empty(n *node, limit int) (int, error) {
	if n.Blocks+n.doomed == 0 {
		return 0, nil
	}
	dropped, err := a.cut(n, 0, limit)
	n.Size = 0
	a.wrote(n, false)
	a.touch(n)
	return dropped, err
}

// remove ends an inode that holds nothing any more.
func (a *apply) remove(n *node) error {
	keys, _, err := a.some(cutsOf(n.Ino), nil, func([]byte) bool { return true })
	if err := a.deleteAll(append(keys, orphanKey(n.Ino)), err); err != nil {
		return err
	}
	if n.Grant != 0 {
		if err := a.ungrant(n); err != nil {
			return err
		}
	}
	if err := a.noLocks(n.Ino); err != nil {
		return err
	}
	c, err := a.counters()
	if err != nil {
		return err
	}
	c.inodes--
	n.gone = true
	a.ch.Gone = append(a.ch.Gone, n.Ino)
	return nil
}

func (a *apply) trim(op Trim) (Result, error) {
	n, err := a.node(op.Ino)
	if err != nil || n == nil || n.cuts == 0 {
		return Result{}, err
	}
	a.subject = n
	if err := a.trimmed(n); err != nil {
		return Result{}, err
	}
	a.touch(n)
	return Result{More: n.cuts > 0}, nil
}

// trimLook is how many records one Trim looks at.
const trimLook = 4 * DropMax

// trimmed drops up to DropMax doomed records, from where the last one stopped.
func (a *apply) trimmed(n *node) error {
	cs, err := loadCuts(a.tx, &n.Inode)
	if err != nil || len(cs) == 0 {
		return err
	}
	at := cs[0].from
	for _, c := range cs {
		at = min(at, c.from)
	}
	if b, ok, err := a.tx.Get(cutKey(n.Ino, 0)); err != nil {
		return err
	} else if ok {
		d := wire.NewReader(b)
		at = max(at, d.Int())
		if err := d.Done(); err != nil {
			return corrupt("truncation", err)
		}
	}
	var drop []record
	looked, more := 0, false
	err = scanRecords(a.tx, n.Ino, at, func(rec record) bool {
		if more = len(drop) >= DropMax || looked >= trimLook; more {
			return false
		}
		looked++
		at = rec.End()
		if cs.doomed(rec) {
			drop = append(drop, rec)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, rec := range drop {
		if err := a.dropDoomed(n, rec); err != nil {
			return err
		}
		if err := a.letGo(rec.freed()); err != nil {
			return err
		}
	}
	if more {
		return a.tx.Set(cutKey(n.Ino, 0), wire.AppendInt(nil, at))
	}
	n.cuts, n.dirty = 0, true
	keys, _, err := a.some(cutsOf(n.Ino), nil, func([]byte) bool { return true })
	return a.deleteAll(keys, err)
}

// membersChanged notes who counts, and forgets what was freed on those who are gone.
func (a *apply) membersChanged(all []cluster.Member) error {
	a.ch.Members = true
	var ids []cluster.PeerID
	for _, m := range all {
		if m.State != cluster.Lost {
			ids = append(ids, m.ID)
		}
	}
	ids = sortPeers(ids)
	a.members, a.known = ids, true
	if err := a.tx.Set(membersKey, appendPeers(nil, ids)); err != nil {
		return err
	}
	return a.forgetStrangers()
}

// forgetStrangers deletes freed lists of peers that are no members: up to DropMax keys, the rest with the next change.
func (a *apply) forgetStrangers() error {
	var keys [][]byte
	from := prefix('f')
	for {
		var next cluster.PeerID
		found := false
		err := a.tx.Scan(prefix('f'), from, func(k, _ []byte) bool {
			p := cluster.PeerID(k[2:22])
			if isMember(a.members, p) {
				next, found = p, true
				return false
			}
			keys = append(keys, slices.Clone(k))
			return len(keys) < DropMax
		})
		if err != nil || !found {
			return a.deleteAll(keys, err)
		}
		from = freedKey(next, ^uint64(0), ^uint32(0), ^uint16(0))
	}
}

// ChangeOf returns what one log entry did to the metadata, as one Change. Where ops of several sessions met in an
// entry, it is nobody's own: Session is 0 and all data counts as merged.
func ChangeOf(e state.Applied) Change {
	c := Change{Index: e.Index, Refused: e.Refused}
	first := true
	for _, ch := range e.Changes {
		switch what := ch.What.(type) {
		case *state.Facts:
			c.Members = c.Members || what.Members
		case *Change:
			if first {
				c.Session, c.Local, first = what.Session, what.Local, false
			} else if c.Session != what.Session {
				c.Session = 0
			}
			c.Local = c.Local && what.Local
			c.add(what)
		}
	}
	if c.Session == 0 {
		for i := range c.Data {
			c.Data[i].Merged = true
		}
	}
	return c
}

func (c *Change) add(o *Change) {
	c.Attrs = append(c.Attrs, o.Attrs...)
	c.Data = append(c.Data, o.Data...)
	c.Names = append(c.Names, o.Names...)
	c.Orphaned = append(c.Orphaned, o.Orphaned...)
	c.Gone = append(c.Gone, o.Gone...)
	c.Granted = append(c.Granted, o.Granted...)
	c.Ended = append(c.Ended, o.Ended...)
	c.Freed = append(c.Freed, o.Freed...)
	c.Added = append(c.Added, o.Added...)
	c.Locked = append(c.Locked, o.Locked...)
	c.Woken = append(c.Woken, o.Woken...)
	c.Members = c.Members || o.Members
}
