package badger

import (
	"bytes"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/tree"
	"dfs/cluster/fault"
)

// txn is a reader of the newest version with the transaction's own writes before it. Badger's own merging of pending
// writes sorts all of them for every scan; ours is a tree.
type txn struct {
	*reader
	number uint64
	own    tree.Edit // a nil value is a delete
}

func (s *Store) Begin(version uint64) kv.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &txn{reader: s.readerLocked(s.newest), number: version}
}

func (t *txn) Get(key []byte) ([]byte, bool, error) {
	v, mine := t.own.Get(key)
	if !mine {
		return t.reader.Get(key)
	}
	if v == nil {
		return nil, false, nil
	}
	return append([]byte{}, v...), true, nil
}

func (t *txn) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	own := t.own.Tree().From(from)
	left := func() bool { return own.Valid() && bytes.HasPrefix(own.Key(), prefix) }
	stopped := false
	// ownBefore offers the writes that come before key (nil: all that are left).
	ownBefore := func(key []byte) {
		for ; !stopped && left() && (key == nil || bytes.Compare(own.Key(), key) < 0); own.Next() {
			if v := own.Value(); v != nil {
				stopped = !fn(own.Key(), v)
			}
		}
	}
	err := t.reader.Scan(prefix, from, func(key, value []byte) bool {
		ownBefore(key)
		if stopped {
			return false
		}
		if left() && bytes.Equal(own.Key(), key) {
			return true // overwritten or deleted: the next ownBefore offers it
		}
		stopped = !fn(key, value)
		return !stopped
	})
	if err == nil {
		ownBefore(nil)
	}
	return err
}

func (t *txn) Set(key, value []byte) error {
	if err := kv.Check(key, value); err != nil {
		return err
	}
	t.own.Set(bytes.Clone(key), append([]byte{}, value...))
	return nil
}

func (t *txn) Delete(key []byte) error {
	if len(key) > 0 {
		t.own.Set(bytes.Clone(key), nil)
	}
	return nil
}

// Commit is fault.TooBig beyond Options.MemtableBytes's bound and fault.NoSpace below Options.Spare, with nothing
// changed: it may be tried again. After any other error the store takes no more commits.
func (t *txn) Commit() error {
	s := t.store
	s.mu.Lock()
	gen, newest, broken := s.gen, s.newest, s.brokenLocked(s.gen)
	s.mu.Unlock()
	switch {
	case t.gen == nil || t.gen != gen:
		return fault.New("kv commit", fault.Closed, "version %d", t.number)
	case broken != nil:
		return broken
	case t.number <= newest:
		return fault.New("kv commit", fault.Invalid, "version %d after %d", t.number, newest)
	}
	if err := s.spare(); err != nil {
		return err
	}
	if err := t.write(gen); err != nil {
		if k := fault.KindOf(err); k == fault.Other {
			err = fault.Because("kv commit", kindOf(err), err)
		}
		if fault.KindOf(err) != fault.TooBig {
			s.mu.Lock()
			s.broken = err
			s.mu.Unlock()
		}
		return err
	}
	s.mu.Lock()
	s.newest = t.number
	s.applyFloorLocked()
	s.mu.Unlock()
	t.Close()
	return nil
}

// brokenLocked returns why the store takes no more commits, or nil.
func (s *Store) brokenLocked(gen *generation) error {
	if s.broken == nil && gen != nil {
		return gen.log.flushed()
	}
	return s.broken
}

// spare refuses a commit on a disk that is nearly full. fault.NoSpace.
func (s *Store) spare() error {
	if s.options.Free == nil {
		return nil
	}
	free, err := s.options.Free()
	if err != nil {
		return fault.Wrap("kv commit", err)
	}
	if free < s.options.Spare {
		return fault.New("kv commit", fault.NoSpace, "%d MiB are free on the disk, and %d MiB are needed", free>>20, s.options.Spare>>20)
	}
	return nil
}

// write commits through badger, which keeps the entries of one transaction together: in one memtable, all or none.
func (t *txn) write(gen *generation) (err error) {
	b := gen.db.NewTransactionAt(t.number, true)
	defer b.Discard()
	if err := b.Set(markKey, nil); err != nil {
		return err
	}
	t.own.Tree().Ascend(nil, func(k, v []byte) bool {
		if v == nil {
			err = b.Delete(stored(k))
		} else {
			err = b.Set(stored(k), v)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	// Badger lets a commit wait for room in its memtables, for ever if they cannot be flushed.
	done := make(chan error, 1)
	if err := b.CommitAt(t.number, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-gen.log.stuck:
		return gen.log.flushed()
	}
}
