package raft

import (
	"log/slog"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft/wal"
	"dfs/net/wire"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Tick is the time between two ticks of a Core. The leader speaks to everyone in every second one.
const Tick = 50 * time.Millisecond

// Bounds of a Core.
const (
	WindowMax   = 1024 // proposals of this peer that are not yet applied here
	queueMax    = 8192 // proposals waiting at the leader; more are dropped, and sent again by their proposers
	roundsMax   = 16   // read rounds under way
	retryFirst  = 500 * time.Millisecond
	retryMost   = 4 * time.Second
	roundRetry  = 400 * time.Millisecond
	snapSilence = 5 * time.Second // a follower that pulls nothing for so long is sent its snapshot anew

	heartbeatTicks   = 2
	electionTicks    = 20 // and up to as many again, by lot: the finer the lots, the fewer candidates collide
	inflightMessages = 128
	inflightBytes    = 8 << 20
	messageBytes     = 512 << 10
	applyBytes       = 4 << 20  // committed entries being applied at a time
	uncommittedBytes = 32 << 20 // at the leader; beyond, proposals wait
)

// Core is one replica without goroutines, clock, network or disk: events go in, and Next says what is to be done.
// Given the same events it does the same, except for the election timeout, which the consensus library draws from
// crypto/rand; a test fixes that with testing/cryptotest.SetGlobalRandom.
//
// Not safe for concurrent use. After every event, or a few, call Next.
type Core struct {
	o    CoreOptions
	id   uint64
	node *etcd.RawNode
	log  *wal.Log
	view *view
	now  time.Duration

	conf    config
	applied uint64
	confAt  uint64 // the newest applied entry that changed conf, or where conf was read from
	names   map[uint64]cluster.PeerID

	leader  cluster.PeerID // zero: none known
	term    uint64
	leading bool
	own     uint64 // while leading: an index of this term that is committed, else 0
	commit  uint64

	holder  *lease.Holder
	table   *lease.Table  // while leading
	leased  time.Duration // when the last round for leases began
	removed time.Duration
	taken   lease.Seen
	note    []byte
	empties []uint64 // applied entries without proposals, above taken.Prefix: nobody reports them

	window []*pending // this peer's proposals, by Seq
	seq    uint64
	queue  []Proposal // at the leader
	inLog  map[proposalKey]struct{}
	behind bool // proposals were refused by the core: try again at the next tick

	origin map[uint64]cluster.PeerID   // at the leader: which peer forwards a session's proposals
	asked  map[cluster.PeerID][]uint64 // at the leader: entries with a proposal of that peer, while their release is not sent
	prompt map[cluster.PeerID]bool     // at the leader: peers that take changes in before they are committed
	urged  map[cluster.PeerID]bool     // at the leader: peers that want to know the next release at once
	solo   uint64                      // at the leader: the newest entry that was written when all before it was committed
	waits  []*company
	acked  uint64 // the newest index acknowledged to this term's leader

	handed uint64    // the newest entry handed out to be applied
	tail   *pb.Entry // the newest entry written, nil if more than one is not handed out
	early  *Prepare  // what was last handed out to be prepared, until it is applied or dropped
	acks   bool      // early's entry was acknowledged to the leader
	preps  uint64

	reads    []uint64 // tokens that wait for a round
	rounds   []*round
	roundSeq uint64
	tokens   uint64

	change   *change
	active   map[uint64]time.Duration // followers' last pull of a snapshot
	snapFrom cluster.PeerID
	writing  []*Write     // handed out and not yet persisted, oldest first
	hard     wal.Hard     // as the newest write had it, or will
	unsaved  bool         // hard has a commit index that no write has had
	waiting  []unreleased // applied here, not known to be released
	ticks    int

	out Effects
}

// CoreOptions of a Core. Self and Session are needed.
type CoreOptions struct {
	Self    cluster.PeerID
	Session uint64 // of this incarnation; never used before
	Applied uint64 // of the machine
	Mounted bool   // this peer has a mount, and so a lease
	Epoch   uint64 // above every one this peer used before: the wall clock in nanoseconds
	Log     *slog.Logger
}

type proposalKey struct{ session, seq uint64 }

// pending is a proposal of this peer that is not yet applied here.
type pending struct {
	p     Proposal
	next  time.Duration // when it is sent again
	retry time.Duration
}

// unreleased is a proposal that was applied here.
type unreleased struct{ seq, index uint64 }

// round is one question to a quorum: who leads, and how far is the log committed.
type round struct {
	ctx    string
	began  time.Duration
	tokens []uint64
	lease  uint64 // of the lease table; 0 none
	term   uint64
}

// Effects is what is to be done. The slices are the caller's.
type Effects struct {
	Send     []Letter      // notices to be sent now
	Write    []*Write      // to be persisted in this order, each then given to Persisted
	Drop     bool          // before Apply: what was prepared will not be
	Apply    []*Apply      // to be applied in this order, each then given to Applied
	Prepare  *Prepare      // after Apply: to be prepared
	Wake     time.Duration // when Flush is to be called; 0 never
	Snapshot bool          // open a snapshot of the machine, then call SnapshotOpened
	Applied  []Outcome     // proposals of this peer that were applied here
	Released []uint64      // their Seqs, once every mount has taken them in
	Reads    []ReadPoint   // answers to ReadIndex
	Changed  []Change      // answers to SetMembers
	Lapsed   bool          // on the leader: it has become certain that some peer holds no lease
	Reports  []Told        // on the leader: what peers' notes say
}

// Letter is a notice to a peer.
type Letter struct {
	To      cluster.PeerID
	Message wire.Message
}

// Write is something to be persisted.
type Write struct {
	Batch     wal.Batch
	Install   *Install // first install this snapshot into the machine
	responses []*pb.Message
}

// Install is a snapshot to be fetched: from From, or whoever has one of at least Index.
type Install struct {
	Index, Term uint64
	From        cluster.PeerID
	conf        config
}

// Apply is committed entries.
type Apply struct {
	Entries   []Entry
	responses []*pb.Message
}

// Prepare is an entry that is in the log here, and perhaps not yet committed: the next one to be applied, or never. A kernel that
// takes its changes in already, TookEarly, saves the leader from waiting for another round.
type Prepare struct {
	ID          uint64 // above those before
	Index, Term uint64
	Proposals   []Proposal
	taken       bool
}

// Entry is one committed entry. The driver fills Results, one a proposal, unless the machine had it already.
type Entry struct {
	Index     uint64
	Proposals []Proposal
	Results   [][]byte
	change    *pb.ConfChangeV2
	peers     []cluster.PeerID
}

// Outcome is what became of a proposal. With Ended nothing did: its session ended before.
type Outcome struct {
	Seq, Index uint64
	Result     []byte
	Ended      bool
}

// ReadPoint answers ReadIndex: whoever reads at Index or later misses nothing that was released before the question.
type ReadPoint struct{ Token, Index uint64 }

// Change answers SetMembers.
type Change struct {
	Token uint64
	Err   error
}

// Told is a note that came to the leader.
type Told struct {
	From cluster.PeerID
	Note []byte
}

// NewCore returns the replica that log and o describe. fault.Conflict if the machine's state does not fit the log.
func NewCore(o CoreOptions, log *wal.Log, now time.Duration) (*Core, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	conf, err := readConfig(log.Conf().Data)
	if err != nil {
		return nil, fault.Because("raft open", fault.Corrupt, err)
	}
	if first, last := log.First(), log.Last(); o.Applied+1 < first || o.Applied > last {
		return nil, fault.New("raft open", fault.Conflict, "the state of entry %d does not fit the log of %d to %d", o.Applied, first, last)
	}
	start := log.Conf().Index
	hard := log.Hard()
	hard.Commit = min(max(hard.Commit, start, o.Applied), log.Last())
	v := &view{log: log, conf: conf.state}
	if hard != (wal.Hard{}) {
		v.hard = &pb.HardState{Term: new(hard.Term), Vote: new(hard.Vote), Commit: new(hard.Commit)}
	}
	c := &Core{
		o: o, id: o.Self.Raft(), log: log, view: v, now: now,
		conf: conf, applied: start, confAt: start, names: map[uint64]cluster.PeerID{},
		holder:  lease.NewHolder(o.Mounted, o.Epoch),
		removed: now - 2*(lease.Length+lease.Slack),
		inLog:   map[proposalKey]struct{}{},
		active:  map[uint64]time.Duration{},
		hard:    hard,
		handed:  start,
		origin:  map[uint64]cluster.PeerID{},
		asked:   map[cluster.PeerID][]uint64{},
		prompt:  map[cluster.PeerID]bool{},
		urged:   map[cluster.PeerID]bool{},
	}
	c.learn(conf.peers...)
	c.learn(o.Self)
	c.taken.Prefix = o.Applied
	if c.removals() {
		c.removed = now
	}
	c.node, err = etcd.NewRawNode(&etcd.Config{
		ID:                        c.id,
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   v,
		Applied:                   start,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             messageBytes,
		MaxCommittedSizePerReady:  applyBytes,
		MaxUncommittedEntriesSize: uncommittedBytes,
		MaxInflightMsgs:           inflightMessages,
		MaxInflightBytes:          inflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            etcd.ReadOnlySafe,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    logger{o.Log},
	})
	if err != nil {
		return nil, fault.Wrap("raft open", err)
	}
	if v := conf.state.GetVoters(); len(v) == 1 && v[0] == c.id && len(conf.state.GetVotersOutgoing()) == 0 {
		_ = c.node.Campaign() // nobody else could win
	}
	c.observe()
	return c, nil
}

// removals reports whether the log still knows of a peer that was removed: it may hold a lease of the past.
func (c *Core) removals() bool {
	for i := c.log.First(); i <= c.log.Last(); i++ {
		if kind, ok := c.log.Kind(i); !ok || pb.EntryType(kind) != pb.EntryConfChangeV2 {
			continue
		}
		es, err := c.log.Entries(i, i+1, 0)
		if err != nil {
			return true
		}
		cc, _, err := decodeChange(es[0].Data)
		if err != nil || removes(cc) {
			return true
		}
	}
	return false
}

func removes(cc *pb.ConfChangeV2) bool {
	return slices.ContainsFunc(cc.GetChanges(), func(s *pb.ConfChangeSingle) bool {
		return s.GetType() == pb.ConfChangeRemoveNode
	})
}

// learn remembers the peers behind the core's numbers.
func (c *Core) learn(ids ...cluster.PeerID) {
	for _, id := range ids {
		c.names[id.Raft()] = id
	}
}

// Tick lets time pass. It is to be called every Tick; now is a CLOCK_BOOTTIME reading.
func (c *Core) Tick(now time.Duration) {
	c.now = now
	c.ticks++
	c.node.Tick()
	c.retry()
	c.retryRounds()
	c.watchSnapshots()
	if c.table != nil {
		c.table.Tick(now)
	}
	c.advanceChange()
	c.behind = false
}

// Receive takes a notice of kinds KindRaft.. or KindLease... fault.Invalid.
func (c *Core) Receive(now time.Duration, from cluster.PeerID, kind wire.Kind, body wire.Body) error {
	c.now = now
	switch kind {
	case kindRaft:
		var m message
		if err := body.Into(&m); err != nil {
			return err
		}
		return c.step(from, m.m)
	case kindForward:
		var m forward
		if err := body.Into(&m); err != nil {
			return err
		}
		for _, p := range m.ps {
			c.origin[p.Session] = from
		}
		c.enqueue(m.ps)
		return nil
	}
	return c.receiveLease(from, kind, body)
}

func (c *Core) step(from cluster.PeerID, m *pb.Message) error {
	if m.GetFrom() != from.Raft() || m.GetTo() != c.id {
		return fault.New("raft message", fault.Invalid, "from %x to %x", m.GetFrom(), m.GetTo())
	}
	c.learn(from)
	switch m.GetType() {
	case pb.MsgReadIndex:
		// A single voter would answer before it knows what its log has committed.
		if !c.leading || c.own == 0 {
			return nil
		}
	case pb.MsgSnap:
		conf, err := readConfig(m.GetSnapshot().GetData())
		if err != nil {
			return err
		}
		c.learn(conf.peers...)
		c.snapFrom = from
	}
	_ = c.node.Step(m) // its errors are messages that came too late
	return nil
}

// Persisted says that w, and everything handed out before it, is on disk.
func (c *Core) Persisted(now time.Duration, w *Write) {
	c.now = now
	c.writing = slices.Delete(c.writing, 0, 1)
	if in := w.Install; in != nil {
		c.conf, c.applied, c.confAt = in.conf, in.Index, in.Index
		c.learn(in.conf.peers...)
		c.taken, c.empties = lease.NewSeen(max(in.Index, c.taken.Prefix), nil), nil
		c.holder.Installed(c.taken.Prefix)
	}
	c.respond(w.responses)
}

func (c *Core) respond(ms []*pb.Message) {
	for _, m := range ms {
		if m.GetTo() == c.id {
			_ = c.node.Step(m)
		} else {
			c.send(m)
		}
	}
}

func (c *Core) send(m *pb.Message) {
	to, ok := c.names[m.GetTo()]
	if !ok {
		return
	}
	if m.GetType() == pb.MsgSnap {
		c.active[m.GetTo()] = c.now
	}
	if c.mayWait(to, m) {
		return
	}
	c.post(to, m)
	if m.GetType() == pb.MsgAppResp && !m.GetReject() && c.early != nil && m.GetIndex() >= c.early.Index {
		c.acks = true
		c.tellEarly()
	}
}

// Applied says that a's entries are in the machine, or were before, and that their results are filled in.
func (c *Core) Applied(now time.Duration, a *Apply) {
	c.now = now
	for i := range a.Entries {
		c.applyOne(&a.Entries[i])
	}
	c.respond(a.responses)
	c.advanceChange()
}

func (c *Core) applyOne(e *Entry) {
	c.applied = e.Index
	if e.change != nil {
		c.reconfigure(e)
	}
	if len(e.Proposals) == 0 {
		c.empties = append(c.empties, e.Index)
		c.tell()
	}
	for i, p := range e.Proposals {
		delete(c.inLog, proposalKey{p.Session, p.Seq})
		if p.Session != c.o.Session || i >= len(e.Results) {
			continue
		}
		n, ok := c.find(p.Seq)
		if !ok {
			continue
		}
		c.window = slices.Delete(c.window, n, n+1)
		c.out.Applied = append(c.out.Applied, Outcome{Seq: p.Seq, Index: e.Index, Result: e.Results[i]})
		c.waiting = append(c.waiting, unreleased{p.Seq, e.Index})
	}
}

func (c *Core) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(c.window, seq, func(p *pending, seq uint64) int {
		return int(int64(p.p.Seq) - int64(seq))
	})
}

// SnapshotOpened says that a snapshot of the machine as of index is there to be pulled, and that every Apply up to
// index was given to Applied before.
func (c *Core) SnapshotOpened(now time.Duration, index uint64) {
	c.now = now
	term, err := c.log.Term(index)
	if err != nil || index != c.applied {
		return // too late; the core will ask again
	}
	c.view.snap = &pb.Snapshot{
		Data: c.conf.append(nil),
		Metadata: &pb.SnapshotMetadata{
			Index: new(index), Term: new(term),
			ConfState: proto.Clone(c.conf.state).(*pb.ConfState),
		},
	}
}

// SnapshotPulled says that a peer asked for a chunk just now.
func (c *Core) SnapshotPulled(now time.Duration, by cluster.PeerID) {
	c.now = now
	c.active[by.Raft()] = now
}

// Conf returns the configuration as of the newest entry applied, for the log's compaction.
func (c *Core) Conf() wal.Conf { return wal.Conf{Index: c.applied, Data: c.conf.append(nil)} }

// Next returns what is to be done.
func (c *Core) Next() Effects {
	c.observe()
	c.flushQueue()
	c.startRounds()
	c.lease()
	for c.node.HasReady() {
		c.ready(c.node.Ready())
		c.observe()
		c.flushQueue()
		c.startRounds()
		c.lease()
	}
	c.release()
	c.prepare()
	c.out.Wake = c.wake()
	if c.view.want {
		c.view.want, c.out.Snapshot = false, true
	}
	out := c.out
	c.out = Effects{}
	return out
}

func (c *Core) ready(rd etcd.Ready) {
	for _, rs := range rd.ReadStates {
		c.confirmed(string(rs.RequestCtx), rs.Index)
	}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case etcd.LocalAppendThread:
			c.write(m)
		case etcd.LocalApplyThread:
			c.apply(m)
		default:
			c.send(m)
		}
	}
}

// write hands out what the core wants on disk.
func (c *Core) write(m *pb.Message) {
	w := &Write{responses: m.GetResponses()}
	w.Batch.Entries = toWAL(m.GetEntries())
	c.appended(m.GetEntries())
	if m.Term != nil || m.Vote != nil || m.Commit != nil {
		h := wal.Hard{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
		votes := h.Term != c.hard.Term || h.Vote != c.hard.Vote
		c.hard, c.unsaved = h, true
		if !votes && len(w.Batch.Entries) == 0 && isEmptySnap(m.GetSnapshot()) {
			c.follow(w.responses)
			return
		}
	} else if len(w.Batch.Entries) == 0 && isEmptySnap(m.GetSnapshot()) {
		c.follow(w.responses)
		return
	}
	if c.unsaved {
		w.Batch.Hard, c.unsaved = new(c.hard), false
	}
	w.Batch.Lazy = len(w.responses) == 0
	if s := m.GetSnapshot(); !isEmptySnap(s) {
		conf, err := readConfig(s.GetData())
		if err != nil {
			panic(corePanic{"snapshot: " + err.Error()}) // it was checked when it arrived
		}
		conf.state = s.GetMetadata().GetConfState()
		at := wal.Mark{Index: s.GetMetadata().GetIndex(), Term: s.GetMetadata().GetTerm()}
		w.Batch.Base = &at
		w.Batch.Conf = &wal.Conf{Index: at.Index, Data: conf.append(nil)}
		c.handed, c.tail = max(c.handed, at.Index), nil
		c.drop()
		w.Install = &Install{Index: at.Index, Term: at.Term, From: c.snapFrom, conf: conf}
	}
	c.writing = append(c.writing, w)
	c.out.Write = append(c.out.Write, w)
}

// follow answers what needs nothing more on disk than what was handed out before. How far the log is committed is
// nobody's promise: it is written with the next thing that must be.
func (c *Core) follow(responses []*pb.Message) {
	if n := len(c.writing); n > 0 {
		c.writing[n-1].responses = append(c.writing[n-1].responses, responses...)
		return
	}
	c.respond(responses)
}

// apply hands out committed entries.
func (c *Core) apply(m *pb.Message) {
	a := &Apply{responses: m.GetResponses(), Entries: make([]Entry, 0, len(m.GetEntries()))}
	for _, e := range m.GetEntries() {
		out, err := decodeEntry(e.GetIndex(), e.GetType(), e.GetData())
		if err != nil {
			panic(corePanic{err.Error()})
		}
		a.Entries = append(a.Entries, out)
		c.handed = out.Index
	}
	if c.early != nil && c.early.Index <= c.handed {
		c.early = nil
	}
	c.out.Apply = append(c.out.Apply, a)
}

func decodeEntry(index uint64, kind pb.EntryType, data []byte) (e Entry, err error) {
	e.Index = index
	if kind == pb.EntryConfChangeV2 {
		e.change, e.peers, err = decodeChange(data)
		return e, err
	}
	e.Proposals, err = readProposals(data)
	return e, err
}

// observe takes note of who leads and how far the log is committed.
func (c *Core) observe() {
	st := c.node.BasicStatus()
	leading := st.RaftState == etcd.StateLeader
	term, leader := st.GetTerm(), c.names[st.Lead]
	c.commit = st.GetCommit()
	if leading != c.leading || leader != c.leader || term != c.term {
		c.leaderChanged(term, leader, leading)
	}
	if !c.leading {
		return
	}
	if c.own == 0 {
		if t, err := c.log.Term(c.commit); err == nil && t == c.term {
			c.own = c.commit
		}
	}
	c.table.Committed(c.now, c.commit, c.own)
}

func (c *Core) leaderChanged(term uint64, leader cluster.PeerID, leading bool) {
	fresh := leading && (!c.leading || term != c.term)
	changed := leader != c.leader || term != c.term
	c.term, c.leader, c.leading = term, leader, leading
	if fresh || !leading {
		c.own, c.table = 0, nil
		c.queue = nil
		clear(c.inLog)
		clear(c.active)
		clear(c.origin)
		clear(c.asked)
		clear(c.prompt)
		clear(c.urged)
	}
	if changed {
		c.waits, c.acked, c.acks = nil, 0, false
	}
	if fresh {
		sudden := c.now-c.removed < lease.Length+lease.Slack
		c.table = lease.NewTable(c.now, c.conf.peers, sudden)
	}
	if !leading {
		c.failChange(fault.New("set members", fault.NotLeader, "%s leads", leader.Short()))
	}
	if changed && !leader.IsZero() {
		c.holder.LeaderChanged()
		for _, p := range c.window { // whatever the last leader had may be lost
			p.next, p.retry = c.now, retryFirst
		}
		c.retry()
		c.retryRounds()
	}
}
