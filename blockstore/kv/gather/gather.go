// Package gather keeps the newest transactions of a kv.Store in memory, and gives them to the store below many at a time.
//
// A commit here is an insertion of its keys into a tree: no goroutine, no file. The log is what is durable, so nothing is
// promised that a crash could break: what was not given on is replayed. Transactions no reader may ask for one by one any more, those
// up to the floor, become one transaction below: keys that each op writes anew (a directory's attributes, a session,
// the applied index) are written once for all of them, which spares the store below most of its writes, and of
// their compaction.
//
// On paper, for an op of eight keys: eight insertions in a persistent tree here (5 us), and an eighth of a transaction's
// cost below once FlushVersions of them have come. Memory: FlushBytes as a rule, HeldBytes and HeldVersions at most; then what is above
// the floor is given on one by one. A transaction of LargeBytes goes below at once.
package gather

import (
	"sync"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/tree"
	"dfs/cluster/fault"
)

// Options of a Store. The zero value works.
type Options struct {
	FlushVersions int // up to the floor, that are given on together; default 64
	FlushBytes    int // likewise, in keys and values; default 256 KiB
	HeldVersions  int // at most; default 1024
	HeldBytes     int // likewise; default 2 MiB
	LargeBytes    int // of one transaction, that is not held; default 128 KiB
}

// keyCost is what a pair is reckoned at beyond its bytes.
const keyCost = 64

// Store is a kv.Store over another.
type Store struct {
	o     Options
	below kv.Store

	mu      sync.Mutex
	newest  uint64
	floor   uint64
	held    []change // not yet below, ascending
	bytes   int      // of held
	closed  bool
	failed  bool // the last giving on
	flushed int  // transactions made below; for tests
}

var _ kv.Store = (*Store)(nil)

// change is one transaction.
type change struct {
	version uint64
	own     []pair    // in the order they were written; the last of a key counts
	all     tree.Tree // own over those of the changes held before it; a nil value is a delete
	bytes   int
}

type pair struct{ key, value []byte } // value nil: deleted

// New returns a store over below, which it closes.
func New(below kv.Store, o Options) *Store {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.FlushVersions, 64)
	def(&o.FlushBytes, 256<<10)
	def(&o.HeldVersions, 1024)
	def(&o.HeldBytes, 2<<20)
	def(&o.LargeBytes, 128<<10)
	return &Store{o: o, below: below, newest: below.Newest()}
}

// At implements kv.Store.
func (s *Store) At(version uint64) kv.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readerLocked(version)
}

func (s *Store) readerLocked(version uint64) *reader {
	r := &reader{Reader: s.below.At(version)} // under mu, so that no flush comes between this and what is held
	for i := len(s.held) - 1; i >= 0; i-- {
		if s.held[i].version <= version {
			r.over = s.held[i].all
			break
		}
	}
	return r
}

// Begin implements kv.Store.
func (s *Store) Begin(version uint64) kv.Txn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.readerLocked(s.newest)
	return &txn{reader: *r, edit: r.over.Edit(), store: s, base: s.newest, number: version}
}

// Newest implements kv.Store.
func (s *Store) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// SetFloor implements kv.Store.
func (s *Store) SetFloor(v uint64) {
	s.mu.Lock()
	s.floor = max(s.floor, v)
	s.mu.Unlock()
	s.below.SetFloor(v)
}

// Durable implements kv.Store.
func (s *Store) Durable() uint64 { return s.below.Durable() }

// Wipe implements kv.Store.
func (s *Store) Wipe() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.below.Wipe(); err != nil {
		return err
	}
	s.newest, s.floor, s.held, s.bytes = 0, 0, nil, 0
	return nil
}

// Close gives on what is held, and closes the store below.
func (s *Store) Close() error {
	s.mu.Lock()
	done := s.closed
	s.closed = true
	s.mu.Unlock()
	if done {
		return nil
	}
	err := s.flush(0)
	if cerr := s.below.Close(); err == nil {
		err = cerr
	}
	return err
}

// commit holds a change, and gives on what is to be given on.
func (s *Store) commit(base uint64, c change) error {
	s.mu.Lock()
	newest, closed, failed := s.newest, s.closed, s.failed
	s.mu.Unlock()
	switch {
	case closed:
		return fault.New("kv commit", fault.Closed, "version %d", c.version)
	case c.version <= newest || base != newest:
		return fault.New("kv commit", fault.Invalid, "version %d after %d", c.version, newest)
	}
	large := c.bytes > s.o.LargeBytes
	if failed || large {
		if err := s.makeRoom(large); err != nil {
			return err
		}
	}
	if large {
		if err := s.write(c.version, over(tree.Tree{}, c.own)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.newest, s.failed = c.version, false
	if !large {
		s.held = append(s.held, c)
		s.bytes += c.bytes
	}
	s.mu.Unlock()
	if err := s.makeRoom(false); err != nil {
		s.failed = true // c is held all the same; the next commit tries again before it changes anything
	}
	return nil
}

// over returns below with own's pairs in their place.
func over(below tree.Tree, own []pair) tree.Tree {
	e := below.Edit()
	for _, p := range own {
		e.Set(p.key, p.value)
	}
	return e.Tree()
}

// makeRoom gives on what may be given on together, if it is worth it, and what must be.
func (s *Store) makeRoom(all bool) error {
	s.mu.Lock()
	ready, sum := s.readyLocked()
	full := len(s.held) >= s.o.HeldVersions || s.bytes >= s.o.HeldBytes
	s.mu.Unlock()
	switch {
	case all:
		return s.flush(0)
	case full:
		return s.flush(s.o.HeldVersions / 2)
	case ready >= s.o.FlushVersions || sum >= s.o.FlushBytes:
		return s.gather()
	}
	return nil
}

// readyLocked returns how many changes are not above the floor, and their bytes.
func (s *Store) readyLocked() (n, bytes int) {
	for n < len(s.held) && s.held[n].version <= s.floor {
		bytes += s.held[n].bytes
		n++
	}
	return n, bytes
}

// flush gives on changes, together where that may be and else one by one, until at most keep are held, of half the bytes that may be.
func (s *Store) flush(keep int) error {
	for {
		if err := s.gather(); err != nil {
			return err
		}
		s.mu.Lock()
		n, bytes := len(s.held), s.bytes
		var first change
		if n > 0 {
			first = s.held[0]
		}
		s.mu.Unlock()
		if n == 0 || n <= keep && bytes <= s.o.HeldBytes/2 {
			return nil
		}
		if err := s.write(first.version, over(tree.Tree{}, first.own)); err != nil {
			return err
		}
		s.drop(1)
	}
}

// gather gives on what is not above the floor, in transactions of a size the store below takes.
func (s *Store) gather() error {
	for {
		s.mu.Lock()
		n, bytes := s.readyLocked()
		for n > 1 && bytes > max(s.o.FlushBytes, s.o.LargeBytes)*2 {
			n--
			bytes -= s.held[n].bytes
		}
		if n == 0 {
			s.mu.Unlock()
			return nil
		}
		last := s.held[n-1]
		s.mu.Unlock()
		if err := s.write(last.version, last.all); err != nil { // all: those before it are held or below
			return err
		}
		s.drop(n)
	}
}

// write makes one transaction below.
func (s *Store) write(version uint64, own tree.Tree) error {
	x := s.below.Begin(version)
	defer x.Close()
	var err error
	own.Ascend(nil, func(k, v []byte) bool {
		if v == nil {
			err = x.Delete(k)
		} else {
			err = x.Set(k, v)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	s.flushed++
	return x.Commit()
}

// drop forgets the first n changes, which are below by now.
func (s *Store) drop(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held[:n] {
		s.bytes -= c.bytes
	}
	rest := make([]change, len(s.held)-n)
	copy(rest, s.held[n:])
	var all tree.Tree
	for i := range rest {
		all = over(all, rest[i].own)
		rest[i].all = all
	}
	s.held = rest
}
