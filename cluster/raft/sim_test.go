package raft_test

import (
	"container/heap"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"dfs/blockstore/disk"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft"
	"dfs/cluster/raft/wal"
	"dfs/net/simnet"

	pb "go.etcd.io/raft/v3/raftpb"
)

var (
	simSeed = flag.Uint64("sim.seed", 1, "first seed of the simulation")
	simRuns = flag.Int("sim.runs", 12, "seeds to run")
	simFor  = flag.Duration("sim.for", 40*time.Second, "virtual time with faults of each run")
)

// TestSimulation plays three to five replicas with crashes, cuts of power, partitions, losses, changes of members and
// transfers, and checks after every step: the same entries everywhere, nothing applied twice, nothing lost that
// its proposer was told of, and nobody told before every mount with a lease had taken it in.
func TestSimulation(t *testing.T) {
	var total simCounts
	for i := range *simRuns {
		seed := *simSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			s := newSim(t, seed)
			s.run()
			total.add(s.counts)
		})
	}
	t.Logf("%+v", total)
	if *simRuns >= 40 && (total.Snapshots == 0 || total.Cuts == 0 || total.Elections == 0 || total.Members == 0 || total.Early == 0) {
		t.Error("a state that must be reached was not")
	}
}

// TestSimulationRepeats runs some seeds twice: every event must be the same.
func TestSimulationRepeats(t *testing.T) {
	for seed := range uint64(2) {
		var sums [2]string
		for i := range sums {
			t.Run(fmt.Sprint(seed, i), func(t *testing.T) {
				cryptotest.SetGlobalRandom(t, seed)
				s := newSim(t, seed)
				s.run()
				sums[i] = fmt.Sprintf("%x", s.trace.Sum(nil))
			})
		}
		if sums[0] != sums[1] {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}

type simCounts struct {
	Proposed, Released, Crashes, Cuts, Partitions, Snapshots, Rebuilt, Elections, Members, Early, Events int
}

func (a *simCounts) add(b simCounts) {
	a.Proposed += b.Proposed
	a.Released += b.Released
	a.Crashes += b.Crashes
	a.Cuts += b.Cuts
	a.Partitions += b.Partitions
	a.Snapshots += b.Snapshots
	a.Rebuilt += b.Rebuilt
	a.Elections += b.Elections
	a.Members += b.Members
	a.Early += b.Early
	a.Events += b.Events
}

type sim struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Duration
	net     *simnet.Net
	events  simQueue
	order   uint64
	all     []*simReplica
	quiet   bool // no more faults, no more proposals
	history map[uint64]string
	told    map[string]uint64 // bodies whose proposers were told, by index
	trace   hash.Hash
	counts  simCounts
}

type simReplica struct {
	s       *sim
	n       int
	id      cluster.PeerID
	disk    *disk.Memory
	log     *wal.Log
	core    *raft.Core
	era     int // counts starts; events of an earlier era are void
	session uint64
	machine *journal
	kept    *journal // what the machine's disk would give back
	through uint64
	writes  []*raft.Write
	busy    bool
	applies []*raft.Apply
	bodies  map[uint64]string // by seq
	indexes map[uint64]uint64
	taken   uint64
	prep    *raft.Prepare
	early   uint64 // index that is taken in before it is applied, 0 none
	guess   string // what is there, if it is committed
	drops   int
	wake    time.Duration
	lost    bool
	skew    float64
	offset  time.Duration
	term    uint64 // the newest this replica led
}

type simEvent struct {
	at    time.Duration
	order uint64
	fn    func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func newSim(t *testing.T, seed uint64) *sim {
	rng := rand.New(rand.NewPCG(seed, 99))
	s := &sim{
		t: t, rng: rng, net: simnet.NewNet(rng),
		history: map[uint64]string{}, told: map[string]uint64{}, trace: sha256.New(),
	}
	s.net.SetWeather(simnet.Weather{Min: 200 * time.Microsecond, Max: 20 * time.Millisecond, Loss: 0.01})
	for n := range 3 + rng.IntN(3) {
		r := &simReplica{
			s: s, n: n, id: peerID(n), disk: disk.NewMemory(), machine: newJournal(), kept: newJournal(),
			session: uint64(n+1) << 32, skew: 1 + (rng.Float64()-0.5)/25, offset: time.Duration(rng.Int64N(int64(time.Hour))),
		}
		s.all = append(s.all, r)
		r.start()
	}
	return s
}

func (s *sim) at(d time.Duration, fn func()) {
	s.order++
	heap.Push(&s.events, simEvent{s.now + d, s.order, fn})
}

func (s *sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)))
}

func (s *sim) failf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed run at %v: %s", s.now, fmt.Sprintf(format, args...))
}

// run plays the faults, then the quiet in which everything must become whole.
func (s *sim) run() {
	s.at(0, s.fault)
	s.at(time.Second, s.members)
	s.until(*simFor)
	s.quiet = true
	s.net.Heal()
	s.net.SetWeather(simnet.Weather{Min: time.Millisecond, Max: 2 * time.Millisecond})
	for _, r := range s.all {
		if r.core == nil {
			r.start()
		}
	}
	s.until(*simFor + 40*time.Second)
	s.whole()
}

func (s *sim) until(end time.Duration) {
	for {
		netAt, netOK := s.net.Due()
		if len(s.events) == 0 && !netOK {
			return
		}
		s.counts.Events++
		if netOK && (len(s.events) == 0 || netAt <= s.events[0].at) {
			if netAt > end {
				break
			}
			e, _ := s.net.Next()
			s.now = e.At
			fmt.Fprint(s.trace, "n", e.At, e.From[0], e.To[0], e.Kind, e.Body.Fields)
			r := s.all[int(e.To[0])-1]
			if r.core == nil {
				continue
			}
			if err := r.core.Receive(r.clock(), e.From, e.Kind, e.Body); err != nil {
				s.failf("message from %d to %d: %v", e.From[0], e.To[0], err)
			}
			r.work()
			continue
		}
		if s.events[0].at > end {
			break
		}
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		fmt.Fprint(s.trace, "e", e.at, e.order)
		e.fn()
	}
	s.now = end
}

func (r *simReplica) clock() time.Duration {
	return r.offset + time.Duration(float64(r.s.now)*r.skew)
}

// during runs fn later, unless the replica was stopped by then.
func (r *simReplica) during(d time.Duration, fn func()) {
	era := r.era
	r.s.at(d, func() {
		if r.era == era && r.core != nil {
			fn()
		}
	})
}

func (r *simReplica) start() {
	s := r.s
	r.era++
	r.session++
	r.writes, r.applies, r.busy, r.lost = nil, nil, false, false
	r.prep, r.early, r.wake = nil, 0, 0
	r.bodies, r.indexes, r.term = map[uint64]string{}, map[uint64]uint64{}, 0
	log, err := wal.Open(r.disk, "sim", wal.Options{SegmentBytes: 2 << 10, CacheBytes: 4 << 10})
	if err != nil {
		s.failf("replica %d: %v", r.n, err)
	}
	r.log = log
	if r.n == 0 && log.Last() == 0 {
		entry, conf := raft.Bootstrap(r.id)
		r.save(wal.Batch{
			Entries: []wal.Entry{{Index: 1, Term: 1, Kind: uint8(pb.EntryConfChangeV2), Data: entry}},
			Hard:    &wal.Hard{Term: 1, Commit: 1}, Conf: &wal.Conf{Index: 1, Data: conf},
		})
	}
	if a := r.machine.Applied(); a+1 < log.First() || a > log.Last() {
		r.machine, r.kept = newJournal(), newJournal()
	}
	if r.machine.Applied() == 0 && log.First() > 1 && !r.rebuild() {
		log.Close()
		r.disk.Cut(nil)
		r.core = nil
		s.at(s.between(100*time.Millisecond, time.Second), func() {
			if r.core == nil {
				r.start()
			}
		})
		return
	}
	r.replay()
	core, err := raft.NewCore(raft.CoreOptions{
		Self: r.id, Session: r.session, Applied: r.machine.Applied(), Mounted: true, Epoch: uint64(r.session) << 8,
	}, log, r.clock())
	if err != nil {
		s.failf("replica %d: %v", r.n, err)
	}
	r.core = core
	r.through = max(r.machine.Applied(), log.Conf().Index)
	r.taken = r.machine.Applied()
	s.net.Up(r.id)
	r.during(s.between(0, raft.Tick), r.tick)
	r.during(s.between(0, time.Second), r.propose)
	r.work()
}

// replay brings the machine to where the core begins.
func (r *simReplica) replay() {
	for i := max(r.machine.Applied()+1, r.log.First()); i <= r.log.Conf().Index && i <= r.log.Last(); i++ {
		if err := raft.Replay(r.log, i, r.machine); err != nil {
			r.s.failf("replay of %d: %v", i, err)
		}
	}
}

func (r *simReplica) save(b ...wal.Batch) {
	if err := r.log.Save(b...); err != nil {
		r.s.failf("replica %d: %v", r.n, err)
	}
}

// rebuild copies the state of any other replica that runs.
func (r *simReplica) rebuild() bool {
	for _, from := range r.s.all {
		if from.core == nil || from == r || from.through+1 < r.log.First() {
			continue
		}
		term, err := from.log.Term(from.through)
		if err != nil {
			continue
		}
		r.machine = from.machine.clone()
		r.machine.applied = from.through
		r.kept = r.machine.clone()
		if from.through > r.log.Last() {
			conf := from.core.Conf()
			r.save(wal.Batch{Base: &wal.Mark{Index: from.through, Term: term}, Conf: &conf})
		}
		r.s.counts.Rebuilt++
		return true
	}
	return false
}

func (r *simReplica) tick() {
	r.during(raft.Tick, r.tick)
	r.core.Tick(r.clock())
	if r.s.rng.IntN(10) == 0 {
		r.kept = r.machine.clone()
		r.kept.durable = r.kept.applied
		r.machine.durable = r.kept.applied
	}
	if r.s.rng.IntN(20) == 0 && !r.busy {
		conf := r.core.Conf()
		if to := min(r.kept.applied, conf.Index); to > 30 {
			if err := r.log.Compact(to-30, conf); err != nil {
				r.s.failf("compact: %v", err)
			}
		}
	}
	r.work()
}

func (r *simReplica) propose() {
	s := r.s
	if s.quiet {
		return
	}
	r.during(s.between(0, 200*time.Millisecond), r.propose)
	s.counts.Proposed++
	body := fmt.Sprintf("%d-%d", r.session, s.counts.Proposed)
	seq, err := r.core.Propose(r.clock(), int64(s.now), []byte(body))
	if err != nil {
		if !errors.Is(err, fault.Busy) {
			s.failf("propose: %v", err)
		}
		return
	}
	r.bodies[seq] = body
	r.work()
}

// work does what the core wants.
func (r *simReplica) work() {
	s := r.s
	e := r.core.Next()
	for _, l := range e.Send {
		s.net.Send(s.now, r.id, l.To, l.Message)
	}
	r.writes = append(r.writes, e.Write...)
	r.startWrites()
	if e.Drop {
		r.prep, r.early = nil, 0
		r.drops++
	}
	for _, a := range e.Apply {
		r.applies = append(r.applies, a)
		r.during(s.between(0, 5*time.Millisecond), r.applyNext)
	}
	if p, drops := e.Prepare, r.drops; p != nil {
		r.during(s.between(0, 5*time.Millisecond), func() {
			if r.prep == nil && r.drops == drops && p.Index > r.through {
				r.prep = p
				r.takeEarly()
			}
		})
	}
	if e.Wake != 0 && r.wake == 0 {
		r.wake = e.Wake
		r.during(max(e.Wake-r.clock(), 0), func() {
			r.wake = 0
			r.core.Flush(r.clock())
			r.work()
		})
	}
	if e.Snapshot {
		r.during(s.between(0, 5*time.Millisecond), func() {
			if r.through == r.core.Conf().Index {
				r.core.SnapshotOpened(r.clock(), r.through)
				r.work()
			}
		})
	}
	for _, out := range e.Applied {
		r.indexes[out.Seq] = out.Index
	}
	for _, seq := range e.Released {
		r.released(seq)
	}
	st := r.core.Status(r.clock())
	if st.Leading && st.Term != r.term {
		s.counts.Elections++
		r.term = st.Term
	}
	if st.Lease == lease.Lost && !r.lost {
		r.lost = true
		r.during(s.between(0, 50*time.Millisecond), func() {
			r.lost = false
			r.taken = r.through
			r.core.Took(r.clock(), lease.NewSeen(r.taken, nil))
			r.core.Rejoin(r.clock())
			r.work()
		})
	}
}

// takeEarly has the kernel take in what was prepared, once it has taken in all before.
func (r *simReplica) takeEarly() {
	if r.prep == nil || r.prep.Index != r.through+1 || r.taken != r.through || r.early == r.prep.Index {
		return
	}
	r.early, r.guess = r.prep.Index, what(r.prep.Proposals)
	r.s.counts.Early++
	r.core.TookEarly(r.clock(), r.prep.ID)
	r.work()
}

func what(ps []raft.Proposal) string {
	var bodies []string
	for _, p := range ps {
		bodies = append(bodies, string(p.Body))
	}
	return strings.Join(bodies, ",")
}

// released checks the promise of a release.
func (r *simReplica) released(seq uint64) {
	s := r.s
	index := r.indexes[seq]
	s.counts.Released++
	s.told[r.bodies[seq]] = index
	for _, other := range s.all {
		if other.core == nil {
			continue
		}
		if other.taken >= index || other.early == index && other.taken == index-1 && other.guess == s.history[index] {
			continue
		}
		if state, _ := other.core.Lease(other.clock()); state == lease.Held {
			s.failf("replica %d was told of %d, replica %d holds a lease and has taken in %d", r.n, index, other.n, other.taken)
		}
	}
}

// startWrites begins one sync of everything that waits.
func (r *simReplica) startWrites() {
	if r.busy || len(r.writes) == 0 {
		return
	}
	r.busy = true
	r.during(r.s.between(50*time.Microsecond, 10*time.Millisecond), r.finishWrites)
}

func (r *simReplica) finishWrites() {
	ws := r.writes
	if in := ws[0].Install; in != nil {
		ws = ws[:1]
		if !r.install(in) {
			r.during(100*time.Millisecond, r.finishWrites)
			return
		}
	} else if n := slices.IndexFunc(ws, func(w *raft.Write) bool { return w.Install != nil }); n > 0 {
		ws = ws[:n]
	}
	r.writes = r.writes[len(ws):]
	var batches []wal.Batch
	for _, w := range ws {
		batches = append(batches, w.Batch)
	}
	r.save(batches...)
	for _, w := range ws {
		r.core.Persisted(r.clock(), w)
	}
	r.busy = false
	r.work()
}

// install copies the state of the sender, or of another replica that is far enough.
func (r *simReplica) install(in *raft.Install) bool {
	s := r.s
	for _, from := range append([]*simReplica{s.all[in.From[0]-1]}, s.all...) {
		if from == r || from.core == nil || from.through < in.Index || !s.net.Open(from.id, r.id) || !s.net.Open(r.id, from.id) {
			continue
		}
		r.machine = from.machine.clone()
		r.machine.applied = from.through
		r.machine.durable = from.through
		r.kept = r.machine.clone()
		r.through = max(in.Index, r.through)
		r.taken = from.through
		r.core.Took(r.clock(), lease.NewSeen(r.taken, nil))
		s.counts.Snapshots++
		return true
	}
	return false
}

func (r *simReplica) applyNext() {
	s := r.s
	a := r.applies[0]
	r.applies = r.applies[1:]
	for i := range a.Entries {
		e := &a.Entries[i]
		what := what(e.Proposals)
		if was, known := s.history[e.Index]; known && was != what {
			s.failf("entry %d is %q on replica %d and %q elsewhere", e.Index, what, r.n, was)
		}
		s.history[e.Index] = what
		if r.early == e.Index && r.guess == what && r.taken == e.Index-1 {
			r.taken = e.Index
		}
		if r.prep != nil && r.prep.Index <= e.Index {
			r.prep, r.early = nil, 0
		}
		if len(e.Proposals) > 0 && e.Index > r.machine.Applied() {
			results, err := r.machine.Apply(e.Index, e.Proposals)
			if err != nil {
				s.failf("apply: %v", err)
			}
			e.Results = results
		}
		r.through = e.Index
	}
	r.core.Applied(r.clock(), a)
	if r.taken == r.through {
		r.core.Took(r.clock(), lease.NewSeen(r.taken, nil))
	}
	r.takeEarly()
	through := r.through
	r.during(s.between(0, 30*time.Millisecond), func() {
		if through > r.taken {
			r.taken = through
			r.core.Took(r.clock(), lease.NewSeen(through, nil))
			r.takeEarly()
			r.work()
		}
	})
	r.work()
}

// fault does something bad, and arranges for the next.
func (s *sim) fault() {
	if s.quiet {
		return
	}
	s.at(s.between(300*time.Millisecond, 3*time.Second), s.fault)
	r := s.all[s.rng.IntN(len(s.all))]
	other := s.all[s.rng.IntN(len(s.all))]
	switch s.rng.IntN(8) {
	case 0, 1, 2:
		if r.core == nil {
			return
		}
		r.crash(s.rng.IntN(2) == 0)
		s.at(s.between(0, 4*time.Second), func() {
			if r.core == nil {
				r.start()
			}
		})
	case 3:
		s.counts.Partitions++
		s.net.Cut(r.id, other.id)
	case 4:
		s.counts.Partitions++
		for _, o := range s.all {
			if o != r {
				s.net.Cut(r.id, o.id)
				s.net.Cut(o.id, r.id)
			}
		}
	case 5:
		s.net.Heal()
	case 6:
		s.net.SetWeather(simnet.Weather{
			Min: 100 * time.Microsecond, Max: s.between(time.Millisecond, 60*time.Millisecond), Loss: s.rng.Float64() / 15,
		})
	case 7:
		if r.core != nil && r.core.Transfer(r.clock(), other.id) == nil {
			r.work()
		}
	}
	if s.rng.IntN(2) == 0 {
		s.net.Heal()
	}
}

func (r *simReplica) crash(power bool) {
	s := r.s
	r.core = nil
	s.net.Forget(r.id)
	s.net.Down(r.id)
	if power {
		s.counts.Cuts++
		r.disk.Cut(s.rng)
		r.machine = r.kept.clone()
		return
	}
	s.counts.Crashes++
	r.disk.Cut(nil)
}

// members asks whoever leads for another membership.
func (s *sim) members() {
	var peers []cluster.PeerID
	for _, i := range s.rng.Perm(len(s.all)) {
		peers = append(peers, s.all[i].id)
	}
	voters := []int{1, 3, 3, 5}[s.rng.IntN(4)]
	voters = min(voters, len(peers)-1+len(peers)%2)
	if !s.quiet {
		s.at(s.between(2*time.Second, 8*time.Second), s.members)
	}
	for _, r := range s.all {
		if r.core == nil {
			continue
		}
		if _, err := r.core.SetMembers(r.clock(), peers[:voters], peers[voters:]); err == nil {
			s.counts.Members++
			r.work()
		}
	}
}

// whole checks what must hold once all is quiet.
func (s *sim) whole() {
	var want []string
	for _, r := range s.all {
		st := r.core.Status(r.clock())
		if st.Window != 0 {
			s.failf("replica %d: %d proposals are not settled: %v", r.n, st.Window, st)
		}
		ops := r.machine.list()
		if want == nil {
			want = ops
		}
		if !slices.Equal(want, ops) {
			s.failf("replica %d has %d ops, replica 0 has %d", r.n, len(ops), len(want))
		}
		if st.Lease != lease.Held {
			s.failf("replica %d has no lease: %v", r.n, st.Lease)
		}
	}
	seen := map[string]bool{}
	for _, op := range want {
		if seen[op] {
			s.failf("%q was applied twice", op)
		}
		seen[op] = true
	}
	for op, index := range s.told {
		if !seen[op] {
			s.failf("%q, told at %d, is lost", op, index)
		}
	}
	if len(want) < 20 {
		s.failf("only %d ops", len(want))
	}
}
