package node

import (
	"context"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/raft"
)

// lagMax is how many entries a learner may lack to be made a voter: it must not hold commits up.
const lagMax = 1000

// voterGrace is how long a voter may be away before another peer that is there votes in its place. Meanwhile the
// others are a majority still; a restart, or a night's update, shall not move votes to and fro.
const voterGrace = 5 * time.Minute

// setVoters brings the consensus configuration in line with the members.
func (n *Node) setVoters(ctx context.Context) error {
	st := n.group.Status()
	if !st.Leading || st.Joint {
		return nil
	}
	if out := n.unadmitted(st); len(out) > 0 {
		// Two voters in between are no fewer than three of which one must be silent.
		return n.group.SetMembers(ctx, without(st.Voters, out), without(st.Learners, out))
	}
	v := n.roster.view()
	voters, learners := planVoters(v.Peers, st, n.absentees(v.Peers, st, time.Now()))
	if len(voters) == 0 {
		return nil // nobody can take over yet
	}
	if sameIDs(voters, st.Voters) && sameIDs(learners, st.Learners) {
		return nil
	}
	n.log.Info("voters change", "from", len(st.Voters), "to", len(voters), "learners", len(learners))
	return n.group.SetMembers(ctx, voters, learners)
}

// absentees returns the voters that have not been there for so long that others shall vote in their place. It
// remembers since when; a new leader begins to count anew.
func (n *Node) absentees(peers []cluster.Peer, st raft.Status, now time.Time) (long []cluster.PeerID) {
	after := n.cfg.VoterGrace
	if after == 0 {
		after = voterGrace
	}
	n.mu.Lock()
	began := n.ledSince
	n.mu.Unlock()
	since := map[cluster.PeerID]time.Time{}
	for _, p := range peers {
		if p.Seen != cluster.Dead || st.Match[p.ID].Recent || !slices.Contains(st.Voters, p.ID) {
			continue
		}
		at, known := n.absent[p.ID]
		if !known || at.Before(began) {
			at = now
		}
		since[p.ID] = at
		if now.Sub(at) >= after {
			long = append(long, p.ID)
		}
	}
	n.absent = since
	return long
}

// planVoters decides who votes: present voters stay while they are members that are not lost, missing ones are taken from
// the members that are alive and have caught up, oldest first. Their number is odd, or what it is already. It is never two:
// a voter that is lost or gone stays in the count until another can take its place, and so does one that has been absent
// for long. No voters at all means that nothing can be changed yet.
func planVoters(peers []cluster.Peer, st raft.Status, absent []cluster.PeerID) (voters, learners []cluster.PeerID) {
	byAge := slices.Clone(peers)
	slices.SortFunc(byAge, func(a, b cluster.Peer) int { return cluster.ByJoined(a.Member, b.Member) })
	stay := slices.DeleteFunc(slices.Clone(byAge), func(p cluster.Peer) bool { return p.State == cluster.Lost })
	want := cluster.VotersFor(len(stay))
	for _, p := range stay {
		if slices.Contains(st.Voters, p.ID) {
			voters = append(voters, p.ID)
		}
	}
	// Too many: the youngest go first, never the leader.
	for i := len(voters) - 1; i >= 0 && len(voters) > want; i-- {
		if voters[i] != st.Self {
			voters = slices.Delete(voters, i, i+1)
		}
	}
	for i, id := range voters {
		if !slices.Contains(absent, id) || id == st.Self {
			continue
		}
		for _, p := range stay {
			if !slices.Contains(voters, p.ID) && fit(p, st) {
				voters[i] = p.ID
				break
			}
		}
	}
	full := slices.Clone(voters)
	for _, p := range stay {
		if len(full) < want && !slices.Contains(full, p.ID) && fit(p, st) {
			full = append(full, p.ID)
		}
	}
	if len(full)%2 == 1 {
		voters = full
	} else if len(full) > 0 && len(full)-1 > len(voters) {
		voters = full[:len(full)-1]
	}
	if len(voters) == 2 {
		voters = slices.Clone(st.Voters)
	}
	for _, p := range byAge {
		if !slices.Contains(voters, p.ID) {
			learners = append(learners, p.ID)
		}
	}
	return voters, learners
}

// fit reports whether p can be made a voter now.
func fit(p cluster.Peer, st raft.Status) bool {
	m, ok := st.Match[p.ID]
	return ok && m.Recent && m.Match+lagMax >= st.Commit && p.Seen == cluster.Alive
}

func sameIDs(a, b []cluster.PeerID) bool {
	if len(a) != len(b) {
		return false
	}
	return !slices.ContainsFunc(a, func(id cluster.PeerID) bool { return !slices.Contains(b, id) })
}
