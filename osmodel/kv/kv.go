// Package kv is a shared memory of keys and values in which every change has a place in one order.
//
// A transaction is the only change there is: conditions on keys, steps that are done when all of them hold, and steps
// that are done when one does not. Set, delete and compare-and-swap are transactions of one step. Every transaction
// that changes something is one revision; each entry knows in which revision it was created and last changed, and how
// often it was since. A history of the newest revisions lets an observer follow from any of them on, and tells him when
// he comes too late (compacted).
//
// Run carries a transaction out on any Memory, so that what is served from a replicated map is the same algorithm as
// the Store in memory. Nothing here knows time: an entry may be bound to a lease, and whoever owns the leases drops them.
package kv

import (
	"bytes"
	"cmp"
)

// Entry is one key with its value.
type Entry struct {
	Key      string
	Value    []byte
	Created  uint64 // revision
	Modified uint64 // revision
	Version  uint64 // changes since it was created, 1 for the creation
	Lease    uint64 // whose end deletes it; 0 none
}

// Field is what a Condition looks at. A key that is not there has 0 and no bytes everywhere.
type Field uint8

// The fields of an entry.
const (
	Created Field = iota
	Modified
	Version
	Value
)

// Relation is how a Condition compares.
type Relation uint8

// The relations.
const (
	Equal Relation = iota
	Unequal
	Less
	Greater
)

// Condition is what must hold of one key.
type Condition struct {
	Key    string
	Field  Field
	Is     Relation
	Number uint64
	Value  []byte
	Absent bool // with Field Value: the key must not be there (Equal), or must be (Unequal); Value is not looked at
}

// Action is what a Step does.
type Action uint8

// The actions.
const (
	Get Action = iota
	Set
	Delete
)

// Step is one action on one key.
type Step struct {
	Do    Action
	Key   string
	Value []byte
	Lease uint64 // of Set; 0 unbinds
}

// Txn is a transaction.
type Txn struct {
	If         []Condition
	Then, Else []Step
}

// Event is one change of one key. The entry of a deletion has only its key, its creation and the revision of its end.
type Event struct {
	Entry
	Deleted bool
}

// Outcome is what became of a transaction.
type Outcome struct {
	Held   bool     // all conditions did
	Found  []*Entry // for each step: get gives the entry, set the one before, delete the one deleted; nil: none
	Events []Event  // what changed, in order
}

// Memory is where entries are kept.
type Memory interface {
	Load(key string) (Entry, bool)
	Store(e Entry)
	Remove(e Entry)
}

// Run carries out t on m as revision. If Events is empty nothing has changed and the revision is not used up.
func Run(m Memory, t Txn, revision uint64) (o Outcome) {
	o.Held = true
	for _, c := range t.If {
		e, ok := m.Load(c.Key)
		o.Held = o.Held && c.Holds(e, ok)
	}
	steps := t.Then
	if !o.Held {
		steps = t.Else
	}
	for _, s := range steps {
		old, ok := m.Load(s.Key)
		var found *Entry
		if ok {
			found = &old
		}
		o.Found = append(o.Found, found)
		switch {
		case s.Do == Set:
			e := Entry{Key: s.Key, Value: s.Value, Created: revision, Modified: revision, Version: 1, Lease: s.Lease}
			if ok {
				e.Created, e.Version = old.Created, old.Version+1
			}
			m.Store(e)
			o.Events = append(o.Events, Event{Entry: e})
		case s.Do == Delete && ok:
			m.Remove(old)
			o.Events = append(o.Events, Deletion(old, revision))
		}
	}
	return o
}

// Deletion is the event of e's end.
func Deletion(e Entry, revision uint64) Event {
	return Event{Entry: Entry{Key: e.Key, Created: e.Created, Modified: revision}, Deleted: true}
}

// Holds reports whether the condition holds of e, or of a missing key.
func (c Condition) Holds(e Entry, there bool) bool {
	if c.Field == Value && (c.Absent || !there) {
		return (c.Absent && !there) == (c.Is == Equal)
	}
	var sign int
	switch c.Field {
	case Created:
		sign = cmp.Compare(e.Created, c.Number)
	case Modified:
		sign = cmp.Compare(e.Modified, c.Number)
	case Version:
		sign = cmp.Compare(e.Version, c.Number)
	default:
		sign = bytes.Compare(e.Value, c.Value)
	}
	switch c.Is {
	case Equal:
		return sign == 0
	case Unequal:
		return sign != 0
	case Less:
		return sign < 0
	}
	return sign > 0
}
