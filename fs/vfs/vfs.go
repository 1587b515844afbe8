// Package vfs is the drive as a mount's front sees it: files, directories and handles, by inode number. It knows
// no FUSE library, and it keeps no truth of its own: names and attributes come from metadata views at the index
// the coherence rules allow, changes go through the log, bytes go to and come from the peers.
//
// Small requests are what a kernel sends and large ones are what a network wants, so written bytes gather in one
// buffer per file, shared by all its handles, and leave it as a flush: cut at 512-byte blocks, placed on peers as
// extents, then made visible by one Commit. Flushes of a file are placed in parallel and committed in order.
// A flush happens when a file is closed or synced, when a 4 MiB window is full, when memory is short, after a
// second of idleness, and when another mount looks at a file this one has just created (Recall).
//
// Scattered small writes of one window are gathered: they leave as one extent, one Put a replica, and the map names its blocks
// piece by piece, up to 1,024 pieces a Commit. What covers whole blocks needs nothing read before it.
//
// The sum: a 1 MiB WRITE costs one copy into the buffer and no trip; a full window costs one Put a replica and
// one Commit; close of a small file costs one Put and one Commit, and nothing where nothing is dirty. A READ costs one
// local view and, for sequential readers, no trip that read-ahead has not begun before; for scattered ones that come back to a megabyte
// of another peer's again and again, no trip from the 17th time on (heat.go).
//
// A flush is done when its commit is applied; only close, fsync and Recall also wait until it is released. What it wrote lies over
// views that do not have it yet, and over no other (lay.go).
//
// A file this mount created belongs to it until it is closed (its grant): attributes set meanwhile stay here and ride
// on the close's Commit. In a directory that is this mount's alone it stays its own, and close leaves the flush to the background
// (late.go): a tenth of a second later, or when somebody looks. Until then its bytes are in the journal (keep.go).
//
// Extended attributes and ACLs are read like attributes and set by ops of their own (xattr.go).
//
// Locks, outer first; no lock is held across a call to Store, Blocks or Coherence:
//
//	node.turn             a one-slot channel, not a mutex: order of flushes and truncations of one file, held while they run
//	  FS.mu               tables of nodes and handles
//	    node.mu           one file's buffer and state
//	      ahead.mu, grants.mu, locks.mu
//
// sequence.mu (of a handle) is taken before ahead.mu.
//
// late.mu is taken before node.mu; accessed.mu is innermost.
package vfs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/coherence"
	"dfs/fs/delegate/journal"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// Blocks is what the file system asks of the data plane.
type Blocks interface {
	// Write places data, a multiple of blockstore.Size, and returns extents whose Off is relative to data's
	// start and which cover it completely, in order. data remains the caller's. hard: on return it survives a power
	// cut at all peers of the layouts, without a Sync.
	Write(ctx context.Context, data []byte, note blockstore.Note, w placement.Wish, hard bool) ([]extent.Extent, error)
	// Read fills p, s.Bytes() long, with verified blocks. fault.NotExist, fault.Damaged: no valid replica.
	Read(ctx context.Context, s blockstore.Span, l placement.Layout, p []byte) error
	// Sync returns when what lies at these layouts survives a power cut: at all of their peers, or, where some
	// do not answer, at one at least of each layout. whole says that none failed.
	Sync(ctx context.Context, at []placement.Layout) (whole bool, err error)
}

// Coherence says which state an answer may be read from and whether the kernel may keep it.
type Coherence interface {
	// Read runs fn on a view in which obj may be answered now; it waits while the answer is not yet released,
	// and for the lease. valid is how long the kernel may keep the answer (0: not at all).
	Read(ctx context.Context, obj coherence.Object, fn func(meta.View) error) (valid time.Duration, err error)
	// Hold says that a request which holds the lock of dirs in the kernel is in the daemon's hands until end
	// is called: exclusive for those that change names, shared for lookups and listings.
	Hold(exclusive bool, dirs ...meta.Ino) (end func())
	// Clean reports whether nothing about obj is pending or unreleased.
	Clean(obj coherence.Object) bool
}

// Early is implemented by metadata stores that can answer before an op is released. Flushes in the background use
// it: a WRITE must not wait for another kernel's invalidation while its own pages are locked.
type Early interface {
	// ApplyEarly returns once op is committed and applied here.
	ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error)
	// Released returns once the entry at index is released: nil, and at once, if it is already, even if ctx has ended.
	// By then no view that Coherence gives is without the entry.
	Released(ctx context.Context, index uint64) error
}

// Bound is implemented by metadata stores whose mount may be given another session while it lives.
type Bound interface {
	// ApplyUnder is ApplyEarly for an op that rests on what was done in a session. fault.Conflict, and nothing has happened,
	// when that is over and another is open.
	ApplyUnder(ctx context.Context, session uint64, op meta.Op) (meta.Result, error)
}

// Delegation is implemented by metadata stores that know what this mount has to itself (fs/delegate).
type Delegation interface {
	// Alone reports whether this mount has ino to itself.
	Alone(ino meta.Ino) bool
	// Lazy reports whether, besides, closing it need not commit it: whoever else wants to look at it asks first.
	Lazy(ino meta.Ino) bool
	// Settle returns when everything done before is in the log.
	Settle(ctx context.Context) error
	// Ending says that GiveUp of ino follows: nothing more about it is done here.
	Ending(ino meta.Ino)
	// GiveUp ends that ino is this mount's alone, after everything done before.
	GiveUp(ctx context.Context, ino meta.Ino) error
}

// Doubter is implemented by a Coherence whose kernel keeps more than it is told how long to keep.
type Doubter interface {
	// Doubt makes the kernel forget what it knows of an inode's attributes, ACLs included, and not believe replies under way.
	Doubt(ino meta.Ino)
}

// Caller is on whose behalf a request is made.
type Caller struct {
	UID, GID uint32
	Umask    uint32 // what its new files' modes lose, where no default ACL decides
}

// Attr is a file's attributes, and until when they may be kept by the clock Options.Boot; 0: not at all.
type Attr struct {
	Inode meta.Inode
	Until time.Duration
}

// Entry is the meaning of a name. Inode.Ino 0 says that there is no such name, which may be kept until EntryUntil too.
type Entry struct {
	Inode      meta.Inode
	EntryUntil time.Duration
	AttrUntil  time.Duration
}

// Options of a file system. The zero value works.
type Options struct {
	Session uint64         // of this incarnation, until Renew; grants of others are recalled
	Self    cluster.PeerID // extents with a replica here are not read ahead
	Log     *slog.Logger
	Now     func() time.Time     // wall clock of timestamps; default time.Now
	Boot    func() time.Duration // clock of leases; default CLOCK_BOOTTIME

	DirtyBytes int64 // all files' buffers together; default 64 MiB
	FileBytes  int64 // one file's buffer; default half of DirtyBytes
	AheadBytes int64 // read-ahead cache; default 64 MiB
	CloneMin   int64 // from so many on a copy shares blocks: fewer are moved faster than an op is in the log; default 1 MiB

	Idle         time.Duration // a buffer untouched for so long is flushed; default 1 s
	FlushTimeout time.Duration // of one flush, whoever asked for it; default 60 s
	RecallWait   time.Duration // for another mount, which may have a lot to flush, to give up a grant; default FlushTimeout

	// Journal keeps what was closed and not flushed yet. nil: every close flushes.
	Journal *journal.Journal
	// Recall asks the mount that session belongs to to flush ino and to end its grant. nil: nobody to ask.
	Recall func(ctx context.Context, session uint64, ino meta.Ino) error
	// CutOff returns why nothing can be changed now, nil if it can: what asks for a change is then told at once, and
	// nothing is tried in the background. fault.ReadOnly says that reads are answered all the same, from a state that others
	// may have left behind. nil: always connected.
	CutOff func() error
	// Crowded is told of a window of a file, 4 MiB at off, to which this mount has committed more than CrowdMax extents. It must
	// not block, nor call back. nil: nobody is told.
	Crowded  func(ino meta.Ino, off int64)
	CrowdMax int // default 1024

	// Statfs returns the bytes the drive can hold, and of those what can still be written. nil: 1 TiB free.
	Statfs func() (total, free int64)
}

func (o *Options) setDefaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	size := func(n *int64, v int64) {
		if *n == 0 {
			*n = v
		}
	}
	size(&o.DirtyBytes, 64<<20)
	size(&o.FileBytes, o.DirtyBytes/2)
	size(&o.AheadBytes, 64<<20)
	size(&o.CloneMin, 1<<20)
	set(&o.Idle, time.Second)
	set(&o.FlushTimeout, time.Minute)
	set(&o.RecallWait, o.FlushTimeout)
	if o.CrowdMax == 0 {
		o.CrowdMax = 1024
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Boot == nil {
		o.Boot = boottime
	}
	if o.CutOff == nil {
		o.CutOff = func() error { return nil }
	}
}

// FS is one mount's file system. All methods are safe for concurrent use. The kinds of their errors are those of
// the ops they make; besides: fault.Stale for an inode that is gone, fault.Invalid for an unknown handle.
type FS struct {
	store  meta.Store
	early  Early      // nil where the store cannot
	bound  Bound      // nil where the store cannot
	alone  Delegation // likewise
	blocks Blocks
	coh    Coherence
	doubt  Doubter // nil where there is nothing to forget
	o      Options

	session  atomic.Uint64
	dirty    atomic.Int64 // bytes charged to all buffers
	spoilt   atomic.Bool  // written bytes were dropped, which the kernel may still have
	toldRead atomic.Int64 // when a read that failed was last worth a line
	tasks    tasks
	ahead    *ahead
	grants   grants
	recent   recent
	late     late
	here     heres
	locks    locks
	accessed accessed

	mu      sync.Mutex
	nodes   map[meta.Ino]*node
	handles map[Handle]*handle
	last    Handle
}

// New returns a file system on metadata m and blocks b whose answers obey c.
func New(m meta.Store, b Blocks, c Coherence, o Options) *FS {
	o.setDefaults()
	f := &FS{
		store: m, blocks: b, coh: c, o: o,
		nodes:   map[meta.Ino]*node{},
		handles: map[Handle]*handle{},
	}
	f.locks = newLocks()
	f.session.Store(o.Session)
	f.late.kept.Store(uint64(o.Now().UnixNano())) // above those of earlier daemons
	f.early, _ = m.(Early)
	f.bound, _ = m.(Bound)
	f.alone, _ = m.(Delegation)
	f.doubt, _ = c.(Doubter)
	f.ahead = newAhead(b, o.AheadBytes, &f.tasks)
	f.grants.recalled = map[meta.Ino]bool{}
	f.recent.files = map[meta.Ino]volatileAt{}
	return f
}

func (f *FS) now() meta.Time { return meta.Time(f.o.Now().UnixNano()) }

// applied runs op until it is committed and applied here, without waiting for its release where the store can.
func (f *FS) applied(ctx context.Context, op meta.Op) (meta.Result, error) {
	if f.early != nil {
		return f.early.ApplyEarly(ctx, op)
	}
	return f.store.Apply(ctx, op)
}

// newest runs fn on the newest applied state, released or not: for what a Commit validates when it applies.
func (f *FS) newest(fn func(meta.View) error) error {
	v, err := f.store.At(0)
	if err != nil {
		return err
	}
	defer v.Close()
	return fn(v)
}
