package raft

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dfs/blockstore/disk"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft/wal"
	"dfs/net/peer"
	"dfs/net/wire"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Options of a Group. Self, Transport, Machine, Session, Now and Wall are needed, and Dir or Disk.
type Options struct {
	Self      cluster.PeerID
	Cluster   string    // whose log this is; kept in the log's directory, another's is refused
	Dir       string    // directory of the log
	Disk      disk.Disk // instead of Dir
	Transport peer.Transport
	Machine   Machine
	Session   uint64               // of this incarnation of the process; never used before
	Mounted   bool                 // this peer has a mount: it holds a lease, and its kernel's word is waited for
	Bootstrap bool                 // first peer of a new cluster; without effect on a log that has begun
	Now       func() time.Duration // CLOCK_BOOTTIME
	Wall      func() time.Time
	Log       *slog.Logger // default none

	// Lost says that this replica's log was thrown away because it had rotted: see lost.go. Readmit asks the leader to admit
	// this peer again, Members are those who may have a snapshot, and Readmitted is called once Lost is over.
	Lost       bool
	Readmit    func(ctx context.Context) (Admission, error)
	Members    func() []cluster.PeerID
	Readmitted func() error

	Keep         uint64      // entries kept behind the machine's checkpoint for slow followers; default 10,000
	KeepBytes    int64       // and no more than so many bytes of log for their sake; default 256 MiB
	Scarce       func() bool // reports that the disk has no room for that: then as little is kept as the machine needs; nil: never
	SegmentBytes int64       // see wal.Options
	CacheBytes   int64

	// Hooks. All may be nil. OnApplied and OnReset are called from the goroutine that applies, after each entry and
	// after each snapshot. The others are called while the group works, by whoever made it work, and must not wait for the group,
	// nor for a lock that somebody holds who calls the group.
	// OnPrepared is called by the former after the machine has prepared the next entry; OnApplied or OnUnprepared follows. When the kernel
	// has taken in what it would change, call TookEarly.
	OnApplied    func(index uint64)
	OnPrepared   func(id uint64)
	OnUnprepared func()
	OnReset      func(index uint64)
	OnReleased   func(lease.Seen)
	OnLease      func(until time.Duration) // 0: the lease is lost; drop every cache, then call Rejoin
	OnLeader     func(term uint64, leading bool)
	OnNote       func(from cluster.PeerID, note []byte) // on the leader
	OnLapse      func()                                 // on the leader: it has become certain that some peer holds no lease
}

const (
	inboxMax      = 8192 // events from the network that wait; more are dropped, as a network may
	stopTransfer  = time.Second
	transferTries = 3
	compactEvery  = 40 // ticks
)

// Group is one peer's replica of the log, running. Safe for concurrent use.
type Group struct {
	o     Options
	log   *wal.Log
	slots chan struct{} // one for each proposal that is not yet applied here

	inbox    *inbox
	writer   *jobs[writeJob]
	applier  *jobs[applyJob]
	shelf    shelf
	durable  atomic.Uint64 // the machine's checkpoint
	looping  atomic.Bool   // the core runs
	told     uint64        // newest index given to OnApplied; of the goroutine that applies, as are the next two
	begun    uint64        // where the core began
	prepared bool          // the machine has prepared an entry
	alarm    *time.Timer   // for Core.Flush
	alarmed  time.Duration // when it rings; 0 not at all. Of the turn
	closed   chan struct{} // closed when Run has ended

	over chan error // one slot: the loop is to end

	// Of the turn: whoever works for the inbox.
	core     *Core
	now      time.Duration // when the turn began
	leaving  bool
	failed   bool
	waiters  map[uint64]*waiter
	reads    map[uint64]chan uint64
	changes  map[uint64]chan error
	watches  []*watch
	released lease.Seen
	state    lease.State
	until    time.Duration
	term     uint64
	leading  bool

	mu     sync.Mutex
	status Status
}

// Open opens the replica's log. Call it before Transport.Run, then Run. fault.Conflict if the log is another's, or does
// not fit the machine's state: empty the machine and open again. fault.Corrupt if the log has rotted or lost entries;
// fault.Busy if another process has it.
func Open(o Options) (*Group, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Keep == 0 {
		o.Keep = 10_000
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = 256 << 20
	}
	d := o.Disk
	if d == nil {
		d = disk.Dir(o.Dir)
	}
	log, err := wal.Open(d, owner(o.Cluster, o.Self), wal.Options{SegmentBytes: o.SegmentBytes, CacheBytes: o.CacheBytes})
	if err != nil {
		return nil, err
	}
	g := &Group{
		o: o, log: log,
		slots:   make(chan struct{}, WindowMax),
		over:    make(chan error, 1),
		writer:  newJobs[writeJob](),
		applier: newJobs[applyJob](),
		closed:  make(chan struct{}),
		waiters: map[uint64]*waiter{},
		reads:   map[uint64]chan uint64{},
		changes: map[uint64]chan error{},
	}
	g.inbox = newInbox(g.turn)
	if err := g.begin(); err != nil {
		log.Close()
		return nil, err
	}
	o.Transport.Serve(wire.KindRaft, kindLast, g.handle)
	o.Transport.Serve(wire.KindLease, wire.KindLease+15, g.handle)
	return g, nil
}

// owner is what a log says of whose it is.
func owner(cluster string, self cluster.PeerID) string { return cluster + "/" + self.String() }

// OwnerOf returns whose log lies in dir: "" and no peer if there is none, or it does not say. It changes nothing.
func OwnerOf(dir string) (name string, peer cluster.PeerID, err error) {
	id, err := wal.Owner(disk.Dir(dir))
	if err != nil || id == "" {
		return "", cluster.PeerID{}, err
	}
	name, text, _ := strings.Cut(id, "/")
	peer, err = cluster.ParsePeerID(text)
	return name, peer, err
}

// begin makes the core, unless the state must be fetched first.
func (g *Group) begin() (err error) {
	if g.o.Bootstrap && g.log.Last() == 0 {
		entry, conf := Bootstrap(g.o.Self)
		err := g.log.Save(wal.Batch{
			Entries: []wal.Entry{{Index: 1, Term: 1, Kind: uint8(pb.EntryConfChangeV2), Data: entry}},
			Hard:    &wal.Hard{Term: 1, Commit: 1},
			Conf:    &wal.Conf{Index: 1, Data: conf},
		})
		if err != nil {
			return err
		}
	}
	if g.o.Lost || g.stateless() {
		return nil
	}
	if applied, last := g.o.Machine.Applied(), g.log.Last(); applied > last {
		// Only what is synced in the log is applied, so it has been cut short.
		return fault.New("raft open", fault.Corrupt, "the state is that of entry %d, and the log ends at %d", applied, last)
	}
	g.core, err = NewCore(CoreOptions{
		Self: g.o.Self, Session: g.o.Session, Applied: g.o.Machine.Applied(), Mounted: g.o.Mounted,
		Epoch: uint64(g.o.Wall().UnixNano()), Log: g.o.Log,
	}, g.log, g.o.Now())
	return err
}

// stateless reports whether the machine is empty and the log does not reach back to the beginning.
func (g *Group) stateless() bool { return g.o.Machine.Applied() == 0 && g.log.First() > 1 }

// handle takes what other peers send.
func (g *Group) handle(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error) {
	switch kind {
	case kindSnapOpen:
		return g.serveOpen(ctx, from, body)
	case kindSnapNext:
		return g.serveNext(ctx, from, body)
	}
	g.inbox.offer(func() {
		if err := g.core.Receive(g.now, from, kind, body); err != nil {
			g.o.Log.Warn("message refused", "peer", from.Short(), "err", err)
		}
	})
	return nil, nil
}

type waiter struct {
	applied  chan Outcome  // one
	released chan struct{} // closed
	done     bool          // applied has had its outcome; of the turn, as is gone
	gone     bool          // nobody waits any more
}

// Propose brings body into the log. It returns when body is committed, applied here, and released: every mount that
// holds a lease has taken it in. Body must not be changed afterwards.
//
// fault.Timeout, fault.Canceled: ctx ended; the op may still happen. fault.Closed: the group ended, likewise.
// fault.TooBig, fault.Ended: nothing happened.
func (g *Group) Propose(ctx context.Context, body []byte) (index uint64, result []byte, err error) {
	return g.propose(ctx, proposal{body: body, release: true})
}

// ProposeApplied is Propose that does not wait for the release. Nobody may be told of the result who could then look
// for it on another mount. Under is the session it must be proposed in, 0 any: fault.Ended where there is another by now.
func (g *Group) ProposeApplied(ctx context.Context, under uint64, body []byte) (index uint64, result []byte, err error) {
	return g.propose(ctx, proposal{body: body, under: under})
}

// Renew begins another session after this one has ended, with first, which opens it. Proposals under way that are not applied
// yet end with fault.Ended. It returns when first is applied here; if ctx ends before, that still happens by and by.
func (g *Group) Renew(ctx context.Context, session uint64, first []byte) (result []byte, err error) {
	_, result, err = g.propose(ctx, proposal{body: first, renew: session})
	return result, err
}

// proposal is what propose is asked for.
type proposal struct {
	body    []byte
	release bool   // wait for it
	under   uint64 // the session it must be in; 0 any
	renew   uint64 // first begin this session; 0 not
}

func (g *Group) propose(ctx context.Context, p proposal) (uint64, []byte, error) {
	const op = "propose"
	body := p.body
	if len(body) > BodyMax {
		return 0, nil, fault.New(op, fault.TooBig, "%d bytes", len(body))
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, nil, ended(op, ctx)
	case <-g.closed:
		return 0, nil, fault.New(op, fault.Closed, "")
	}
	w := &waiter{applied: make(chan Outcome, 1), released: make(chan struct{})}
	var seq uint64
	g.inbox.post(func() {
		var err error
		if p.renew != 0 {
			g.core.Renew(g.now, p.renew)
		}
		if p.under != 0 && p.under != g.core.o.Session {
			<-g.slots
			w.done = true
			w.applied <- Outcome{Ended: true}
			return
		}
		if seq, err = g.core.Propose(g.now, g.o.Wall().UnixNano(), body); err != nil {
			panic(err) // slots and size were counted before
		}
		g.waiters[seq] = w
	})
	var out Outcome
	select {
	case out = <-w.applied:
	case <-ctx.Done():
		g.abandon(w, &seq)
		return 0, nil, ended(op, ctx)
	case <-g.closed:
		return 0, nil, fault.New(op, fault.Closed, "")
	}
	if out.Ended {
		return 0, nil, fault.New(op, fault.Ended, "")
	}
	if !p.release {
		g.abandon(w, &seq)
		return out.Index, out.Result, nil
	}
	select {
	case <-w.released:
		return out.Index, out.Result, nil
	case <-ctx.Done():
		g.abandon(w, &seq)
		return 0, nil, ended(op, ctx)
	case <-g.closed:
		return 0, nil, fault.New(op, fault.Closed, "")
	}
}

// abandon forgets a waiter. A proposal that is not yet in the log as far as this peer knows is not sent again; it may happen all the
// same. Seq is the turn's to read.
func (g *Group) abandon(w *waiter, seq *uint64) {
	g.inbox.post(func() {
		w.gone = true
		switch {
		case w.done:
			delete(g.waiters, *seq)
			g.core.Forget(*seq)
		case g.core.Withdraw(*seq):
			delete(g.waiters, *seq)
			<-g.slots
		}
	})
}

func ended(op string, ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fault.Because(op, fault.Timeout, ctx.Err())
	}
	return fault.Because(op, fault.Canceled, ctx.Err())
}
