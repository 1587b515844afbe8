package meta

import (
	"bytes"

	"dfs/blockstore/kv"
	treap "dfs/blockstore/kv/tree"
)

// Writes is keys set and deleted over some state. A value: copies share, and a change of one leaves the others alone.
type Writes struct{ t treap.Tree }

// A value in the tree begins with one of these.
const (
	absent  = 0
	present = 1
)

// Len returns how many keys are set or deleted.
func (w Writes) Len() int { return w.t.Len() }

// Each calls fn for every key in order; present says whether it is set.
func (w Writes) Each(fn func(key, value []byte, set bool)) {
	w.t.Ascend(nil, func(k, v []byte) bool {
		fn(k, v[1:], v[0] == present)
		return true
	})
}

// Set returns w with key set to value, both copied.
func (w Writes) Set(key, value []byte) Writes {
	return Writes{w.t.Set(bytes.Clone(key), append([]byte{present}, value...))}
}

// Delete returns w with key deleted.
func (w Writes) Delete(key []byte) Writes { return Writes{w.t.Set(bytes.Clone(key), []byte{absent})} }

// Without returns w without knowing anything of key.
func (w Writes) Without(key []byte) Writes { return Writes{w.t.Delete(key)} }

// Private reports whether a key that an op wrote is about the inodes it touched, and not about the drive as a whole.
func Private(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	switch key[1] {
	case 'i', 'd', 'x', 't', 'w', 'a':
		return true
	}
	return false
}

// Layer is a state with Writes over it: a state.Tx whose writes go into the Writes, and a kv.Reader. Not safe for concurrent use.
type Layer struct {
	below  reader
	Writes Writes
}

var _ kv.Reader = (*Layer)(nil)

// Over returns w over below, which Close closes if it can be.
func Over(below kv.Reader, w Writes) *Layer { return &Layer{below: below, Writes: w} }

// Get returns the value of key, which is the caller's.
func (l *Layer) Get(key []byte) ([]byte, bool, error) {
	if v, ok := l.Writes.t.Get(key); ok {
		if v[0] == absent {
			return nil, false, nil
		}
		return bytes.Clone(v[1:]), true, nil
	}
	return l.below.Get(key)
}

// Set and Delete change the Writes.
func (l *Layer) Set(key, value []byte) error {
	l.Writes = l.Writes.Set(key, value)
	return nil
}

func (l *Layer) Delete(key []byte) error {
	l.Writes = l.Writes.Delete(key)
	return nil
}

// Scan merges the writes into what is below, both in order.
func (l *Layer) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	c := l.Writes.t.From(from)
	mine := func() bool { return c.Valid() && bytes.HasPrefix(c.Key(), prefix) }
	going := true
	emit := func() {
		if v := c.Value(); v[0] == present {
			going = fn(c.Key(), v[1:])
		}
		c.Next()
	}
	err := l.below.Scan(prefix, from, func(key, value []byte) bool {
		for going && mine() && bytes.Compare(c.Key(), key) < 0 {
			emit()
		}
		switch {
		case !going:
		case mine() && bytes.Equal(c.Key(), key):
			emit()
		default:
			going = fn(key, value)
		}
		return going
	})
	for err == nil && going && mine() {
		emit()
	}
	return err
}

// Close closes what is below.
func (l *Layer) Close() {
	if c, ok := l.below.(kv.Reader); ok {
		c.Close()
	}
}
