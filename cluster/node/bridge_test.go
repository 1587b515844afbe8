package node

import (
	"slices"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/raft"
)

// Peer 1 leads; peers 1 to 5 vote.
func TestWhenALeaderHandsOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		silent []byte // to the leader
		unled  []byte
		dead   []byte
		behind []byte
		misses map[byte]uint64
		want   byte // 0: it stays
	}{
		{name: "all is well"},
		{name: "a peer that is dead", silent: []byte{2}, unled: []byte{2}, dead: []byte{2}},
		{name: "a peer that says nothing of it: it is frozen", silent: []byte{2}},
		{name: "a peer that is heard: it will notice", unled: []byte{2}},
		{name: "a peer that others hear", silent: []byte{2}, unled: []byte{2}, want: 3},
		{name: "not to whom the leader does not reach", silent: []byte{2, 3}, unled: []byte{2}, want: 4},
		{name: "not to whom the leader's word does not reach", silent: []byte{2}, unled: []byte{2, 3}, want: 4},
		{name: "not to whom lags", silent: []byte{2}, unled: []byte{2}, behind: []byte{3, 4}, want: 5},
		{name: "not to whom is dead", silent: []byte{2}, unled: []byte{2}, dead: []byte{3}, want: 4},
		{name: "to whom misses nobody", silent: []byte{2}, unled: []byte{2}, misses: map[byte]uint64{3: 1, 4: 1}, want: 5},
		{name: "to whom misses fewer", silent: []byte{2, 3}, unled: []byte{2, 3}, misses: map[byte]uint64{4: 2, 5: 1}, want: 5},
		{name: "a ring: nobody is better", silent: []byte{2, 3}, unled: []byte{2, 3}, misses: map[byte]uint64{4: 2, 5: 2}},
	} {
		st := raft.Status{Self: pid(1), Leading: true, Voters: pids(5, 4, 3, 2, 1), Commit: 5000, Match: map[cluster.PeerID]raft.MemberLog{}}
		all := map[cluster.PeerID]hints{}
		for i := byte(1); i <= 5; i++ {
			h := hints{seen: cluster.Alive, unled: slices.Contains(c.unled, i), misses: c.misses[i]}
			if slices.Contains(c.silent, i) {
				h.seen = cluster.Suspect
			}
			if slices.Contains(c.dead, i) {
				h.seen = cluster.Dead
			}
			all[pid(i)] = h
			st.Match[pid(i)] = raft.MemberLog{Match: 5000, Recent: h.seen == cluster.Alive}
			if slices.Contains(c.behind, i) {
				st.Match[pid(i)] = raft.MemberLog{Match: 5000 - lagMax - 1, Recent: true}
			}
		}
		silent := func(id cluster.PeerID) bool { return slices.Contains(c.silent, id[0]) }
		n, now := &Node{}, time.Unix(1, 0)
		for _, at := range []time.Duration{0, unledFor - 1} {
			if to, ok := n.handTo(st, all, silent, now.Add(at)); ok {
				t.Errorf("%s: handed over to %d after %v", c.name, to[0], at)
			}
		}
		if to, ok := n.handTo(st, all, silent, now.Add(unledFor)); ok != (c.want != 0) || ok && to != pid(c.want) {
			t.Errorf("%s: handed over to %d (%v), not %d", c.name, to[0], ok, c.want)
		}
		n.handTo(st, all, func(cluster.PeerID) bool { return false }, now.Add(unledFor))
		if to, ok := n.handTo(st, all, silent, now.Add(unledFor+1)); ok {
			t.Errorf("%s: what was over counts: handed over to %d", c.name, to[0])
		}
	}
}
