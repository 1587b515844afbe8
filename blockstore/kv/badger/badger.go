// Package badger is the kv.Store on disk: badger in managed mode, where a version is a log index.
//
// The log is what is durable; this map is never synced for an apply. It survives a crash of the process whole. A
// crash of the machine leaves only what was flushed to tables, which is a prefix of the versions: Durable says
// which, and the log is replayed from there. DESIGN.md has the reasoning and where it was read.
//
// On paper: a commit is one copy into a memory-mapped log and one insertion a key into a skip list, no sync; a
// Get is a few binary searches over mapped pages. Memory: a memtable is an arena of about 1.3 times
// Options.MemtableBytes, at most 3 at once (one written, one waiting, one being flushed); tables are mapped and
// belong to the page cache; there is no block cache.
//
// Layout of a directory: LOCK; BOOT while the store is open, or was when the machine or process stopped; one
// numbered directory with badger's files, a new one after each Wipe.
package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	bdg "github.com/dgraph-io/badger/v4"

	"dfs/blockstore/dirlock"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv"
	"dfs/cluster/fault"
)

// Options of a store. The zero value works.
type Options struct {
	Log *slog.Logger // nil: silent

	// MemtableBytes is the size of one memtable; default 16 MiB. A transaction may take 15 % of it (2.4 MiB), keys
	// and values and some 20 bytes a pair together; a larger one is fault.TooBig. Memory grows with it.
	MemtableBytes int64

	// BootID names the run of the machine's kernel and the mount; "" asks the system. Where neither knows, every unclean
	// stop is taken for a crash of the machine.
	BootID string

	// Free returns the bytes left on the disk; a commit that finds fewer than Spare is fault.NoSpace, and nothing has
	// happened. Badger writes into maps of sparse files, where a disk that is really full kills the process. nil: not asked.
	Free  func() (int64, error)
	Spare int64
}

// Store is a kv.Store in a directory.
type Store struct {
	dir     string
	options Options
	lock    *dirlock.Lock

	mu      sync.Mutex
	gen     *generation // nil once closed
	newest  uint64
	floor   uint64 // as the caller said
	durable uint64
	broken  error // a commit or a flush failed: no more of them
}

var _ kv.Store = (*Store)(nil)

// generation is one badger database, from an opening or Wipe to the next. It is closed when neither the store nor a
// reader needs it. The store's mu guards its fields.
type generation struct {
	db      *bdg.DB
	log     *logger
	dir     string
	refs    int            // the store's, and one a reader
	readers map[uint64]int // open readers by version
	wiped   bool           // remove the directory when closed
}

// Open opens the store in dir, creating it if missing. fault.Busy when it is open already, fault.Corrupt when what
// is there cannot be trusted: Discard it and rebuild. Every table is read and verified, at the disk's speed. Badger's
// own goroutines run until Close.
func Open(dir string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = 16 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap("kv open", err)
	}
	if o.BootID == "" {
		o.BootID = disk.BootID(dir)
	}
	lock, err := dirlock.Acquire(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, options: o, lock: lock}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return s, nil
}

func (s *Store) open() error {
	current, err := s.pickGeneration()
	if err != nil {
		return err
	}
	if err := s.dropUnsynced(current); err != nil {
		return err
	}
	if err := s.markOpen(); err != nil {
		return err
	}
	s.gen, err = openGeneration(current, s.options)
	if err != nil {
		return err
	}
	s.newest = s.gen.db.MaxVersion()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durableLocked()
	return nil
}

// pickGeneration returns the directory to use, having removed older ones: the highest number, since a Wipe that was
// interrupted was wanted.
func (s *Store) pickGeneration() (string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", fault.Wrap("kv open", err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return s.numbered(1), nil
	}
	slices.Sort(numbers)
	last := len(numbers) - 1
	for _, n := range numbers[:last] {
		if err := os.RemoveAll(s.numbered(n)); err != nil {
			return "", fault.Wrap("kv open", err)
		}
	}
	return s.numbered(numbers[last]), nil
}

func (s *Store) numbered(n int) string { return filepath.Join(s.dir, fmt.Sprintf("%06d", n)) }

func openGeneration(dir string, o Options) (gen *generation, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap("kv open", err)
	}
	log := &logger{log: o.Log, stuck: make(chan struct{})}
	// Badger reports some damage to its files by panicking.
	defer func() {
		if r := recover(); r != nil {
			err = fault.New("kv open", fault.Corrupt, "%s: %v", dir, r)
		}
	}()
	db, err := bdg.OpenManaged(tuned(dir, o.MemtableBytes, log))
	if err != nil {
		return nil, fault.Because("kv open", kindOf(err), err)
	}
	if log.lostTable.Load() {
		db.Close()
		return nil, fault.New("kv open", fault.Corrupt, "%s: a table is damaged", dir)
	}
	return &generation{db: db, log: log, dir: dir, refs: 1, readers: map[uint64]int{}}, nil
}

func (s *Store) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

func (s *Store) SetFloor(v uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = max(s.floor, v)
	s.applyFloorLocked()
}

// applyFloorLocked tells badger below which version it need keep only the newest of each key: the caller's floor,
// held back by open readers and by what is committed.
func (s *Store) applyFloorLocked() {
	if s.gen == nil {
		return
	}
	floor := min(s.floor, s.newest)
	for v := range maps.Keys(s.gen.readers) {
		floor = min(floor, v)
	}
	s.gen.db.SetDiscardTs(floor)
}

// Durable costs a walk over the tables, some microseconds, and a sync of the directory when it has risen.
func (s *Store) Durable() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durableLocked()
}

func (s *Store) durableLocked() uint64 {
	if s.gen == nil || s.durable == s.newest {
		return s.durable
	}
	flushed := s.durable
	for _, t := range s.gen.db.Tables() {
		flushed = max(flushed, t.MaxVersion)
	}
	if flushed == s.durable {
		return s.durable
	}
	// A table's bytes and its line in the manifest are synced by badger, its name in the directory is not.
	if err := syncDir(s.gen.dir); err != nil {
		s.options.Log.Error("kv: directory sync", "err", err)
		return s.durable
	}
	s.durable = flushed
	return flushed
}

// Verify reads everything that is on disk and checks its sums: for scrub. fault.Corrupt means that the store should be
// closed, discarded and rebuilt.
func (s *Store) Verify() error {
	r := s.At(0) // holds the generation
	defer r.Close()
	gen := r.(*reader).gen
	if gen == nil {
		return fault.New("kv verify", fault.Closed, "%s", s.dir)
	}
	if err := gen.db.VerifyChecksum(); err != nil {
		return fault.Because("kv verify", kindOf(err), err)
	}
	return nil
}

// Wipe makes a new, empty database the current one. Readers of the old one may go on until they are closed.
func (s *Store) Wipe() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen == nil {
		return fault.New("kv wipe", fault.Closed, "%s", s.dir)
	}
	n, err := strconv.Atoi(filepath.Base(s.gen.dir))
	if err != nil {
		return fault.Because("kv wipe", fault.Corrupt, err)
	}
	next, err := openGeneration(s.numbered(n+1), s.options)
	if err != nil {
		return err
	}
	if err := errors.Join(syncDir(next.dir), syncDir(s.dir)); err != nil {
		return errors.Join(fault.Wrap("kv wipe", err), next.db.Close())
	}
	old := s.gen
	old.wiped = true
	s.gen, s.newest, s.floor, s.durable, s.broken = next, 0, 0, 0, nil
	return s.releaseLocked(old)
}

// Close flushes everything to tables, so that the next opening starts at once. With readers still open the files
// are closed when the last of them is. A store that has failed is left as a crash would leave it: badger goes on trying to
// write for as long as the process lives.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen == nil {
		return nil
	}
	gen := s.gen
	s.gen = nil
	return s.releaseLocked(gen)
}

// releaseLocked gives up one reference of gen. Disk work under the lock is fine here: it happens at the end of a
// store's or a wiped generation's life.
func (s *Store) releaseLocked(gen *generation) error {
	gen.refs--
	if gen.refs > 0 {
		return nil
	}
	var err error
	failed := s.brokenLocked(gen) != nil
	if !failed {
		err = fault.Wrap("kv close", gen.close())
	}
	if gen.wiped {
		return errors.Join(err, fault.Wrap("kv wipe", os.RemoveAll(gen.dir)))
	}
	if err == nil && !failed {
		err = s.markClosed()
	}
	return errors.Join(err, s.lock.Release())
}

// close returns when everything is in tables, or when it is known that they cannot be written: badger would try for ever.
func (gen *generation) close() error {
	closed := make(chan error, 1)
	go func() { closed <- gen.db.Close() }() // left behind where it does not end, as badger's own goroutines are
	select {
	case err := <-closed:
		return err
	case <-gen.log.stuck:
		return gen.log.flushed()
	}
}

// Discard removes the store in dir, so that Open makes an empty one. fault.Busy while it is open.
func Discard(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := dirlock.Acquire(dir)
	if err != nil {
		return err
	}
	aside := dir + ".discarded"
	err = errors.Join(os.RemoveAll(aside), lock.Release())
	if err == nil {
		err = os.Rename(dir, aside) // all of it goes at once, whenever the machine stops
	}
	if err == nil {
		err = os.RemoveAll(aside)
	}
	return fault.Wrap("kv discard", err)
}
