package kv

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
)

// What a Store can refuse.
var (
	ErrKey       = errors.New("kv: a key has 1 to 512 bytes")
	ErrValue     = errors.New("kv: a value has at most 32 KiB")
	ErrFull      = errors.New("kv: the memory is full")
	ErrCompacted = errors.New("kv: the history no longer reaches back so far")
)

// Bounds of keys and values, here and in every other Memory.
const (
	KeyMax   = 512
	ValueMax = 32 << 10
)

// Options bound a Store. Zero fields take the default.
type Options struct {
	Keys    int // default 10,000
	Bytes   int // of keys and values, default 16 MiB
	History int // events that are kept, default 1,000
}

// Store is a Memory of its own, with a history. Not safe for concurrent use.
type Store struct {
	o         Options
	entries   map[string]Entry
	bytes     int
	revision  uint64
	compacted uint64 // events up to this revision are gone
	history   []Event
}

// NewStore makes an empty store.
func NewStore(o Options) *Store {
	if o.Keys == 0 {
		o.Keys = 10_000
	}
	if o.Bytes == 0 {
		o.Bytes = 16 << 20
	}
	if o.History == 0 {
		o.History = 1_000
	}
	return &Store{o: o, entries: map[string]Entry{}}
}

// Check returns what is wrong with a key and a value.
func Check(key string, value []byte) error {
	switch {
	case len(key) == 0 || len(key) > KeyMax:
		return ErrKey
	case len(value) > ValueMax:
		return ErrValue
	}
	return nil
}

// Revision returns the number of the newest revision.
func (s *Store) Revision() uint64 { return s.revision }

// Get returns the entry of key.
func (s *Store) Get(key string) (Entry, bool) { return s.Load(key) }

// List returns at most limit entries whose keys begin with prefix and are above after, in order.
func (s *Store) List(prefix, after string, limit int) (es []Entry) {
	for _, k := range slices.Sorted(maps.Keys(s.entries)) {
		if strings.HasPrefix(k, prefix) && k > after && len(es) < limit {
			es = append(es, s.entries[k])
		}
	}
	return es
}

// Commit carries out t. After an error nothing has changed.
func (s *Store) Commit(t Txn) (Outcome, error) {
	for _, step := range slices.Concat(t.Then, t.Else) {
		if err := Check(step.Key, step.Value); err != nil {
			return Outcome{}, err
		}
	}
	before, size := maps.Clone(s.entries), s.bytes
	o := Run(s, t, s.revision+1)
	if len(s.entries) > max(s.o.Keys, len(before)) || s.bytes > max(s.o.Bytes, size) {
		s.entries, s.bytes = before, size
		return Outcome{}, ErrFull
	}
	s.note(o.Events)
	return o, nil
}

// Drop deletes what is bound to a lease, as one revision.
func (s *Store) Drop(lease uint64) []Event {
	var t Txn
	for _, k := range slices.Sorted(maps.Keys(s.entries)) {
		if s.entries[k].Lease == lease && lease != 0 {
			t.Then = append(t.Then, Step{Do: Delete, Key: k})
		}
	}
	o := Run(s, t, s.revision+1)
	s.note(o.Events)
	return o.Events
}

// note makes events the next revision.
func (s *Store) note(events []Event) {
	if len(events) == 0 {
		return
	}
	s.revision++
	s.history = append(s.history, events...)
	for len(s.history) > s.o.History { // a revision goes as a whole
		s.compacted = s.history[0].Modified
		n := slices.IndexFunc(s.history, func(e Event) bool { return e.Modified > s.compacted })
		if n < 0 {
			n = len(s.history)
		}
		s.history = slices.Delete(s.history, 0, n)
	}
}

// Since returns at most limit events of revision from and later; at least the first revision of them is whole.
// ErrCompacted: some are gone.
func (s *Store) Since(from uint64, limit int) ([]Event, error) {
	if from <= s.compacted && s.compacted > 0 {
		return nil, ErrCompacted
	}
	i := slices.IndexFunc(s.history, func(e Event) bool { return e.Modified >= from })
	if i < 0 {
		return nil, nil
	}
	end := i
	for end < len(s.history) && (end-i < limit || s.history[end].Modified == s.history[i].Modified) {
		end++
	}
	return slices.Clone(s.history[i:end]), nil
}

// Load implements Memory.
func (s *Store) Load(key string) (Entry, bool) {
	e, ok := s.entries[key]
	return e, ok
}

// Store implements Memory.
func (s *Store) Store(e Entry) {
	if old, ok := s.entries[e.Key]; ok {
		s.bytes -= len(old.Key) + len(old.Value)
	}
	e.Value = bytes.Clone(e.Value)
	s.entries[e.Key] = e
	s.bytes += len(e.Key) + len(e.Value)
}

// Remove implements Memory.
func (s *Store) Remove(e Entry) {
	s.bytes -= len(e.Key) + len(s.entries[e.Key].Value)
	delete(s.entries, e.Key)
}

var _ Memory = (*Store)(nil)
