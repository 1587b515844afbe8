package node

import (
	"errors"
	"testing"

	"dfs/cluster"
	"dfs/cluster/fault"
)

func TestWhatIsOutOfReachIsSaidPlainly(t *testing.T) {
	const alive, dead, suspect = cluster.Alive, cluster.Dead, cluster.Suspect
	peer := func(name string, voter bool, seen cluster.State) cluster.Peer {
		return cluster.Peer{Member: cluster.Member{ID: cluster.PeerID{name[0]}, Name: name}, Voter: voter, Seen: seen}
	}
	for _, c := range []struct {
		peers []cluster.Peer
		want  string
	}{
		{[]cluster.Peer{peer("a", false, alive)}, "no voter is known yet"},
		{[]cluster.Peer{peer("a", false, alive), peer("b", true, dead)},
			"b has the only vote and does not answer: until it is back this peer can neither change nor show anything; a third peer would remove this limit"},
		{[]cluster.Peer{peer("a", false, alive), peer("b", true, dead), peer("c", false, dead)},
			"b has the only vote and does not answer: until it is back this peer can neither change nor show anything"},
		{[]cluster.Peer{peer("a", true, alive), peer("b", true, suspect), peer("c", true, dead)}, "b and c do not answer, and 2 of the 3 voters are needed"},
		{[]cluster.Peer{peer("a", false, alive), peer("b", true, dead), peer("c", true, dead), peer("d", true, dead)},
			"b, c and d do not answer, and 2 of the 3 voters are needed"},
		{[]cluster.Peer{peer("a", false, alive), peer("b", true, dead), peer("c", true, alive), peer("d", true, alive)},
			"the voters are there, and have not agreed on a leader yet that this peer can reach"},
	} {
		if got := outOfReach(cluster.NewView(cluster.PeerID{'a'}, 1, c.peers)); got != c.want {
			t.Errorf("said %q, not %q", got, c.want)
		}
	}
}

// What waits is refused as soon as the peer is cut off, new things at once, and nothing is any more as soon as it is not.
func TestCutOff(t *testing.T) {
	is := false
	c := newCutOff(func() bool { return is })
	ctx, end, err := c.within(t.Context())
	if err != nil || c.err() != nil {
		t.Fatal(err, c.err())
	}
	defer end()
	is = true
	why := fault.New("change", fault.ReadOnly, "because")
	c.look(why)
	<-ctx.Done()
	if err := because(ctx, fault.Canceled); !errors.Is(err, fault.ReadOnly) {
		t.Errorf("what waited got %v", err)
	}
	if _, _, err := c.within(t.Context()); !errors.Is(err, fault.ReadOnly) {
		t.Errorf("what came later got %v", err)
	}
	is = false
	ctx, end, err = c.within(t.Context())
	if err != nil || ctx.Err() != nil {
		t.Errorf("connected again: %v, %v", err, ctx.Err())
	}
	end()
	if because(ctx, nil) != nil || !errors.Is(because(ctx, fault.Timeout), fault.Timeout) {
		t.Error("an outcome of its own is changed")
	}
}
