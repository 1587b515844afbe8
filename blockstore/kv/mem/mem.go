// Package mem is a kv.Store in memory, for tests and the simulator: every version is an immutable tree, so
// readers never wait for the writer and a clone costs nothing.
//
// Nothing survives the process. What would survive a crash of the machine is whatever SetDurable says; until it
// is called, everything does. A simulator models a crash by Clone, by CloneAt an older version, or by an empty
// Store.
package mem

import (
	"bytes"
	"slices"
	"sort"
	"sync"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/tree"
	"dfs/cluster/fault"
)

// Store is a kv.Store in memory. The zero value is empty and ready.
type Store struct {
	mu       sync.Mutex
	versions []version // ascending; those below the floor are gone, except the newest of them
	durable  *uint64   // nil: the newest version
}

type version struct {
	number uint64
	tree   tree.Tree
}

var _ kv.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{} }

// Clone returns a store of its own with this one's newest contents and version. It costs O(1).
func (s *Store) Clone() *Store { return s.CloneAt(^uint64(0)) }

// CloneAt returns a store of its own that has only what was committed up to version: the state a machine finds
// that crashed when Durable was that. It must not be below the floor.
func (s *Store) CloneAt(number uint64) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{versions: []version{s.atLocked(number)}}
}

// SetDurable makes Durable return v from now on.
func (s *Store) SetDurable(v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = &v
}

func (s *Store) At(number uint64) kv.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &reader{tree: s.atLocked(number).tree}
}

// atLocked returns the newest version at or below number; before the first commit that is the empty map.
func (s *Store) atLocked(number uint64) version {
	i := sort.Search(len(s.versions), func(i int) bool { return s.versions[i].number > number })
	if i == 0 {
		return version{}
	}
	return s.versions[i-1]
}

func (s *Store) Begin(number uint64) kv.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &txn{reader: reader{tree: s.newestLocked().tree}, store: s, number: number}
}

func (s *Store) newestLocked() version {
	if len(s.versions) == 0 {
		return version{}
	}
	return s.versions[len(s.versions)-1]
}

func (s *Store) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newestLocked().number
}

func (s *Store) SetFloor(v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := 0
	for keep+1 < len(s.versions) && s.versions[keep+1].number <= v {
		keep++
	}
	s.versions = slices.Delete(s.versions, 0, keep)
}

func (s *Store) Durable() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.durable != nil {
		return *s.durable
	}
	return s.newestLocked().number
}

func (s *Store) Wipe() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions = nil
	return nil
}

func (s *Store) Close() error { return nil }

type reader struct{ tree tree.Tree }

func (r *reader) Get(key []byte) ([]byte, bool, error) {
	v, ok := r.tree.Get(key)
	if !ok {
		return nil, false, nil
	}
	return append([]byte{}, v...), true, nil
}

func (r *reader) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	r.tree.Ascend(from, func(k, v []byte) bool { return bytes.HasPrefix(k, prefix) && fn(k, v) })
	return nil
}

func (r *reader) Close() {}

type txn struct {
	reader
	store  *Store
	number uint64
	done   bool
}

func (t *txn) Set(key, value []byte) error {
	if err := kv.Check(key, value); err != nil {
		return err
	}
	t.tree = t.tree.Set(bytes.Clone(key), append([]byte{}, value...))
	return nil
}

func (t *txn) Delete(key []byte) error {
	t.tree = t.tree.Delete(key)
	return nil
}

func (t *txn) Commit() error {
	s := t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.done {
		return fault.New("kv commit", fault.Closed, "version %d", t.number)
	}
	if newest := s.newestLocked().number; t.number <= newest {
		return fault.New("kv commit", fault.Invalid, "version %d after %d", t.number, newest)
	}
	t.done = true
	s.versions = append(s.versions, version{t.number, t.tree})
	return nil
}

func (t *txn) Close() { t.done = true }
