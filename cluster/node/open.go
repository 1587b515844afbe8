package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/gather"
	"dfs/blockstore/pool"
	"dfs/blockstore/remote"
	"dfs/blockstore/segment"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/gossip"
	"dfs/cluster/identity"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/coherence"
	"dfs/fs/delegate"
	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
	"dfs/fs/repair"
	"dfs/fs/vfs"
	"dfs/net/peer"
	"dfs/net/wire"
	"dfs/sched/plane"
)

// Node is one peer. Open makes it, Run runs it; the admin methods may be called from Open on.
type Node struct {
	cfg     Config
	log     *slog.Logger
	id      *identity.Identity
	ca      *identity.CA // of a cluster this peer is about to create; else nil
	session incarnation
	nonce   [8]byte // of this start

	net      *peer.Net
	kv       *badger.Store
	state    *gather.Store // over kv
	machine  *state.Machine
	group    *raft.Group
	store    *store
	plane    *planeEnd
	reached  *reached // what is applied here
	blocks   *segment.Store
	pool     *pool.Pool
	gossip   *gossip.Gossip
	roster   *roster
	driver   *coherence.Driver
	fs       *vfs.FS         // nil without a mount
	alone    *delegate.Mount // likewise
	journal  *journal.Journal
	undone   []journal.Left // by this peer's earlier daemons, until it is redone
	keeper   *repair.Keeper
	dropper  repair.Dropper
	sweeper  repair.Sweeper
	healer   *repair.Healer
	tellers  *tellers
	scrubber *repair.Scrubber
	events   events

	started    atomic.Bool // serving
	ending     atomic.Bool // has been serving
	logLost    atomic.Bool // the log was thrown away, and this peer is not admitted again yet
	unmounted  atomic.Bool // while serving
	labelled   atomic.Bool // the mount is marked read-only
	toldCutOff bool        // that this peer is cut off; of the own chores
	leading    atomic.Bool
	lapsed     chan struct{}                // capacity 1: some mount is certain to hold no lease
	absent     map[cluster.PeerID]time.Time // voters that are away, and since when; of the leader's chores
	unledSince map[cluster.PeerID]time.Time // members that others hear and this leader does not; of the leader's chores
	raising    atomic.Bool                  // copies are being made
	leaving    atomic.Bool                  // its own Leave is under way, or over
	synced     atomic.Uint64
	gathered   atomic.Int64 // bytes defragmented here
	crowds     chan crowd
	dropped    atomic.Uint64
	looked     bool                   // at what a stopped block store still gives back; of its own chores
	onlyHere   atomic.Bool            // some of what a stopped block store had not synced is nowhere else
	troubled   string                 // what was last said of this peer; of its own chores
	entry      []meta.Change          // of the entry being applied; only on the applying goroutine
	admitted   bool                   // the state has said that this peer is a member; likewise
	book       []byte                 // as it was written last; of the peer's own chores
	places     map[string]fs.FileInfo // what the data directory's parts were; of the goroutine that guards them
	gone       chan struct{}          // closed when it says that it is one no more

	mu       sync.Mutex
	words    map[cluster.PeerID]repair.Word // what peers said in this term; on the leader
	spoke    map[uint64]time.Time           // when each session last did
	ledSince time.Time
	remotes  map[cluster.PeerID]blockstore.Store
	fail     context.CancelCauseFunc         // ends Run; nil before
	readmits map[cluster.PeerID]*readmission // on the leader
	server   front
}

// Open opens what the data directory holds, or makes it: a place in the cluster the token names, or a cluster of its own. It
// listens when it returns, and serves once Run runs.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		cfg: cfg, log: cfg.Log,
		words:    map[cluster.PeerID]repair.Word{},
		crowds:   make(chan crowd, crowdQueue),
		remotes:  map[cluster.PeerID]blockstore.Store{},
		lapsed:   make(chan struct{}, 1),
		gone:     make(chan struct{}),
		places:   map[string]fs.FileInfo{},
		readmits: map[cluster.PeerID]*readmission{},
	}
	if err := n.open(ctx); err != nil {
		return nil, n.diskFailed(errors.Join(err, n.abandon()))
	}
	return n, nil
}

// abandon gives back what an Open that failed has taken: the log and the listener end with their Run.
func (n *Node) abandon() error {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var errs []error
	if n.group != nil {
		errs = append(errs, n.group.Run(over))
	}
	if n.net != nil {
		errs = append(errs, n.net.Run(over))
	}
	return errors.Join(append(errs, n.close())...)
}

func (n *Node) open(ctx context.Context) error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return fault.Because("data directory", fault.Permission, err)
	}
	if err := n.canMount(); err != nil {
		return err
	}
	var err error
	if n.cfg.Capacity == 0 {
		if n.cfg.Capacity, err = n.offer(); err != nil {
			return err
		}
	}
	known, err := n.identify(ctx)
	if err != nil {
		return err
	}
	if len(known) == 0 {
		known = n.readBook()
	}
	n.roster = newRoster(n.id.ID(), known)
	if err := n.keepBook(); err != nil {
		n.log.Warn("the members are not remembered", "err", err)
	}
	n.net.Serve(wire.KindRecall, wire.KindRecall, n.serveRecall)
	if err := n.checkParts(); err != nil {
		return err
	}
	if err := n.openState(); err != nil {
		return err
	}
	if err := n.openBlocks(); err != nil {
		return err
	}
	if n.ca == nil { // a cluster that is being created is nobody's yet
		if err := n.markParts(); err != nil {
			return err
		}
	}
	return n.openGossip()
}

// dir returns a place in the data directory.
func (n *Node) dir(name string) string { return filepath.Join(n.cfg.Data, name) }

// openState opens the log and the state behind it. A state that does not fit the log is made anew from it.
func (n *Node) openState() error {
	n.session.id.Store(randomSession())
	rand.Read(n.nonce[:])
	if err := n.readLost(); err != nil {
		return err
	}
	if err := n.hasRoom(); err != nil {
		return err
	}
	err := n.openLog()
	var rot *rottenLog
	if errors.As(err, &rot) {
		if err := n.loseLog(rot.error); err != nil {
			return err
		}
		if err := n.kv.Close(); err != nil {
			return err
		}
		err = n.openLog()
	}
	var strange *misfit
	if errors.As(err, &strange) {
		return err
	}
	if err == nil || !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Corrupt) {
		return err
	}
	if n.kv == nil { // the state did not even open
		if derr := badger.Discard(n.dir("state")); derr != nil {
			return errors.Join(err, derr)
		}
	} else if werr := errors.Join(n.state.Wipe(), n.state.Close()); werr != nil {
		return errors.Join(err, werr)
	}
	n.kv, n.state = nil, nil
	n.log.Warn("the state does not fit the log and is rebuilt", "err", err)
	return n.openLog()
}

// With Config.LogKeep: a segment of the log, and what the state gathers in memory before it writes a table.
const (
	keptSegment = 256 << 10
	keptTable   = 14 << 20 // no less: 15 % of it take the largest entry (state.OpBytes, OpWrites)
)

func (n *Node) openLog() (err error) {
	kept, tables, held := int64(0), int64(0), 0
	if n.cfg.LogKeep > 0 { // the log can only be cut behind what the state has put into tables: small pieces of both
		kept, tables, held = keptSegment, keptTable, 1
	}
	n.kv, err = badger.Open(n.dir("state"), badger.Options{
		MemtableBytes: tables, Log: n.log,
		Free: func() (int64, error) { return n.left("state") }, Spare: stateReserve,
	})
	if err != nil {
		n.kv = nil
		return err
	}
	n.state = gather.New(n.kv, gather.Options{HeldVersions: held})
	n.machine, err = state.New(n.state, state.Options{Parts: map[byte]state.Part{state.TagMeta: meta.Part{}, state.TagPlane: plane.Part{Log: n.log}}, Log: n.log})
	if err != nil {
		return err
	}
	if err := n.checkState(); err != nil {
		return err
	}
	n.machine.Follow(follower{n})
	if n.plane, err = newPlaneEnd(n); err != nil {
		return err
	}
	n.machine.Follow(n.plane)
	n.reached = newReached(n.machine.Applied())
	n.store = &store{machine: n.machine, released: newGate(), cut: newCutOff(n.cutOff), session: &n.session}
	n.driver = coherence.NewDriver(n.machine.Applied(), coherence.Options{
		Session:     n.session.id.Load(),
		Views:       n.store.At,
		Took:        func(s seen) { n.group.Took(s) },
		Hurry:       func() { n.group.Hurry() },
		TookEarly:   func(id uint64) { n.group.TookEarly(id) },
		Rejoin:      func() { n.group.Rejoin() },
		Open:        n.opened,
		Lost:        n.forfeit,
		Now:         boottime,
		WhenCutOff:  whenCutOff(n.cfg.WhenCutOff),
		CutOffAfter: n.cfg.CutOff,
		Log:         n.log,
	})
	n.group, err = raft.Open(raft.Options{
		Self:      n.id.ID(),
		Cluster:   n.id.Cluster.String(),
		Dir:       n.dir("log"),
		Transport: n.net,
		Machine:   n.machine,
		Session:   n.session.id.Load(),
		Mounted:   n.cfg.Mount != "",
		Bootstrap: n.ca != nil,
		Now:       boottime,
		Wall:      wall,
		Keep:      n.cfg.LogKeep,

		SegmentBytes: kept,

		Log:          n.log,
		Scarce:       n.scarce,
		Lost:         n.logLost.Load(),
		Readmit:      n.askReadmission,
		Members:      n.roster.ids,
		Readmitted:   n.readmitted,
		OnApplied:    n.applied,
		OnPrepared:   n.prepared,
		OnUnprepared: n.driver.Unprepared,
		OnReset:      n.reset,
		OnReleased:   func(s seen) { n.driver.Released(s); n.store.released.open(s) },
		OnLease:      n.driver.Leased,
		OnLeader:     n.leads,
		OnLapse:      n.lapse,
		OnNote:       n.reported,
	})
	if errors.Is(err, fault.Corrupt) {
		n.group = nil
		return &rottenLog{err}
	}
	if err != nil {
		return err
	}
	n.store.group = n.group
	n.net.Prompt(wire.KindRaft, wire.KindLease+15)
	return n.readMembers()
}

func (n *Node) openBlocks() (err error) {
	n.blocks, err = segment.Open(n.dir("blocks"), segment.Options{
		Cluster:  n.id.Cluster,
		Owner:    n.id.ID().String(),
		Capacity: n.cfg.Capacity,
		Free:     func() (int64, error) { return n.left("blocks") },
		Reserve:  diskReserve,
		Spare:    stateReserve,
		OnBad:    func(id blockstore.ID) { n.healer.Suspect(id, 0) }, // from Run on, when there is one
		OnIndex:  func(err error) { n.distrust("the block index", err) },
		Log:      n.log,
	})
	if err != nil {
		return err
	}
	remote.Serve(n.net, n.blocks)
	n.pool = pool.New(pool.Options{
		Self:   n.id.ID(),
		View:   n.roster.view,
		Store:  n.storeOf,
		Named:  n.named,
		Silent: n.net.Silent,
		OnBad:  n.bad,
		Log:    n.log,
	})
	n.healer, n.tellers = n.newHealer(), newTellers()
	n.scrubber = n.newScrubber()
	n.net.Serve(kindSuspect, kindSuspect, n.serveSuspect)
	n.net.Serve(kindExamine, kindExamine, n.serveExamine)
	n.net.Serve(kindReadmit, kindReadmit, n.serveReadmit)
	n.net.Serve(kindScrub, kindScrub, n.serveScrub)
	n.net.Serve(kindLocalDo, kindLocalAsk, n.plane.serveLocal)
	n.dropper = repair.Dropper{Self: n.id.ID(), View: n.store.newest, Store: n.blocks}
	n.sweeper = repair.Sweeper{Store: n.blocks, Latest: n.latest, Released: n.store.Released, Rest: rest}
	n.keeper = repair.New(repair.Options{
		Session: n.session.id.Load(),
		View:    n.store.newest,
		Propose: n.store.Apply,
		Members: n.pool.View,
		Pool:    n.pool,
		Pick:    n.pool.Policy,
		Log:     n.log,
	})
	if n.cfg.Mount != "" {
		if n.journal, n.undone, err = journal.Open(n.dir("journal"), n.session.id.Load(), journal.Options{Boot: disk.BootID(n.cfg.Data)}); err != nil {
			return err
		}
		n.alone = delegate.New(n.store, n.driver, delegate.Options{
			Session: n.session.id.Load(),
			Journal: n.journal,
			Peer:    n.id.ID(),
			InUse:   func(ino meta.Ino) bool { return n.fs.InUse(ino) },
			Refused: func(ino meta.Ino, err error) { n.fs.Refused(ino, err) },
			Log:     n.log,
		})
		o := vfs.Options{
			Session:  n.session.id.Load(),
			Self:     n.id.ID(),
			Recall:   n.recall,
			Statfs:   n.space,
			CutOff:   n.store.cut.err,
			Crowded:  n.crowded,
			CrowdMax: crowdMax,
			Log:      n.log,
			Journal:  n.journal,
		}
		if whenCutOff(n.cfg.WhenCutOff) == coherence.Wait {
			o.FlushTimeout = forever
		}
		n.fs = vfs.New(n.alone, data{n.pool}, n.alone, o)
	}
	return nil
}

// storeOf returns a peer's store, nil if there is no such peer.
func (n *Node) storeOf(id cluster.PeerID) blockstore.Store {
	if id == n.id.ID() {
		return n.blocks
	}
	if _, ok := n.roster.member(id); !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.remotes[id]
	if s == nil {
		s = remote.New(n.net, id, remote.Options{})
		n.remotes[id] = s
	}
	return s
}

func (n *Node) openGossip() (err error) {
	n.gossip, err = gossip.New(gossip.Options{
		Self:     n.id.ID(),
		Listen:   n.net.Addr(),
		Key:      identity.GossipKey(n.id.Secret, 1),
		Members:  n.roster.ids,
		Addr:     n.roster.addr,
		Dial:     n.net.DialGossip,
		OnChange: n.heard,
		Log:      n.log,
	})
	if err != nil {
		return err
	}
	n.net.OnGossip(func(c conn, _ cluster.PeerID) { n.gossip.Accept(c) })
	n.net.OnJoin(identity.NewAdmission(identity.AdmissionOptions{Admitter: admitter{n}, Log: n.log}).Serve)
	return nil
}

// close closes what is open, after everything that runs has ended.
func (n *Node) close() error {
	var errs []error
	if n.gossip != nil {
		n.gossip.Close()
	}
	if n.journal != nil {
		errs = append(errs, n.journal.Close())
	}
	if n.blocks != nil {
		errs = append(errs, n.blocks.Close())
	}
	if n.state != nil {
		errs = append(errs, n.state.Close())
	}
	return errors.Join(errs...)
}

// randomSession returns a number that no other session has, and that is not 0.
func randomSession() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1
}

func whenCutOff(text string) coherence.CutOff {
	switch text {
	case "wait":
		return coherence.Wait
	case "read":
		return coherence.Read
	}
	return coherence.Fail
}
