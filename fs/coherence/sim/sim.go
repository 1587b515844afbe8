// Package sim plays mounts, their kernels, leases and the log against each other, in virtual time, from a seed.
//
// Two or three mounts share one small tree: two directories, three names in each, files of one page. On every mount
// programs create, unlink, rename, link, stat, list, write and read, as fast as their kernels let them, always on the
// same few objects. Each mount has a kernel that caches names, attributes and pages with validities, holds the
// locks Linux holds while it waits for its daemon, and lets replies and notifies overtake one another; a daemon
// whose decisions are the real coherence.Mount and the real lease.Holder; and a replica that follows the log at
// its own pace. The leader's decisions are the real lease.Table. Machines' clocks run at different speeds. Messages are late
// or lost, peers are cut off, daemons freeze while their kernels go on, leaders change and old ones do not
// notice, snapshots are installed.
//
// The checker is exact and cheap. Every change has its index in the log, so every answer is a version of an object: the
// index of the last change it shows. An answer must not be older than the newest change whose author had been told so
// before the call began, nor than what any call that had ended by then has shown, nor newer than the log. That
// is linearizability of each object. Besides: on a mount its own writes are seen at once; nothing waits for ever; and
// while nothing is broken, no mount loses its lease, which is how a deadlock of locks and releases would show.
//
// The small world keeps every version of everything, which is what the checker judges by. With Options.Machine the mounts
// follow the Changes of the real cluster/state and fs/meta instead, which apply the same ops; what they fail to mention shows
// as a stale answer, and proposals come twice. One thing is added to what they mention: see append.go.
//
// With Options.Appends all append to one file, and a read must show a beginning of the committed order, as far as the file's size
// was when its attributes were read. Not played: a kernel that keeps an old size because the reply with the new one was overtaken.
//
// Not played: a machine that sleeps and wakes up, consensus itself, disks, grants, locks and memory maps.
//
// Break switches one rule off. Each must be caught within a few seeds, or the simulator is not worth its name.
package sim

import (
	"fmt"
	"time"

	"dfs/cluster"
)

// Break is a rule left out.
type Break string

const (
	Nothing          Break = ""
	ReadApplied      Break = "answers come from the newest state applied"
	CacheOld         Break = "old answers may be kept"
	NoWait           Break = "answers do not wait for a release"
	LongValidity     Break = "validity goes beyond the lease"
	NoGuard          Break = "validity goes beyond the lease, and the guard is not there"
	IgnoreLease      Break = "answers are given without a lease"
	NoHoldOff        Break = "a new leader releases at once"
	NoQuorumRound    Break = "grants without a quorum"
	NoRetry          Break = "an inode unknown to the kernel is not tried again"
	EpochAlways      Break = "the epoch is used without a held change"
	AcknowledgeEarly Break = "a notify counts as done when it is sent"
	NoReleaseWait    Break = "a change answers before its release"
	NeverAgain       Break = "old pages read during an invalidation stay"
	KeepAttrs        Break = "replies to changes carry valid attributes"
	OverlayLong      Break = "a mount's own write hides a later one of another"
	CountLate        Break = "look-ups are counted after their attributes were read"
	ValidTooEarly    Break = "validity is reckoned before the answer waits"
	LookAhead        Break = "a change is refused by a look at the newest state"
	NoEvictions      Break = "the kernel does not tell an inode from its next life (before Linux 6.13)"
	ForgetParents    Break = "the machine does not mention a directory's attributes"
	SameMtime        Break = "a commit may leave the time of change as it was"
	NoHold           Break = "nothing is known of locked directories"
	WaitForLocks     Break = "a name notify that does not come back is waited for"
	DropAtOnce       Break = "caches are dropped while answers are on their way"
	AnswerRefusals   Break = "a refused change does not wait for what it tells of"
	KeepOwn          Break = "a mount's own append leaves its kernel's pages"
	ShowPrepared     Break = "answers do not wait for what was prepared"
	BlindAppend      Break = "where an append goes is decided before its commit applies"
)

// Options of a run. The zero value is a calm history of seed 0.
type Options struct {
	Seed      uint64
	Mounts    int           // 0: drawn, 2 or 3; of three peers
	Rough     bool          // faults happen
	OldKernel bool          // names cannot be expired without a lock
	Guard     bool          // validities outlast leases, and a guard sees to their end
	Explicit  bool          // the kernel has no AUTO_INVAL_DATA
	Machine   bool          // the mounts follow the real machine, which also finds out repeats
	Appends   bool          // a file is appended to by all
	Early     bool          // changes are prepared before they are committed, some of them in vain
	Break     Break         // a rule that is left out
	Length    time.Duration // virtual; default 3 s, 9 s if rough
	Trace     func(string)  // gets every event
}

// Report is what a run has shown.
type Report struct {
	Faults  []string // broken promises; empty is good
	Hash    uint64   // of the history
	Calls   int
	Shown   int           // versions that were judged
	Commits int           // length of the log
	Losses  int           // leases lost
	Terms   uint64        // leaders elected
	Longest time.Duration // the longest call
}

const (
	calmLength  = 3 * time.Second
	roughLength = 9 * time.Second
	patience    = 20 * time.Second        // after the last fault everything must have ended
	programs    = 4                       // on each mount
	calmMax     = 2500 * time.Millisecond // a call takes at most that while nothing is broken
	calmOld     = 4 * time.Second         // on kernels where a conflict takes 0.3 s
)

type sim struct {
	network
	o          Options
	peers      []*peer
	world      *world
	floors     *floors
	term       uint64
	done       map[proposal]bool
	committed  uint64
	lag        time.Duration // most that a request, a reply or a notify travels
	commitSlow time.Duration

	clients  []*client
	habits   []int // how often each call is made
	memory   int   // calls between evictions of an inode
	stopping bool
	busy     int // calls under way
	calls    int
	orders   uint64
	longest  time.Duration
}

func (s *sim) find(id cluster.PeerID) *peer { return s.peers[int(id[0])-1] }

// Run plays one history.
func Run(o Options) Report {
	s := &sim{o: o, world: newWorld(), floors: newFloors(), done: map[proposal]bool{}}
	if o.Appends {
		s.world.nextIno++
	}
	s.world.dull, s.world.kept = o.Break == SameMtime, o.Break == KeepOwn
	s.floors.author = func(index uint64) int { return int(s.world.log[index-1].session) - 1 }
	s.network = network{queue: newQueue(o.Seed), cut: map[way]bool{}, last: map[way]time.Duration{}}
	s.trace = o.Trace
	s.heard = func(to int) *inbox { return &s.peers[to].box }
	length := o.Length
	if length == 0 {
		length = calmLength
		if o.Rough {
			length = roughLength
		}
	}
	for i, w := range habits {
		s.habits = append(s.habits, w*(s.rng.IntN(4)+i%2))
	}
	if o.Machine {
		m, err := newMachine(3, o.Appends)
		if err != nil {
			return Report{Faults: []string{err.Error()}}
		}
		s.world.real = m
	}
	s.slow = s.between(300*time.Microsecond, 8*time.Millisecond)
	s.lag = s.between(300*time.Microsecond, 12*time.Millisecond)
	s.commitSlow = s.between(500*time.Microsecond, 8*time.Millisecond)
	s.memory = 1 + s.rng.IntN(10)
	mounts := o.Mounts
	if mounts == 0 {
		mounts = 2 + s.rng.IntN(2)
	}
	for n := range 3 {
		s.peers = append(s.peers, newPeer(s, n, n < mounts))
	}
	for _, p := range s.peers {
		s.start(p.follow)
		s.start(p.run)
		if o.Guard && p.mount != nil && o.Break != NoGuard {
			s.start(p.guard)
		}
	}
	s.elect(s.peers[s.rng.IntN(len(s.peers))])
	s.start(s.watchLeader)
	s.after(300*time.Millisecond, func() {
		for _, p := range s.peers[:mounts] {
			for n := range programs {
				c := &client{sim: s, k: p.kernel, n: n}
				s.clients = append(s.clients, c)
				s.start(c.run)
			}
		}
	})
	if o.Rough {
		s.start(func() { s.storm(length) })
	}
	s.play(length)
	s.end()
	r := Report{
		Faults: s.floors.faults, Hash: s.hash, Calls: s.calls, Shown: s.floors.shown,
		Commits: len(s.world.log), Terms: s.term, Longest: s.longest,
	}
	for _, p := range s.peers {
		r.Losses += p.losses
	}
	if !o.Rough {
		if r.Losses > 0 {
			r.Faults = append(r.Faults, fmt.Sprintf("%d leases lost although nothing was broken", r.Losses))
		}
		most := calmMax
		if o.OldKernel {
			most = calmOld
		}
		if r.Longest > most {
			r.Faults = append(r.Faults, fmt.Sprintf("a call took %v although nothing was broken", r.Longest))
		}
	}
	return r
}

// play runs until the first broken promise, or until all calls have ended after length.
func (s *sim) play(length time.Duration) {
	for len(s.floors.faults) == 0 && s.step(length) {
	}
	s.stopping = true
	for len(s.floors.faults) == 0 && s.busy > 0 && s.step(length+patience) {
	}
	if s.busy > 0 && len(s.floors.faults) == 0 {
		s.floors.fail("%d calls have not ended %v after the last fault", s.busy, patience)
		for _, p := range s.peers {
			state := p.holder.State(p.clock())
			s.note("peer %d: term %d, leader %d, applied %d of %d, lease %v, released %v", p.n, p.term, p.leader, p.applied, len(s.world.log), state, p.holder.Released())
			if p.mount != nil {
				s.note("peer %d: taken %v, floor %d", p.n, p.mount.Taken(), p.mount.Floor())
			}
		}
	}
}

// storm breaks things, one or two at a time, and mends them before the end.
func (s *sim) storm(length time.Duration) {
	s.sleep(s.between(500*time.Millisecond, time.Second))
	for s.now < length-time.Second {
		p := s.peers[s.rng.IntN(len(s.peers))]
		last := s.between(50*time.Millisecond, 5*time.Second)
		switch s.rng.IntN(7) {
		case 0, 1:
			s.note("peer %d is cut off", p.n)
			s.isolate(len(s.peers), p.n, true, true)
		case 2:
			s.note("peer %d is not heard", p.n)
			s.isolate(len(s.peers), p.n, false, true)
		case 3, 4:
			p.freeze()
		case 5:
			s.elect(p)
			last = s.between(0, 500*time.Millisecond)
		case 6:
			s.note("peer %d hears nothing, and will need a snapshot", p.n)
			s.isolate(len(s.peers), p.n, true, false)
			p.behind = true
			last = s.between(50*time.Millisecond, time.Second)
		}
		if s.chance(3) {
			q := s.peers[s.rng.IntN(len(s.peers))]
			s.sleep(s.between(0, last/2))
			s.elect(q)
		}
		s.sleep(min(last, max(0, length-s.now)))
		s.note("the weather is fine")
		s.cut = map[way]bool{}
		p.unfreeze()
		s.sleep(s.between(0, time.Second))
	}
}
