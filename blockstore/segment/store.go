// Package segment keeps extents on a peer's disk: append-only files, and an index that says where everything is.
//
// # The stream
//
// All segments together are one stream of records, in the order of their numbers; nothing in it is ever changed. A
// record is a put (a whole extent), a move (an extent that compaction copied, without its dead blocks) or a tombstone
// (blocks that were deleted). Records start at multiples of 64 bytes:
//
//	128 bytes  header: magic, kind, segment, offset, sequence, cluster, extent, inode, file offset, session, time,
//	           blocks, blocks held, runs, key, from, sum of the runs and sums, sum of the header (record.go)
//	  8 a run  which blocks the record is about; none: all of them
//	  4 a block  sums of the blocks held
//	           zeros up to a multiple of 64
//	512 a block  the blocks held
//
// Behind the last record there may be zeros (disk.Ahead) until its segment ends.
//
// # The index
//
// A kv.Store maps each extent to its record and its dead blocks, and says up to which position of the stream it is
// complete. It is written only after the stream was synced up to there, so it never knows more than the disk holds;
// what is newer waits in memory (at most 8,192 changed extents, then Put syncs). Somebody's Sync does not wait for it: the
// index follows every second, when 2,048 extents have changed, and before compaction takes a file away. Opening replays the stream from the
// index's position: nothing after a clean stop, the last second after a kill, what badger had not flushed after a
// power cut, all of it when the index was lost. A record that was torn is left out; every other one counts, wherever
// it lies, since only what was never synced can be torn. Opening then counts the index once, about a million
// extents a second.
//
// # Space
//
// A segment whose live share is below half (nine tenths when the store is nearly full) is compacted: its live blocks
// are appended to the stream, that is synced, and only then the file goes. One at a time, and one that was
// interrupted first, because only that one can hold records that tombstones elsewhere no longer speak of.
//
// # On paper
//
// A put of 4 MiB: 8192 sums of 512 bytes (0.2 ms), one gathered write (1-2 ms), no copy of the data, no sync; the disk begins
// with it at once, and the system's memory of what came 64 MiB before is given up. A put of 4 KiB: one write of 4.3 KiB,
// about 5 us; one that is synced at once finds its room written with zeros before, so that its sync is one write of the disk.
// A get of 4 KiB: one index look-up, in memory for extents read lately, and one read, whether the sums are
// cached (8 MiB of them) or the record is small enough to be read whole (64 KiB); a large extent that small reads come
// back to is read ahead as a whole, by Run. A sync: one fdatasync for all who wait; once a second an index transaction.
//
// # Locks
//
//	appendMu     the order of the stream; held over the write, because that order is what replay follows
//	  mu         everything in memory; never held over the disk
//
// Get takes mu for a moment and reads the disk without a lock: segments are counted and go when unused.
package segment

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv"
	"dfs/blockstore/kv/badger"
	"dfs/cluster/fault"
)

// Options of a store. The zero value works.
type Options struct {
	// Store, unless zero, is the id the directory must carry: a new disk mounted there is refused, not filled.
	// Cluster is written into a new store and must match an old one, unless zero.
	Store, Cluster [16]byte

	// Owner is one line that says whose store this is, for people and for Open: another's is refused. "" does not ask.
	Owner string

	// Capacity is the most bytes the segments may take; 0 is unlimited. Two segments' worth of it is kept for deletes
	// and compaction.
	Capacity int64

	// Free returns the bytes left on the disk, and Reserve says how many of them puts leave for others: a log and
	// its state lie there too, and must go on, so that what fills the disk can be deleted. nil: not asked.
	Free    func() (int64, error)
	Reserve int64

	// Spare is how many of them the index leaves: what it has not been told waits in memory, and in the stream.
	Spare int64

	// SegmentBytes is where a segment ends and the next begins; default a thousandth of Capacity, but 64 MiB to 1 GiB;
	// at most a sixteenth of Capacity. Small ones compact in smaller steps, large ones need fewer descriptors (one each).
	SegmentBytes int64

	SyncEvery    time.Duration // how long Run lets a change wait for its sync; default 1 s
	CompactBytes int64         // bytes a second that compaction may copy; default 64 MiB
	SumsBytes    int64         // memory for cached sums; default 8 MiB

	// OnBad is told of an extent that compaction found rotten: Examine says what of it. It must not block, nor call the
	// store.
	OnBad func(blockstore.ID)

	// OnIndex is told, perhaps often, that a read of the index has met what cannot be right: close the store and open it
	// again. It must not block, nor call the store.
	OnIndex func(error)

	Disk disk.Disk // default: the files in the directory
	KV   kv.Store  // the index; default: badger in the directory's index folder

	Log   *slog.Logger                         // default: silent
	Rand  io.Reader                            // of a new store's id; default crypto/rand
	After func(time.Duration) <-chan time.Time // Run's clock; default time.After
}

func (o Options) filled() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(max(o.Capacity/1024, 64<<20), 1<<30)
	}
	if o.Capacity > 0 {
		o.SegmentBytes = max(min(o.SegmentBytes, o.Capacity/16), 1<<16)
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = time.Second
	}
	if o.CompactBytes == 0 {
		o.CompactBytes = 64 << 20
	}
	if o.SumsBytes == 0 {
		o.SumsBytes = 8 << 20
	}
	if o.OnBad == nil {
		o.OnBad = func(blockstore.ID) {}
	}
	if o.OnIndex == nil {
		o.OnIndex = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.After == nil {
		o.After = time.After
	}
	return o
}

// Store is a blockstore.Store on disk. Run must be running for syncs in the background and for compaction; without
// it everything else works.
type Store struct {
	o     Options
	id    Identity
	disk  disk.Disk
	lock  io.Closer // nil while there is none
	index kv.Store
	sums  *sumCache
	heat  *heat
	hot   chan hotRecord

	appendMu sync.Mutex // see the package comment
	behind   behind
	mu       sync.Mutex

	segments map[uint64]*segment
	active   *segment // the last one; nil until the first append
	seq      uint64   // of the last record; also what Mark returns
	pending  changes  // since the last sync began
	flushing changes  // on their way into the index
	entries  entryCache
	mended   bool   // opening has changed the last segment
	victim   uint64 // being compacted, or interrupted in it; 0 none
	doomed   uint64 // emptied, but its file could not be removed yet; 0 none
	disk0    int64  // bytes of all segments
	live0    int64  // bytes of all live blocks
	unsynced int64  // bytes appended since the last sync began

	syncing chan struct{} // closed when the sync under way ends; nil: none is
	synced  uint64        // highest seq that is safe
	indexed uint64        // highest seq that the index has; never above synced
	failed  error         // fault.ReadOnly once a sync has failed; fault.Closed once closed
	kick    chan struct{} // wakes compaction
}

// segment is one file of the stream. mu guards all fields but number, file and ahead.
type segment struct {
	number uint64
	file   disk.File
	size   int64         // where the next record goes, or the last one ended
	live   int64         // bytes of blocks that the index says are live here
	refs   int           // users of file, the store being one
	ahead  disk.Ahead    // of appendMu
	stuck  bool          // compaction met something it could not read: leave it alone
	idle   chan struct{} // closed by the last release of a segment that is being retired; else nil
}

// position is a place in the stream.
type position struct {
	segment uint64
	offset  int64
	seq     uint64 // of the last record before it
}

const (
	maxPending  = 8192      // changed extents not yet in the index
	maxUnsynced = 256 << 20 // bytes not yet synced
	chunkBytes  = 8 << 20   // about the most one write takes
	chunkParts  = 512       // and the most pieces
)

var (
	_ blockstore.Store  = (*Store)(nil)
	_ blockstore.Lister = (*Store)(nil)
	_ blockstore.Sizer  = (*Store)(nil)
	_ blockstore.Raw    = (*Store)(nil)
	_ blockstore.Hard   = (*Store)(nil)
)

// Open opens the store in dir, or makes one in an empty or missing dir. fault.Busy when it is open already,
// fault.Conflict when dir belongs to another store or cluster or has lost its identity: nothing is changed then.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{o: o.filled(), segments: map[uint64]*segment{}, kick: make(chan struct{}, 1),
		pending: changes{}, flushing: changes{}}
	s.sums, s.heat = newSumCache(s.o.SumsBytes), newHeat()
	s.hot = make(chan hotRecord, hotQueue)
	if err := s.open(dir); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

func (s *Store) open(dir string) (err error) {
	if s.disk = s.o.Disk; s.disk == nil {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && s.o.Store != [16]byte{} {
			return fault.New("segment open", fault.Conflict, "store %x is not here: %s is missing", s.o.Store, dir)
		}
		s.disk = disk.Dir(dir)
	}
	if s.lock, err = s.disk.Lock(); err != nil {
		return disk.Error("segment open", err)
	}
	if s.id, err = identify(s.disk, s.o); err != nil {
		return err
	}
	if s.index = s.o.KV; s.index == nil {
		if s.index, err = openIndex(filepath.Join(dir, "index"), s.o); err != nil {
			return err
		}
	}
	return s.recover()
}

// openIndex opens badger's directory; an index that cannot be trusted is thrown away, the segments have everything.
func openIndex(dir string, so Options) (kv.Store, error) {
	log := so.Log
	o := badger.Options{Log: log, MemtableBytes: indexMemtable, Free: so.Free, Spare: so.Spare}
	index, err := badger.Open(dir, o)
	if errors.Is(err, fault.Corrupt) {
		log.Warn("segment: the index is damaged and will be rebuilt", "err", err)
		if err = badger.Discard(dir); err == nil {
			index, err = badger.Open(dir, o)
		}
	}
	if err != nil {
		return nil, err
	}
	return index, nil
}

// Identity returns the ids the directory carries.
func (s *Store) Identity() Identity { return s.id }

// Mark returns a number for everything put or deleted before this moment.
func (s *Store) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// SyncedThrough returns the highest Mark whose changes survive a crash of the machine.
func (s *Store) SyncedThrough() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

func (s *Store) Usage() blockstore.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return blockstore.Usage{Live: s.live0, Disk: s.disk0, Capacity: s.o.Capacity}
}

// Close syncs and closes. Run must have returned; other calls then fail with fault.Closed.
func (s *Store) Close() error {
	err := s.checkpoint(context.Background())
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.Lock()
	if errors.Is(s.failed, fault.Closed) {
		s.mu.Unlock()
		return nil
	}
	s.failed = fault.New("segment", fault.Closed, "store is closed")
	s.mu.Unlock()
	if seg := s.active; seg != nil {
		err = errors.Join(err, disk.Error("segment close", seg.ahead.Trim(seg.file, seg.size)))
	}
	return errors.Join(err, s.closeFiles())
}

func (s *Store) closeFiles() error {
	var errs []error
	s.mu.Lock()
	segments := s.segments
	s.segments = map[uint64]*segment{}
	s.mu.Unlock()
	for _, seg := range segments {
		errs = append(errs, s.release(seg))
	}
	if s.index != nil && s.o.KV == nil {
		errs = append(errs, s.index.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return fault.Wrap("segment close", errors.Join(errs...))
}

// acquire returns the segment with a reference, or nil when it is gone.
func (s *Store) acquire(number uint64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[number]
	if seg != nil {
		seg.refs++
	}
	return seg
}

// release gives a reference back; the last one closes the file, or lets retire do so.
func (s *Store) release(seg *segment) error {
	s.mu.Lock()
	seg.refs--
	last, idle := seg.refs == 0, seg.idle
	s.mu.Unlock()
	switch {
	case !last:
		return nil
	case idle != nil:
		close(idle)
		return nil
	}
	return seg.file.Close()
}

// Failed returns why the store takes no changes any more, nil while it does: a sync has failed. What is there can still be
// read, as far as the disk gives it.
func (s *Store) Failed() error {
	if err := s.usable(); fault.KindOf(err) != fault.Closed {
		return err
	}
	return nil
}

// usable returns why the store takes no changes, or nil.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// fail makes the store read-only for ever.
func (s *Store) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = &fault.Error{Op: "segment", Kind: fault.ReadOnly, Detail: "the disk has failed", Err: cause}
		s.o.Log.Error("segment: the store is read-only from now on", "err", cause)
	}
	return s.failed
}
