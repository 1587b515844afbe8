// Package delegate lets a mount work alone where it is alone.
//
// A directory belongs to the mount that made it, and so does everything made in it, until another mount looks at it (its
// grant, in the state). Whatever touches nothing but such inodes is carried out here and answered at once; it travels
// to the log in ordered batches, one at a time. Before another mount's look proceeds, the batches are sent and the grant is
// given up, so that nobody can tell the difference, except by taking the power away: a crash of this machine costs what was
// not sent, a second's worth at most, and always the end of what was done, never something in the middle. A daemon that dies costs
// nothing: what was done is in a journal, and the next one goes on with it (Redo). fsync sends what there is and waits.
//
// The ops are meta's own, tried on the newest state with the writes of all unsent ops over it. That is exact for inodes nobody
// else changes: applying the batch later does the same. What is asked about such an inode is answered from there too, needs
// no release, and concerns no other kernel. When a batch is applied its writes are dropped, for the state has them.
//
// An inode is this mount's from the moment the log or a try says so until its end is asked for (ending). An op that also
// touches others' inodes goes through the log as ever, after what it depends on; meanwhile its inodes are
// busy, and ops on them take the same way.
//
// The sum: an op is a try (some 5 reads of the map, 50 us) and its share of a batch: at 500 ops in a batch, a few microseconds
// of messages and syncs. Rule numbers 33 and 34 of the coherence design.
package delegate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"dfs/blockstore/kv"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
)

const (
	batchKeys  = 4096                  // keys that a batch's ops may write, by their own count
	batchBytes = 256 << 10             // of a batch's ops, or of what they write
	batchEvery = 20 * time.Millisecond // an op waits so long for company, unless somebody waits for it
	queueMax   = 16384                 // ops not applied yet; more wait
	bytesMax   = 16 << 20              // of those, likewise
	oldestMax  = time.Second           // age of the oldest op not applied yet at which new ones wait
	idleAfter  = 10 * time.Second      // an inode untouched for so long is given up
	quietAfter = time.Second           // one untouched for so long is given up with another that was asked for
	heldMax    = 1 << 16               // inodes held; beyond it what is made is not held
	reserveLot = 8192                  // inode numbers reserved at once
	registered = 1                     // the number that says in the state that there is a journal; ops come after it
)

// Below is the metadata behind the log.
type Below interface {
	meta.Store
	// ApplyEarly returns once op is committed and applied here.
	ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error)
	// ApplyUnder is ApplyEarly of an op that rests on what was done in a session. fault.Conflict when that has ended.
	ApplyUnder(ctx context.Context, session uint64, op meta.Op) (meta.Result, error)
	// Released returns once the entry at index is released.
	Released(ctx context.Context, index uint64) error
	// Newest returns the newest applied state.
	Newest() (kv.Reader, uint64)
	// Carry is ApplyEarly of a batch that does not give up before ctx ends.
	Carry(ctx context.Context, b meta.Batch) ([]meta.Failure, error)
	// Admit refuses an op for which there is no room on the disks.
	Admit(op meta.Op) error
	// Wait returns nil when done is closed, and an error when this mount has been cut off for too long, or ctx ends.
	Wait(ctx context.Context, done <-chan struct{}) error
}

// Coherence is coherence.Driver.
type Coherence interface {
	Read(ctx context.Context, obj coherence.Object, fn func(meta.View) error) (valid time.Duration, err error)
	Own(ctx context.Context, obj coherence.Object, fn func() error) (valid time.Duration, err error)
	Ready(ctx context.Context) error
	Held() (until time.Duration, ok bool)
	// Doubt makes the kernel forget what it knows of an inode's attributes, replies under way included.
	Doubt(ino meta.Ino)
	// ForgetAll makes it forget all names and attributes.
	ForgetAll()
	Hold(exclusive bool, dirs ...meta.Ino) (end func())
	Clean(obj coherence.Object) bool
}

// Options of a Mount. Session is needed.
type Options struct {
	Session uint64
	Log     *slog.Logger
	Now     func() time.Time
	Journal *journal.Journal // nil: what is not in the log yet ends with the process
	// Refused is told of what was done here and then refused by the log. nil: nobody.
	Refused func(ino meta.Ino, err error)
	Peer    cluster.PeerID // whose the journal is
	// InUse reports whether a file is open, or has bytes that are not committed. nil: never.
	InUse func(meta.Ino) bool
}

// Mount is one mount's delegations: its metadata (meta.Store) and its coherence, as fs/vfs uses them. Safe for concurrent use.
type Mount struct {
	below Below
	coh   Coherence
	o     Options

	mu      sync.Mutex
	session uint64 // that proposes; Options.Session names the journal, and numbers
	held    map[meta.Ino]*held
	busy    map[meta.Ino]int    // ops on their way through the log
	writes  meta.Writes         // of the ops that are not applied yet
	wrote   map[string]uint64   // the newest op that wrote a key of writes
	touched map[meta.Ino]uint64 // the newest op that is not applied yet, by inode
	queue   []queued            // ops to be sent, in order
	bytes   int                 // of ops that are not applied yet
	last    uint64              // newest op
	applied uint64              // all up to it are in the state
	oldest  time.Time           // when the oldest op that is not applied yet was done
	moved   chan struct{}       // closed and replaced when applied grows
	failed  error               // of the newest op that was done here and then refused by the log
	failure uint64              // number of that op
	free    meta.Ino            // reserved inode numbers: [free, end)
	end     meta.Ino
	begun   []uint64

	newsMu sync.Mutex
	news   []meta.Change // applied, and not heard by lock yet; guarded by newsMu

	work   chan struct{} // one slot: there is something to send
	urgent chan struct{} // one slot: somebody waits for it
}

// held is an inode that this mount has to itself.
type held struct {
	typ    meta.Type // 0: not known yet
	lazy   bool      // made in a directory that was held: closing it need not commit
	sure   bool      // the state says so too
	ending bool      // it is being given up
	kept   bool      // the kernel may keep its attributes, as they were after the newest op
	made   uint64    // the op that made it; 0 not one of those not applied yet
	at     time.Time
}

type queued struct {
	n      uint64
	op     meta.Op
	bytes  int
	at     time.Time
	keys   []string
	inos   []meta.Ino
	ticket journal.Ticket
}

// New returns a mount's delegations over below and coh.
func New(below Below, coh Coherence, o Options) *Mount {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Mount{
		below: below, coh: coh, o: o,
		moved: make(chan struct{}),
		work:  make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		session: o.Session,
		last:    registered, applied: registered,
	}
	m.clear()
	return m
}

func (m *Mount) clear() {
	m.held, m.busy = map[meta.Ino]*held{}, map[meta.Ino]int{}
	m.writes, m.wrote, m.touched = meta.Writes{}, map[string]uint64{}, map[meta.Ino]uint64{}
}

// Applied takes what a log entry changed, in order, after its state has become readable. It waits for nobody: mu is held while ops
// are tried and the journal is written, and the log must not stand still meanwhile.
func (m *Mount) Applied(c meta.Change) {
	if len(c.Granted)+len(c.Ended)+len(c.Gone) == 0 {
		return
	}
	c = meta.Change{Session: c.Session, Granted: slices.Clone(c.Granted), Ended: slices.Clone(c.Ended), Gone: slices.Clone(c.Gone)}
	m.newsMu.Lock()
	defer m.newsMu.Unlock()
	m.news = append(m.news, c)
}

// lock locks mu, and hears of everything that was applied before.
func (m *Mount) lock() {
	m.mu.Lock()
	m.newsMu.Lock()
	news := m.news
	m.news = nil
	m.newsMu.Unlock()
	for _, c := range news {
		m.hear(c)
	}
}

func (m *Mount) hear(c meta.Change) {
	if c.Session == m.session {
		now := m.o.Now()
		for _, ino := range c.Granted {
			if m.held[ino] == nil {
				m.held[ino] = &held{at: now}
			}
			m.held[ino].sure = true
		}
	}
	for _, ino := range c.Ended {
		delete(m.held, ino)
	}
	for _, ino := range c.Gone {
		delete(m.held, ino)
	}
}

// Reset says that the state was replaced by a snapshot's: what this mount has to itself is what that says.
func (m *Mount) Reset() error {
	m.lock()
	session := m.session
	m.mu.Unlock()
	r, index := m.below.Newest()
	v := meta.NewView(r, index)
	defer v.Close()
	inos, err := meta.GrantsOf(r, session)
	if err != nil {
		return err
	}
	m.lock()
	defer m.mu.Unlock()
	now, old := m.o.Now(), m.held
	m.held = map[meta.Ino]*held{}
	for _, ino := range inos {
		h := old[ino]
		if h == nil {
			h = &held{at: now}
		}
		h.sure = true
		m.held[ino] = h
	}
	for ino, h := range old {
		if m.touched[ino] == 0 || m.held[ino] != nil {
			continue
		}
		if _, err := v.Stat(ino); errors.Is(err, fault.NotExist) { // made here, and not in the log yet
			h.sure = false
			m.held[ino] = h
		}
	}
	return nil
}

// Begin says in the state that there is a journal for session: until End, or Redo by a later daemon, what was placed in its name is
// not swept. Call it before the first op, and with every session that Renew brings.
func (m *Mount) Begin(ctx context.Context, session uint64) error {
	_, err := m.below.Carry(ctx, meta.Batch{For: session, Upto: registered, Peer: m.o.Peer})
	if err != nil {
		return err
	}
	m.lock()
	defer m.mu.Unlock()
	m.begun = append(m.begun, session)
	return nil
}

// Begun reports whether Begin has said so of session.
func (m *Mount) Begun(session uint64) bool {
	m.lock()
	defer m.mu.Unlock()
	return slices.Contains(m.begun, session)
}

// End takes back what Begin said, once everything done here is in the log and nothing in the journal counts any more.
func (m *Mount) End(ctx context.Context) error {
	m.lock()
	begun, left := m.begun, m.last-m.applied
	m.mu.Unlock()
	if left > 0 || m.o.Journal != nil && m.o.Journal.Open() > 0 {
		return nil
	}
	for _, s := range begun {
		if _, err := m.below.Carry(ctx, meta.Batch{For: s}); err != nil {
			return err
		}
	}
	return nil
}

// Renew says that this mount has another session: the one before was ended, and nothing is this mount's alone any more. What was
// done and not sent is sent all the same.
func (m *Mount) Renew(session uint64) {
	m.lock()
	defer m.mu.Unlock()
	m.session, m.held = session, map[meta.Ino]*held{}
}

// Alone reports whether this mount has ino to itself.
func (m *Mount) Alone(ino meta.Ino) bool {
	m.lock()
	defer m.mu.Unlock()
	return m.alone(ino)
}

func (m *Mount) alone(ino meta.Ino) bool {
	h := m.held[ino]
	return h != nil && !h.ending
}

// Lazy reports whether ino was made here, in a directory that was this mount's alone, and still is: closing it need not commit.
func (m *Mount) Lazy(ino meta.Ino) bool {
	m.lock()
	defer m.mu.Unlock()
	return m.alone(ino) && m.held[ino].lazy && m.leased()
}

// leased reports whether the mount may answer now.
func (m *Mount) leased() bool {
	_, ok := m.coh.Held()
	return ok
}

// Ending says that ino is about to be given up: from now on nothing about it is done here. GiveUp follows.
func (m *Mount) Ending(ino meta.Ino) {
	m.lock()
	defer m.mu.Unlock()
	if h := m.held[ino]; h != nil {
		h.ending = true
	}
}

// Status is the delegations in numbers.
type Status struct {
	Held  int // inodes
	Queue int // ops that are not applied yet
}

// Status returns them.
func (m *Mount) Status() Status {
	m.lock()
	defer m.mu.Unlock()
	return Status{Held: len(m.held), Queue: int(m.last - m.applied)}
}
