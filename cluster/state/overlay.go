package state

import (
	"bytes"
	"slices"
	"strings"

	"dfs/cluster/fault"
)

// overlay gathers one proposal's writes over the entry's transaction, so that they can be dropped as one. The
// first failure of the store below sticks: the replica must stop, whatever the part made of it.
type overlay struct {
	below  Tx
	writes map[string][]byte // nil: deleted
	sorted []string          // keys of writes
	bytes  int
	free   bool // the machine's own bookkeeping is not held to OpBytes and OpWrites
	broken error
}

var _ Tx = (*overlay)(nil)

func newOverlay(below Tx) *overlay { return &overlay{below: below, writes: map[string][]byte{}} }

func (o *overlay) fail(err error) error {
	if err != nil && o.broken == nil {
		o.broken = err
	}
	return err
}

func (o *overlay) Get(key []byte) ([]byte, bool, error) {
	if v, ok := o.writes[string(key)]; ok {
		return bytes.Clone(v), v != nil, nil
	}
	v, ok, err := o.below.Get(key)
	return v, ok, o.fail(err)
}

func (o *overlay) Set(key, value []byte) error {
	v := make([]byte, len(value)) // never nil
	copy(v, value)
	return o.put(key, v)
}

func (o *overlay) Delete(key []byte) error { return o.put(key, nil) }

func (o *overlay) put(key, value []byte) error {
	if old, ok := o.writes[string(key)]; ok {
		o.bytes -= len(key) + len(old)
	} else {
		i, _ := slices.BinarySearch(o.sorted, string(key))
		o.sorted = slices.Insert(o.sorted, i, string(key)) // most come in order, near the end
	}
	o.bytes += len(key) + len(value)
	o.writes[string(key)] = value
	if !o.free && (o.bytes > OpBytes || len(o.writes) > OpWrites) {
		return fault.New("state write", fault.TooBig, "one proposal writes more than %d keys or %d bytes", OpWrites, OpBytes)
	}
	return nil
}

// Scan merges the writes into what is below, both in order.
func (o *overlay) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if len(o.writes) == 0 {
		return o.fail(o.below.Scan(prefix, from, fn))
	}
	begin := string(prefix)
	i, _ := slices.BinarySearch(o.sorted, max(begin, string(from)))
	mine := o.sorted[i:]
	left := func() bool { return len(mine) > 0 && strings.HasPrefix(mine[0], begin) }
	going := true
	emit := func() { // the first of mine
		if v := o.writes[mine[0]]; v != nil {
			going = fn([]byte(mine[0]), v)
		}
		mine = mine[1:]
	}
	err := o.below.Scan(prefix, from, func(key, value []byte) bool {
		for going && left() && mine[0] < string(key) {
			emit()
		}
		switch {
		case !going:
		case left() && mine[0] == string(key):
			emit()
		default:
			going = fn(key, value)
		}
		return going
	})
	for err == nil && going && left() {
		emit()
	}
	return o.fail(err)
}

// flush makes the writes part of the entry's transaction.
func (o *overlay) flush() error {
	for _, k := range o.sorted {
		var err error
		if v := o.writes[k]; v != nil {
			err = o.below.Set([]byte(k), v)
		} else {
			err = o.below.Delete([]byte(k))
		}
		if err != nil {
			return o.fail(err)
		}
	}
	return nil
}
