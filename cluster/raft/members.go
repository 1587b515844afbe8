package raft

import (
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/lease"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// catchUp is how many entries a learner may be behind when it is made a voter.
const catchUp = 1000

// change is a wished membership on its way.
type change struct {
	voters, learners []cluster.PeerID // sorted, disjoint
	tokens           []uint64
	underWay         bool          // a step was proposed
	sent             time.Duration // when it was
}

// stepRetry is how long a step may take before it is proposed again: it may have been refused.
const stepRetry = 2 * time.Second

// SetMembers begins to make the group consist of voters and learners, and nobody else; the answer comes as a Change
// with the token. New voters are learners first, until they have caught up; all roles then change together, by
// joint consensus. A later SetMembers replaces a wish that is still under way. That it is so already is no error.
// fault.NotLeader, fault.Invalid.
func (c *Core) SetMembers(now time.Duration, voters, learners []cluster.PeerID) (token uint64, err error) {
	const op = "set members"
	c.now = now
	voters, learners = sorted(voters), sorted(learners)
	switch {
	case !c.leading:
		return 0, fault.New(op, fault.NotLeader, "%s leads", c.leader.Short())
	case len(voters) == 0 || len(voters)+len(learners) > membersMax:
		return 0, fault.New(op, fault.Invalid, "%d voters, %d learners", len(voters), len(learners))
	case slices.ContainsFunc(learners, func(id cluster.PeerID) bool { return slices.Contains(voters, id) }):
		return 0, fault.New(op, fault.Invalid, "a peer both votes and learns")
	}
	c.failChange(fault.New(op, fault.Conflict, "replaced by another wish"))
	c.tokens++
	c.change = &change{voters: voters, learners: learners, tokens: []uint64{c.tokens}}
	token = c.tokens
	c.advanceChange()
	return token, nil
}

// sorted returns the ids in order, each once.
func sorted(ids []cluster.PeerID) []cluster.PeerID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, cluster.PeerID.Compare)
	return slices.Compact(ids)
}

func (c *Core) failChange(err error) {
	if c.change == nil {
		return
	}
	for _, t := range c.change.tokens {
		c.out.Changed = append(c.out.Changed, Change{t, err})
	}
	c.change = nil
}

// advanceChange takes the next step towards the wished membership, if one can be taken.
func (c *Core) advanceChange() {
	if c.change == nil || !c.leading || len(c.conf.state.GetVotersOutgoing()) > 0 {
		return
	}
	if c.change.underWay && c.now-c.change.sent < stepRetry {
		return
	}
	steps, hand := c.steps()
	switch {
	case !hand.IsZero():
		c.node.TransferLeader(hand.Raft())
	case len(steps) > 0:
		peers := append(slices.Clone(c.conf.peers), c.change.voters...)
		cc := &pb.ConfChangeV2{
			Transition: pb.ConfChangeTransitionJointImplicit.Enum(),
			Changes:    steps,
			Context:    appendPeers(nil, sorted(append(peers, c.change.learners...))),
		}
		if len(steps) == 1 {
			cc.Transition = pb.ConfChangeTransitionAuto.Enum()
		}
		c.change.underWay, c.change.sent = true, c.now
		_ = c.node.ProposeConfChange(cc)
	case c.reached():
		c.failChange(nil)
	}
}

// steps returns the changes that can be made now. A leader never takes its own vote away: it would step down before
// those who stay know that they may go on without it, while its log, the longest, keeps them from winning an election.
// If this peer is not to vote any more, hand is the voter that should lead first, and take it away then.
func (c *Core) steps() (steps []*pb.ConfChangeSingle, hand cluster.PeerID) {
	add := func(kind pb.ConfChangeType, id cluster.PeerID) {
		steps = append(steps, &pb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(id.Raft())})
	}
	state := c.conf.state
	has := func(list []uint64, id cluster.PeerID) bool { return slices.Contains(list, id.Raft()) }
	match := c.progress()
	ready := true
	for _, id := range c.change.voters {
		if has(state.Voters, id) {
			continue
		}
		if !has(state.Learners, id) {
			add(pb.ConfChangeAddLearnerNode, id)
		}
		if pr := match[id.Raft()]; pr.Match == 0 || pr.Match+catchUp < c.commit || !pr.RecentActive {
			ready = false
		}
	}
	if len(steps) > 0 || !ready {
		return steps, cluster.PeerID{}
	}
	keepSelf := !slices.Contains(c.change.voters, c.o.Self)
	if keepSelf {
		for _, id := range c.change.voters { // one that votes already, or all become voters first
			if has(state.Voters, id) && match[id.Raft()].RecentActive {
				return nil, id
			}
		}
	}
	for _, id := range c.change.voters {
		if !has(state.Voters, id) {
			add(pb.ConfChangeAddNode, id)
		}
	}
	for _, id := range c.change.learners {
		if !has(state.Learners, id) && !has(state.LearnersNext, id) && !(keepSelf && id == c.o.Self) {
			add(pb.ConfChangeAddLearnerNode, id)
		}
	}
	for _, id := range c.conf.peers {
		gone := !slices.Contains(c.change.voters, id) && !slices.Contains(c.change.learners, id)
		if gone && (has(state.Voters, id) || has(state.Learners, id)) && !(keepSelf && id == c.o.Self) {
			add(pb.ConfChangeRemoveNode, id)
		}
	}
	return steps, cluster.PeerID{}
}

// reached reports whether the configuration is the wished one.
func (c *Core) reached() bool {
	voters, learners := c.Members()
	return slices.Equal(voters, c.change.voters) && slices.Equal(learners, c.change.learners)
}

// progress returns what the leader knows of each replica.
func (c *Core) progress() map[uint64]tracker.Progress {
	all := map[uint64]tracker.Progress{}
	c.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) { all[id] = pr })
	return all
}

// Members returns who votes, in either configuration during a change, and who learns. Sorted.
func (c *Core) Members() (voters, learners []cluster.PeerID) {
	for _, id := range c.conf.peers {
		n := id.Raft()
		switch {
		case slices.Contains(c.conf.state.Voters, n) || slices.Contains(c.conf.state.VotersOutgoing, n):
			voters = append(voters, id)
		case slices.Contains(c.conf.state.Learners, n):
			learners = append(learners, id)
		}
	}
	return voters, learners
}

// reconfigure takes a committed change of the configuration.
func (c *Core) reconfigure(e *Entry) {
	c.learn(e.peers...)
	c.confAt = e.Index
	c.conf.state = c.node.ApplyConfChange(e.change)
	if c.change != nil {
		c.change.underWay = false
	}
	if removes(e.change) {
		c.removed = c.now
	}
	known := append(slices.Clone(c.conf.peers), e.peers...)
	state := c.conf.state
	member := func(id cluster.PeerID) bool {
		n := id.Raft()
		return slices.Contains(state.Voters, n) || slices.Contains(state.VotersOutgoing, n) ||
			slices.Contains(state.Learners, n) || slices.Contains(state.LearnersNext, n)
	}
	c.conf.peers = slices.DeleteFunc(sorted(known), func(id cluster.PeerID) bool { return !member(id) })
	// The last leaving of a joint configuration names nobody; whom it removes must stay known until then, so that
	// Members never misses a voter. It is: outgoing voters are members above.
}

// Transfer begins to hand leadership to a voter; fault.NotLeader. With a zero id the voter that is furthest is
// chosen; fault.NotExist if there is none.
func (c *Core) Transfer(now time.Duration, to cluster.PeerID) error {
	const op = "transfer"
	c.now = now
	if !c.leading {
		return fault.New(op, fault.NotLeader, "%s leads", c.leader.Short())
	}
	if to.IsZero() {
		var best uint64
		progress := c.progress()
		for _, id := range c.conf.peers {
			pr, ok := progress[id.Raft()]
			votes := slices.Contains(c.conf.state.Voters, id.Raft())
			if ok && votes && id != c.o.Self && pr.RecentActive && pr.Match >= best {
				to, best = id, pr.Match
			}
		}
	}
	if to.IsZero() || to == c.o.Self {
		return fault.New(op, fault.NotExist, "nobody else can lead")
	}
	if !slices.Contains(c.conf.state.Voters, to.Raft()) {
		return fault.New(op, fault.Invalid, "%s does not vote", to.Short())
	}
	c.node.TransferLeader(to.Raft())
	return nil
}

// Transferring reports whether a Transfer is under way. The consensus core gives it up after an election timeout.
func (c *Core) Transferring() bool { return c.node.BasicStatus().LeadTransferee != etcd.None }

// watchSnapshots gives up on followers that stopped pulling the snapshot they were told of.
func (c *Core) watchSnapshots() {
	if !c.leading {
		return
	}
	c.node.WithProgress(func(id uint64, _ etcd.ProgressType, pr tracker.Progress) {
		if pr.State == tracker.StateSnapshot && c.now-c.active[id] > snapSilence {
			c.active[id] = c.now
			c.view.snap = nil // a new one, that nobody has pulled from yet
			c.node.ReportSnapshot(id, etcd.SnapshotFailure)
		}
	})
}

// Bootstrap returns what the log of a cluster's first peer begins with: it alone votes.
func Bootstrap(self cluster.PeerID) (entry []byte, conf []byte) {
	cc := &pb.ConfChangeV2{
		Changes: []*pb.ConfChangeSingle{{Type: pb.ConfChangeAddNode.Enum(), NodeId: new(self.Raft())}},
		Context: appendPeers(nil, []cluster.PeerID{self}),
	}
	_, entry, err := pb.MarshalConfChange(cc)
	if err != nil {
		panic(err)
	}
	c := config{state: &pb.ConfState{Voters: []uint64{self.Raft()}}, peers: []cluster.PeerID{self}}
	return entry, c.append(nil)
}

// Status is a replica's state at one moment.
type Status struct {
	Self, Leader     cluster.PeerID // Leader is zero while none is known
	Leading          bool
	Term             uint64
	Commit, Applied  uint64
	First, Last      uint64
	Voters, Learners []cluster.PeerID
	Joint            bool // a change of voters is under way
	Released         lease.Seen
	Lease            lease.State
	LeaseUntil       time.Duration
	Behind           []cluster.PeerID             // on the leader: mounts that have not taken everything in
	Holders          []cluster.PeerID             // on the leader: mounts that hold, or may hold, a lease
	HoldersKnown     bool                         // on the leader: no others can
	Match            map[cluster.PeerID]MemberLog // on the leader
	Window           int                          // proposals of this peer under way
}

// MemberLog is how far a replica's log is, as the leader knows it.
type MemberLog struct {
	Match  uint64
	Recent bool // it answered within the last election timeout
}

// Status returns the replica's state.
func (c *Core) Status(now time.Duration) Status {
	s := Status{
		Self: c.o.Self, Leader: c.leader, Leading: c.leading, Term: c.term,
		Commit: c.commit, Applied: c.applied, First: c.log.First(), Last: c.log.Last(),
		Joint:    len(c.conf.state.GetVotersOutgoing()) > 0,
		Released: c.holder.Released(), Window: len(c.window),
	}
	s.Voters, s.Learners = c.Members()
	s.Lease, s.LeaseUntil = c.Lease(now)
	if !c.leading {
		return s
	}
	s.Behind = c.table.Behind()
	s.Holders, s.HoldersKnown = c.table.Holders()
	s.Match = map[cluster.PeerID]MemberLog{}
	for id, pr := range c.progress() {
		s.Match[c.names[id]] = MemberLog{pr.Match, pr.RecentActive || id == c.id}
	}
	return s
}
