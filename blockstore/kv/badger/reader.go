package badger

import (
	"bytes"
	"errors"

	bdg "github.com/dgraph-io/badger/v4"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
)

// Keys in badger: 'k' and the caller's key; markKey alone holds nothing but the fact that a version was committed,
// so that the newest version is found again when it changed nothing, or only deleted.
const keyTag = 'k'

var markKey = []byte("m")

func stored(key []byte) []byte { return append(append(make([]byte, 0, len(key)+1), keyTag), key...) }

type reader struct {
	store   *Store
	gen     *generation // nil once closed
	txn     *bdg.Txn
	version uint64
}

func (s *Store) At(version uint64) kv.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readerLocked(version)
}

// readerLocked returns a reader that holds its generation and its version; one of a closed store fails every call.
func (s *Store) readerLocked(version uint64) *reader {
	if s.gen == nil {
		return &reader{store: s}
	}
	version = min(version, s.newest)
	s.gen.refs++
	s.gen.readers[version]++
	return &reader{store: s, gen: s.gen, version: version, txn: s.gen.db.NewTransactionAt(version, false)}
}

func (r *reader) closed() error {
	if r.gen == nil {
		return fault.New("kv read", fault.Closed, "%s", r.store.dir)
	}
	return nil
}

func (r *reader) Get(key []byte) ([]byte, bool, error) {
	if err := r.closed(); err != nil {
		return nil, false, err
	}
	item, err := r.txn.Get(stored(key))
	if errors.Is(err, bdg.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fault.Because("kv get", kindOf(err), err)
	}
	v, err := item.ValueCopy([]byte{})
	if err != nil {
		return nil, false, fault.Because("kv get", kindOf(err), err)
	}
	return v, true, nil
}

func (r *reader) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if err := r.closed(); err != nil {
		return err
	}
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	it := r.iterator(prefix)
	defer it.Close()
	more := true
	for it.Seek(stored(from)); more && it.Valid(); it.Next() {
		item := it.Item()
		err := item.Value(func(v []byte) error {
			more = fn(item.Key()[1:], v)
			return nil
		})
		if err != nil {
			return fault.Because("kv scan", kindOf(err), err)
		}
	}
	return nil
}

func (r *reader) iterator(prefix []byte) *bdg.Iterator {
	return r.txn.NewIterator(bdg.IteratorOptions{Prefix: stored(prefix)})
}

func (r *reader) Close() {
	if r.gen == nil {
		return
	}
	r.txn.Discard()
	s, gen := r.store, r.gen
	r.gen = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if gen.readers[r.version]--; gen.readers[r.version] == 0 {
		delete(gen.readers, r.version)
		s.applyFloorLocked()
	}
	if err := s.releaseLocked(gen); err != nil {
		s.options.Log.Error("kv: late close", "err", err)
	}
}
