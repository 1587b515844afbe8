package gather

import (
	"bytes"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/tree"
)

// reader reads what is held over what is below.
type reader struct {
	kv.Reader
	over tree.Tree
}

// Get implements kv.Reader.
func (r *reader) Get(key []byte) ([]byte, bool, error) {
	v, held := r.over.Get(key)
	return r.found(key, v, held)
}

// found returns what is held of key, or else what is below.
func (r *reader) found(key, v []byte, held bool) ([]byte, bool, error) {
	switch {
	case !held:
		return r.Reader.Get(key)
	case v == nil:
		return nil, false, nil
	}
	return append([]byte{}, v...), true, nil
}

// Scan implements kv.Reader: it merges the two, in order.
func (r *reader) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	over := r.over.From(from)
	left := func() bool { return over.Valid() && bytes.HasPrefix(over.Key(), prefix) }
	if !left() {
		return r.Reader.Scan(prefix, from, fn)
	}
	stopped := false
	// before offers what is held before key (nil: all that is left).
	before := func(key []byte) {
		for ; !stopped && left() && (key == nil || bytes.Compare(over.Key(), key) < 0); over.Next() {
			if v := over.Value(); v != nil {
				stopped = !fn(over.Key(), v)
			}
		}
	}
	err := r.Reader.Scan(prefix, from, func(key, value []byte) bool {
		before(key)
		if stopped {
			return false
		}
		if left() && bytes.Equal(over.Key(), key) {
			return true // overwritten or deleted: the next before offers it
		}
		stopped = !fn(key, value)
		return !stopped
	})
	if err == nil {
		before(nil)
	}
	return err
}

// txn reads its own writes over the newest state.
type txn struct {
	reader
	edit   tree.Edit // over, and own in it
	store  *Store
	base   uint64 // what it was begun on
	number uint64
	own    []pair
	bytes  int
	done   bool
}

var _ kv.Txn = (*txn)(nil)

// Get implements kv.Reader.
func (t *txn) Get(key []byte) ([]byte, bool, error) {
	v, held := t.edit.Get(key)
	return t.found(key, v, held)
}

// Scan implements kv.Reader.
func (t *txn) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	t.over = t.edit.Tree()
	return t.reader.Scan(prefix, from, fn)
}

// Set implements kv.Txn.
func (t *txn) Set(key, value []byte) error {
	if err := kv.Check(key, value); err != nil {
		return err
	}
	t.put(bytes.Clone(key), append([]byte{}, value...))
	return nil
}

// Delete implements kv.Txn.
func (t *txn) Delete(key []byte) error {
	if len(key) > 0 {
		t.put(bytes.Clone(key), nil)
	}
	return nil
}

func (t *txn) put(key, value []byte) {
	t.bytes += len(key) + len(value) + keyCost
	t.own = append(t.own, pair{key, value})
	t.edit.Set(key, value)
}

// Commit implements kv.Txn.
func (t *txn) Commit() error {
	err := t.store.commit(t.base, change{t.number, t.own, t.edit.Tree(), t.bytes})
	if err == nil {
		t.Close()
	}
	return err
}

// Close implements kv.Reader.
func (t *txn) Close() {
	if !t.done {
		t.done = true
		t.Reader.Close()
	}
}
