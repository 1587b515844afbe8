package meta

import (
	"maps"
	"slices"

	"dfs/cluster/fault"
	"dfs/fs/lock"
	"dfs/net/wire"
)

// Bounds of locks, in locks held and requests that wait. Beyond them is fault.TooManyLocks. They are part of the format.
const (
	LocksOfFile    = 1024
	LocksOfSession = 8192
)

// deadlockLook is how many owners a look for a deadlock goes through before it gives up, and lets the request wait.
const deadlockLook = 1000

// Lock locks part of a file, or all of it, for an owner of the proposal's session: what Lock.Owner.Session says does not count. With
// Wait the request queues where it cannot be granted: Result.More says that it does, and a Change's Woken, or Unlock, ends
// that. ID tells a session's requests apart that wait at once; it is not 0.
// fault.Locked (without Wait), fault.Deadlock (of range locks, with Wait), fault.TooManyLocks, fault.Stale, fault.Invalid.
type Lock struct {
	Ino  Ino
	Lock lock.Lock
	Wait bool
	ID   uint64
}

// Unlock gives up what an owner of the proposal's session holds of the bytes [From, End). With Cancel it takes that request out of the
// queue instead: Result.More says that it was there still; otherwise it has been granted, or never was. Nothing to give up is no error,
// nor is a file that is gone. fault.Invalid; fault.TooManyLocks, where a lock would be split in two.
type Unlock struct {
	Ino       Ino
	Owner     uint64
	Whole     bool
	From, End uint64
	Cancel    uint64
}

// EndLocks takes away what is left of a session's locks, which has ended: a bounded number an op (Result.More).
type EndLocks struct{ Session uint64 }

// Woken is a request that waited and was granted.
type Woken struct{ Session, ID uint64 }

func (Lock) op() byte     { return 17 }
func (Unlock) op() byte   { return 18 }
func (EndLocks) op() byte { return 19 }

func (o Lock) append(b []byte) []byte {
	b = o.Lock.Append(wire.AppendUint(b, uint64(o.Ino)))
	return wire.AppendUint(wire.AppendBool(b, o.Wait), o.ID)
}

func readLock(d *wire.Reader) (o Lock, err error) {
	o.Ino = Ino(d.Uint())
	if o.Lock, err = lock.ReadLock(d); err != nil {
		return Lock{}, err
	}
	o.Wait, o.ID = d.Bool(), d.Uint()
	return o, nil
}

func (o Unlock) append(b []byte) []byte {
	b = wire.AppendBool(appendUints(b, uint64(o.Ino), o.Owner), o.Whole)
	return appendUints(b, o.From, o.End, o.Cancel)
}

func readUnlock(d *wire.Reader) Unlock {
	return Unlock{Ino: Ino(d.Uint()), Owner: d.Uint(), Whole: d.Bool(), From: d.Uint(), End: d.Uint(), Cancel: d.Uint()}
}

func (o EndLocks) append(b []byte) []byte { return wire.AppendUint(b, o.Session) }

// lock carries out a Lock.
func (a *apply) lock(op Lock) (Result, error) {
	l := op.Lock
	l.Owner.Session = a.c.Session
	if !l.Valid() || op.ID == 0 {
		return Result{}, fault.New("lock", fault.Invalid, "bytes [%d, %d), request %d", l.From, l.End, op.ID)
	}
	if _, err := a.file(op.Ino); err != nil {
		return Result{}, err
	}
	t, err := a.lockTable(op.Ino)
	if err != nil {
		return Result{}, err
	}
	if !op.Wait {
		ok, woken := t.Take(l)
		if !ok {
			return Result{}, fault.New("lock", fault.Locked, "inode %d", op.Ino)
		}
		return Result{}, t.save(woken)
	}
	w := lock.Wait{Lock: l, ID: op.ID}
	if w.Polite, err = a.holdsNothing(l.Owner); err != nil {
		return Result{}, err
	}
	if dead, err := a.deadlocks(&t.Table, l); err != nil || dead {
		if err == nil {
			err = fault.New("lock", fault.Deadlock, "inode %d", op.Ino)
		}
		return Result{}, err
	}
	ok, woken := t.Ask(w)
	return Result{More: !ok}, t.save(woken)
}

// unlock carries out an Unlock.
func (a *apply) unlock(op Unlock) (r Result, err error) {
	o := lock.Owner{Session: a.c.Session, ID: op.Owner}
	t, err := a.lockTable(op.Ino)
	if err != nil {
		return Result{}, err
	}
	var woken []lock.Wait
	switch {
	case op.Cancel != 0:
		r.More, woken = t.Cancel(o.Session, op.Cancel)
	case op.From >= op.End || op.End > lock.EndOfAll:
		return Result{}, fault.New("unlock", fault.Invalid, "bytes [%d, %d)", op.From, op.End)
	default:
		woken = t.Release(o, op.Whole, op.From, op.End)
	}
	return r, t.save(woken)
}

// endLocks takes a session's locks away, as far as one op may.
func (a *apply) endLocks(op EndLocks) (Result, error) {
	var inos []Ino
	err := a.tx.Scan(locksOf(op.Session), ownerKey(lock.Owner{Session: op.Session}, 0), func(k, _ []byte) bool {
		if len(k) == ownerKeyLen {
			inos = append(inos, Ino(number(k, 18)))
		}
		return len(inos) <= LocksOfSession
	})
	if err != nil {
		return Result{}, err
	}
	slices.Sort(inos)
	bytes := 0
	for _, ino := range slices.Compact(inos) {
		t, err := a.lockTable(ino)
		if err != nil {
			return Result{}, err
		}
		if bytes > endBytes/2 {
			return Result{More: true}, nil
		}
		bytes += t.bytes + inodeBytes
		if err := t.save(t.Drop(op.Session)); err != nil {
			return Result{}, err
		}
	}
	return Result{}, nil
}

// noLocks forgets the locks of an inode that is gone.
func (a *apply) noLocks(ino Ino) error {
	t, err := a.lockTable(ino)
	if err != nil || t.Empty() {
		return err
	}
	t.Table = lock.Table{}
	return t.save(nil)
}

// holdsNothing reports whether an owner holds no lock at all.
func (a *apply) holdsNothing(o lock.Owner) (bool, error) {
	held, err := false, error(nil)
	scan := a.tx.Scan(ownerPrefix(o), nil, func(_, v []byte) bool {
		var n owned
		n, err = decodeOwned(v)
		held = n.held > 0
		return err == nil && !held
	})
	if err == nil {
		err = scan
	}
	return !held, err
}

// deadlocks reports whether l, if it waited for those who hold what stands in its way in t, would wait for its owner in the end. Open
// file description locks, which a FUSE daemon cannot tell from others, take part in it, unlike elsewhere.
func (a *apply) deadlocks(t *lock.Table, l lock.Lock) (bool, error) {
	if l.Whole {
		return false, nil
	}
	seen := map[lock.Owner]bool{}
	next := t.Blockers(l)
	for len(next) > 0 && len(seen) < deadlockLook {
		o := next[len(next)-1].Owner
		next = next[:len(next)-1]
		if o == l.Owner {
			return true, nil
		}
		if seen[o] {
			continue
		}
		seen[o] = true
		inos, err := waitsOf(a.tx, o)
		if err != nil {
			return false, err
		}
		for _, ino := range inos {
			other, err := readLocks(a.tx, ino)
			if err != nil {
				return false, err
			}
			for _, w := range other.Waits {
				if w.Owner == o && !w.Whole {
					next = append(next, other.Blockers(w.Lock)...)
				}
			}
		}
	}
	return false, nil
}

// waitsOf returns the inodes that an owner waits for a lock of.
func waitsOf(r reader, o lock.Owner) (inos []Ino, err error) {
	scan := r.Scan(ownerPrefix(o), nil, func(k, v []byte) bool {
		var n owned
		if n, err = decodeOwned(v); n.waits > 0 {
			inos = append(inos, Ino(number(k, 18)))
		}
		return err == nil
	})
	if err == nil {
		err = scan
	}
	return inos, err
}

// owned is what an owner has in one table.
type owned struct{ held, waits uint64 }

func (n owned) encode() []byte { return appendUints(nil, n.held, n.waits) }

func decodeOwned(b []byte) (owned, error) {
	d := wire.NewReader(b)
	n := owned{held: d.Uint(), waits: d.Uint()}
	return n, corrupt("locks of an owner", d.Done())
}

// lockTable is the locks of an inode in the hands of an op.
type lockTable struct {
	lock.Table
	a      *apply
	ino    Ino
	before map[lock.Owner]owned
	len    int
	bytes  int // as it was stored
}

func (a *apply) lockTable(ino Ino) (*lockTable, error) {
	b, ok, err := a.tx.Get(locksKey(ino))
	if err != nil {
		return nil, err
	}
	t := &lockTable{a: a, ino: ino, bytes: len(b)}
	if ok {
		if t.Table, err = lock.Decode(b); err != nil {
			return nil, corrupt("locks", err)
		}
	}
	t.before, t.len = countOwned(&t.Table), t.Len()
	return t, nil
}

func readLocks(r reader, ino Ino) (t lock.Table, err error) {
	b, ok, err := r.Get(locksKey(ino))
	if err == nil && ok {
		t, err = lock.Decode(b)
		err = corrupt("locks", err)
	}
	return t, err
}

func countOwned(t *lock.Table) map[lock.Owner]owned {
	m := map[lock.Owner]owned{}
	for _, l := range t.Held {
		n := m[l.Owner]
		n.held++
		m[l.Owner] = n
	}
	for _, w := range t.Waits {
		n := m[w.Owner]
		n.waits++
		m[w.Owner] = n
	}
	return m
}

// save writes the table, and what the owners and their sessions have by it; woken hear of it.
func (t *lockTable) save(woken []lock.Wait) error {
	a := t.a
	if t.Len() > LocksOfFile && t.Len() > t.len {
		return fault.New("lock", fault.TooManyLocks, "%d of inode %d", t.Len(), t.ino)
	}
	a.ch.Locked = append(a.ch.Locked, t.ino)
	for _, w := range woken {
		a.ch.Woken = append(a.ch.Woken, Woken{w.Owner.Session, w.ID})
	}
	after := countOwned(&t.Table)
	owners := maps.Clone(t.before)
	maps.Copy(owners, after)
	more := map[uint64]int64{}
	for o := range owners {
		was, is := t.before[o], after[o]
		if was == is {
			continue
		}
		more[o.Session] += int64(is.held+is.waits) - int64(was.held+was.waits)
		var err error
		if is == (owned{}) {
			err = a.tx.Delete(ownerKey(o, t.ino))
		} else {
			err = a.tx.Set(ownerKey(o, t.ino), is.encode())
		}
		if err != nil {
			return err
		}
	}
	for session, n := range more {
		if err := a.countLocks(session, n); err != nil {
			return err
		}
	}
	if t.Empty() {
		return a.tx.Delete(locksKey(t.ino))
	}
	return a.tx.Set(locksKey(t.ino), t.Append(nil))
}

// countLocks changes how many locks a session has.
func (a *apply) countLocks(session uint64, more int64) error {
	if more == 0 {
		return nil
	}
	b, ok, err := a.tx.Get(locksOf(session))
	if err != nil {
		return err
	}
	n := int64(0)
	if ok {
		d := wire.NewReader(b)
		n = int64(d.Uint())
		if err := d.Done(); err != nil {
			return corrupt("count of locks", err)
		}
	}
	if n += more; n > LocksOfSession && more > 0 && session == a.c.Session {
		return fault.New("lock", fault.TooManyLocks, "%d of session %x", n, session)
	}
	if n <= 0 {
		return a.tx.Delete(locksOf(session))
	}
	return a.tx.Set(locksOf(session), wire.AppendUint(nil, uint64(n)))
}

// Locks implements View.
func (v *Image) Locks(ino Ino) (lock.Table, error) { return readLocks(v.r, ino) }

// Locked returns up to limit inodes after after that somebody has, or waits for, a lock of, in order.
func (v *Image) Locked(after Ino, limit int) ([]Ino, error) {
	return v.inos(prefix('k'), locksKey(after+1), 2, limit)
}

// Lockers returns the sessions that have, or wait for, locks.
func (v *Image) Lockers() (sessions []uint64, err error) {
	for from, more := locksOf(0), true; more && err == nil; {
		more = false
		err = v.r.Scan(prefix('l'), from, func(k, _ []byte) bool {
			s := number(k, 2)
			sessions, from, more = append(sessions, s), locksOf(s+1), s+1 != 0
			return false
		})
	}
	return sessions, err
}

const ownerKeyLen = 2 + 3*8

func locksKey(i Ino) []byte               { return be(prefix('k'), uint64(i)) }
func locksOf(session uint64) []byte       { return be(prefix('l'), session) }
func ownerPrefix(o lock.Owner) []byte     { return be(locksOf(o.Session), o.ID) }
func ownerKey(o lock.Owner, i Ino) []byte { return be(ownerPrefix(o), uint64(i)) }
