package node

import (
	"slices"
	"testing"

	"dfs/cluster"
	"dfs/cluster/raft"
)

func pid(n byte) cluster.PeerID { return cluster.PeerID{n} }

func pids(ns ...byte) (ids []cluster.PeerID) {
	for _, n := range ns {
		ids = append(ids, pid(n))
	}
	return ids
}

// Members are numbered in the order they joined.
func TestWhoVotes(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []byte
		dead    []byte // seen as dead
		away    []byte // and for long
		lost    []byte // declared so
		lags    []byte
		votes   []byte // now
		self    byte   // leads
		want    []byte
	}{
		{name: "one", members: []byte{1}, votes: []byte{1}, self: 1, want: []byte{1}},
		{name: "two: one votes", members: []byte{1, 2}, votes: []byte{1}, self: 1, want: []byte{1}},
		{name: "three: all at once", members: []byte{1, 2, 3}, votes: []byte{1}, self: 1, want: []byte{1, 2, 3}},
		{name: "four: three", members: []byte{1, 2, 3, 4}, votes: []byte{1}, self: 1, want: []byte{1, 2, 3}},
		{name: "four, three vote already", members: []byte{1, 2, 3, 4}, votes: []byte{1, 2, 4}, self: 1, want: []byte{1, 2, 4}},
		{name: "five", members: []byte{1, 2, 3, 4, 5}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3, 4, 5}},
		{name: "seven: five", members: []byte{1, 2, 3, 4, 5, 6, 7}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3, 4, 5}},
		{name: "six to four", members: []byte{1, 2, 3, 4}, votes: []byte{1, 2, 3, 4, 5}, self: 1, want: []byte{1, 2, 3}},
		{name: "four to three", members: []byte{1, 2, 3}, votes: []byte{1, 2, 3}, self: 2, want: []byte{1, 2, 3}},
		{name: "three to two", members: []byte{1, 2}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1}},
		{name: "three to two, the youngest leads", members: []byte{1, 2}, votes: []byte{1, 2, 3}, self: 2, want: []byte{2}},
		{name: "five to four, the youngest leads", members: []byte{1, 2, 3, 4}, votes: []byte{1, 2, 3, 4, 5}, self: 4, want: []byte{1, 2, 4}},
		{name: "two to one", members: []byte{1}, votes: []byte{1}, self: 1, want: []byte{1}},
		{name: "three, one candidate is dead: not two", members: []byte{1, 2, 3}, dead: []byte{3}, votes: []byte{1}, self: 1, want: []byte{1}},
		{name: "three, one candidate lags: not two", members: []byte{1, 2, 3}, lags: []byte{2}, votes: []byte{1}, self: 1, want: []byte{1}},
		{name: "four, the dead candidate is passed over", members: []byte{1, 2, 3, 4}, dead: []byte{2}, votes: []byte{1}, self: 1, want: []byte{1, 3, 4}},
		{name: "five, one candidate lags: not four", members: []byte{1, 2, 3, 4, 5}, lags: []byte{5}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "a dead voter stays", members: []byte{1, 2, 3, 4}, dead: []byte{3}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "one that has been away for long is replaced", members: []byte{1, 2, 3, 4}, dead: []byte{3}, away: []byte{3}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 4}},
		{name: "away for long, and nobody to replace it", members: []byte{1, 2, 3}, dead: []byte{3}, away: []byte{3}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "away for long, and the other is away too", members: []byte{1, 2, 3, 4}, dead: []byte{3, 4}, away: []byte{3}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "away for long, and the other lags", members: []byte{1, 2, 3, 4}, dead: []byte{3}, away: []byte{3}, lags: []byte{4}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "two of five away for long, one can replace", members: []byte{1, 2, 3, 4, 5, 6}, dead: []byte{4, 5}, away: []byte{4, 5}, votes: []byte{1, 2, 3, 4, 5}, self: 1, want: []byte{1, 2, 3, 6, 5}},
		{name: "a lost voter is replaced", members: []byte{1, 2, 3, 4}, lost: []byte{3}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 4}},
		{name: "a removed voter is replaced", members: []byte{1, 2, 4}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 4}},
		{name: "a lost voter counts until another can vote: not two", members: []byte{1, 2, 3, 4}, lost: []byte{3}, dead: []byte{4}, votes: []byte{1, 2, 3}, self: 1, want: []byte{1, 2, 3}},
		{name: "a lost leader hands over", members: []byte{1, 2}, lost: []byte{1}, votes: []byte{1}, self: 1, want: []byte{2}},
		{name: "a lost leader stays where nobody can take over", members: []byte{1, 2}, lost: []byte{1}, lags: []byte{2}, votes: []byte{1}, self: 1, want: nil},
		{name: "a lost candidate is none", members: []byte{1, 2, 3}, lost: []byte{3}, votes: []byte{1}, self: 1, want: []byte{1}},
	} {
		st := raft.Status{Self: pid(c.self), Voters: pids(c.votes...), Commit: 5000, Match: map[cluster.PeerID]raft.MemberLog{}}
		var peers []cluster.Peer
		for _, n := range c.members {
			p := cluster.Peer{Member: cluster.Member{ID: pid(n), Joined: uint64(n)}}
			m := raft.MemberLog{Match: 5000, Recent: true}
			if slices.Contains(c.lags, n) {
				m.Match = 5000 - lagMax - 1
			}
			if slices.Contains(c.dead, n) {
				p.Seen, m.Recent = cluster.Dead, false
			}
			if slices.Contains(c.lost, n) {
				p.State = cluster.Lost
			}
			peers, st.Match[pid(n)] = append([]cluster.Peer{p}, peers...), m
		}
		voters, learners := planVoters(peers, st, pids(c.away...))
		if !sameIDs(voters, pids(c.want...)) {
			t.Errorf("%s: %v vote", c.name, voters)
		}
		for _, n := range c.members {
			if slices.Contains(voters, pid(n)) == slices.Contains(learners, pid(n)) {
				t.Errorf("%s: %d both votes and learns, or neither", c.name, n)
			}
		}
	}
}

// Whatever the members and the configuration are, a plan never makes two voters, nor drops a leader that stays.
func TestPlansAreSound(t *testing.T) {
	for bits := range 1 << 15 {
		st := raft.Status{Self: pid(1), Commit: 5000, Match: map[cluster.PeerID]raft.MemberLog{}}
		var peers []cluster.Peer
		for i := range 5 {
			state := bits >> (3 * i) & 7
			p := cluster.Peer{Member: cluster.Member{ID: pid(byte(i + 1)), Joined: uint64(i)}}
			if state&1 != 0 {
				st.Voters = append(st.Voters, p.ID)
			}
			switch state >> 1 {
			case 0: // no member
				continue
			case 1:
				p.State = cluster.Lost
			case 2:
				p.Seen = cluster.Dead
			}
			st.Match[p.ID] = raft.MemberLog{Match: 5000, Recent: p.Seen == cluster.Alive}
			peers = append(peers, p)
		}
		if n := len(st.Voters); n == 0 || n == 2 || st.Voters[0] != st.Self {
			continue
		}
		voters, learners := planVoters(peers, st, nil)
		if len(voters) == 2 {
			t.Fatalf("%015b: %v of %v", bits, voters, st.Voters)
		}
		if i := slices.IndexFunc(peers, func(p cluster.Peer) bool { return p.ID == st.Self }); i >= 0 &&
			peers[i].State != cluster.Lost && !slices.Contains(voters, st.Self) {
			t.Fatalf("%015b: the leader is dropped: %v", bits, voters)
		}
		if again, _ := planVoters(peers, raft.Status{Self: st.Self, Voters: voters, Learners: learners, Commit: st.Commit, Match: st.Match}, nil); len(voters) > 0 && !sameIDs(again, voters) {
			t.Fatalf("%015b: %v, then %v", bits, voters, again)
		}
	}
}
