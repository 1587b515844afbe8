// Package lock decides who may lock what of a file. It is pure: a Table goes in, a Table comes out, and the same requests in
// the same order make the same table everywhere.
//
// There are two kinds of locks, which know nothing of each other, as on Linux. Range locks (fcntl: POSIX and open file
// description locks) cover bytes; an owner's newer lock replaces what of its older ones lies under it, and neighbours of one mode
// are one lock. Whole locks (flock) cover the file.
//
// Whoever waits stands in one queue. A lock that comes free goes to the first in the queue that nothing held stands in the way
// of, and a polite waiter lets those ahead of it go first that ask for the same bytes: so writers do not starve. Polite are
// those who hold nothing. An owner that holds a lock does not step back behind others, because one of those may wait for that
// very lock. A request that does not wait looks at what is held alone, as fcntl(2) says.
package lock

import (
	"cmp"
	"slices"
)

// EndOfAll is the End of a lock that covers everything from From on: the byte after the last one that a file could have.
// Places in a lock are unsigned because this one is no int64.
const EndOfAll = uint64(1) << 63

// Owner is who holds a lock: what a kernel calls the owner (a process's table of files, or one open file), in a session.
type Owner struct{ Session, ID uint64 }

func (o Owner) compare(p Owner) int {
	return cmp.Or(cmp.Compare(o.Session, p.Session), cmp.Compare(o.ID, p.ID))
}

// Lock is one lock on a file: bytes [From, End) for a range lock, 0 to EndOfAll for a whole one.
type Lock struct {
	Owner     Owner
	PID       uint32 // of the process that asked, where its session is
	Whole     bool
	Write     bool // exclusive; otherwise shared
	From, End uint64
}

// Valid reports whether l makes sense.
func (l Lock) Valid() bool {
	return l.From < l.End && l.End <= EndOfAll && (!l.Whole || l.From == 0 && l.End == EndOfAll)
}

// Against reports whether l and o, of different owners, cannot be held at once.
func (l Lock) Against(o Lock) bool {
	return l.Whole == o.Whole && l.Owner != o.Owner && (l.Write || o.Write) && l.From < o.End && o.From < l.End
}

func (l Lock) compare(o Lock) int {
	whole := 0
	if l.Whole != o.Whole {
		whole = 1
		if o.Whole {
			whole = -1
		}
	}
	return cmp.Or(whole, cmp.Compare(l.From, o.From), cmp.Compare(l.End, o.End), l.Owner.compare(o.Owner))
}

// Wait is a request that waits.
type Wait struct {
	Lock
	ID     uint64 // of the request, in its owner's session
	Polite bool   // its owner held nothing when it asked
}

// Table is the locks of one inode. The zero value has none.
type Table struct {
	Held  []Lock // sorted; those of one owner and kind do not overlap, and neighbours differ in mode
	Waits []Wait // in the order they came
}

// Empty reports whether nothing is held and nobody waits.
func (t *Table) Empty() bool { return len(t.Held)+len(t.Waits) == 0 }

// Len returns how much the table holds, in locks and waits.
func (t *Table) Len() int { return len(t.Held) + len(t.Waits) }

// Blockers returns the held locks that stand in l's way, in order.
func (t *Table) Blockers(l Lock) (list []Lock) {
	for _, h := range t.Held {
		if h.Against(l) {
			list = append(list, h)
		}
	}
	return list
}

// Holds reports whether the owner holds a lock of that kind.
func (t *Table) Holds(o Owner, whole bool) bool {
	return slices.ContainsFunc(t.Held, func(h Lock) bool { return h.Owner == o && h.Whole == whole })
}

// Take gives l to its owner at once, if nothing that is held stands in the way, and reports whether it has. What the owner gives up
// by it goes to those who wait: they are returned.
func (t *Table) Take(l Lock) (ok bool, woken []Wait) {
	if slices.ContainsFunc(t.Held, l.Against) {
		return false, nil
	}
	t.put(l)
	return true, t.wake()
}

// Ask is Take that puts w into the queue if it must wait. A whole lock that its owner holds already is given up first, as flock(2)
// says.
func (t *Table) Ask(w Wait) (ok bool, woken []Wait) {
	if w.Whole {
		t.clear(w.Owner, true, 0, EndOfAll)
	}
	t.Waits = append(t.Waits, w)
	for _, x := range t.wake() {
		if x.ID == w.ID && x.Owner.Session == w.Owner.Session {
			ok = true
			continue
		}
		woken = append(woken, x)
	}
	return ok, woken
}

// Release gives up what an owner holds of the bytes [from, end). Giving up what is not held is no error. It returns those
// who waited and hold their locks now.
func (t *Table) Release(o Owner, whole bool, from, end uint64) (woken []Wait) {
	t.clear(o, whole, from, end)
	return t.wake()
}

// Cancel takes a request out of the queue. waited is false where it was not there.
func (t *Table) Cancel(session, id uint64) (waited bool, woken []Wait) {
	n := len(t.Waits)
	t.Waits = slices.DeleteFunc(t.Waits, func(w Wait) bool { return w.Owner.Session == session && w.ID == id })
	return len(t.Waits) < n, t.wake()
}

// Drop takes everything of a session away.
func (t *Table) Drop(session uint64) (woken []Wait) {
	t.Held = slices.DeleteFunc(t.Held, func(h Lock) bool { return h.Owner.Session == session })
	t.Waits = slices.DeleteFunc(t.Waits, func(w Wait) bool { return w.Owner.Session == session })
	return t.wake()
}

// wake gives what is free to those who wait, in their order.
func (t *Table) wake() (woken []Wait) {
	for i := 0; i < len(t.Waits); {
		w := t.Waits[i]
		if t.waits(w, t.Waits[:i]) {
			i++
			continue
		}
		// Those ahead of it may be free now that its owner's older lock has made room, or its owner holds one.
		again := t.Holds(w.Owner, w.Whole) || slices.ContainsFunc(t.Waits[:i], func(a Wait) bool { return a.Owner == w.Owner })
		t.Waits = slices.Delete(t.Waits, i, i+1)
		t.put(w.Lock)
		woken = append(woken, w)
		if again {
			i = 0
		}
	}
	return woken
}

// waits reports whether w has to wait behind those ahead of it.
func (t *Table) waits(w Wait, ahead []Wait) bool {
	if slices.ContainsFunc(t.Held, w.Against) {
		return true
	}
	return w.Polite && !t.Holds(w.Owner, w.Whole) && slices.ContainsFunc(ahead, func(a Wait) bool { return a.Against(w.Lock) })
}

// put makes l held, in place of what of its owner's locks lies under it.
func (t *Table) put(l Lock) {
	t.clear(l.Owner, l.Whole, l.From, l.End)
	t.Held = slices.DeleteFunc(t.Held, func(h Lock) bool {
		if h.Owner != l.Owner || h.Whole != l.Whole || h.Write != l.Write || h.End != l.From && h.From != l.End {
			return false
		}
		l.From, l.End = min(l.From, h.From), max(l.End, h.End)
		return true
	})
	t.insert(l)
}

func (t *Table) insert(l Lock) {
	at, _ := slices.BinarySearchFunc(t.Held, l, Lock.compare)
	t.Held = slices.Insert(t.Held, at, l)
}

// clear takes the bytes [from, end) from an owner's locks, splitting what reaches beyond.
func (t *Table) clear(o Owner, whole bool, from, end uint64) {
	var rest []Lock
	t.Held = slices.DeleteFunc(t.Held, func(h Lock) bool {
		if h.Owner != o || h.Whole != whole || h.From >= end || from >= h.End {
			return false
		}
		if h.From < from {
			left := h
			left.End = from
			rest = append(rest, left)
		}
		if end < h.End {
			right := h
			right.From = end
			rest = append(rest, right)
		}
		return true
	})
	for _, l := range rest {
		t.insert(l)
	}
}
