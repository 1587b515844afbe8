package node

import (
	"fmt"
	"slices"
	"strings"

	"dfs/cluster"
)

// outOfReach says for people why a peer that sees the members as v does has no majority of voters behind it.
func outOfReach(v cluster.View) string {
	var missing []string
	all := 0
	for _, p := range v.Peers {
		if p.Voter {
			all++
		}
		if p.Voter && p.ID != v.Self && p.Seen != cluster.Alive {
			missing = append(missing, p.Name)
		}
	}
	slices.Sort(missing)
	need := all/2 + 1
	switch {
	case all == 0:
		return "no voter is known yet"
	case all-len(missing) >= need:
		return "the voters are there, and have not agreed on a leader yet that this peer can reach"
	case all == 1:
		text := missing[0] + " has the only vote and does not answer: until it is back this peer can neither change nor show anything"
		if len(v.Peers) == 2 {
			text += "; a third peer would remove this limit"
		}
		return text
	}
	return fmt.Sprintf("%s not answer, and %d of the %d voters are needed", doNot(missing), need, all)
}

// doNot is the beginning of a sentence about what some peers do not do.
func doNot(names []string) string {
	if len(names) == 1 {
		return names[0] + " does"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " do"
}
