package placement

import (
	"math/rand/v2"
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
)

// Candidates is how many random eligible peers a policy compares for each replica (the d of "power of d
// choices"). Comparing all would send every writer of the cluster to the same emptiest peer until its next report.
const Candidates = 3

// Options say what a policy optimizes and within which wishes. The zero value is Balanced.
type Options struct {
	Name      Name             // "" or an unknown name is Balanced
	Zones     int              // distinct zones wanted; once reached, zones no longer matter. 0 = as many as possible
	Have      []cluster.PeerID // peers that keep a replica already: their hosts and zones count as used
	MaxErrors float64          // share of failed requests above which a peer is passed over; 0 = 0.5
}

// For returns the policy called name, "" or unknown being Balanced. Every Pick draws from rng: a Policy is safe for
// concurrent use only if rng is.
func For(name Name, rng *rand.Rand) Policy { return New(Options{Name: name}, rng) }

// New returns the policy o describes, drawing from rng.
func New(o Options, rng *rand.Rand) Policy {
	if o.MaxErrors == 0 {
		o.MaxErrors = 0.5
	}
	return &policy{o, rng}
}

type policy struct {
	Options
	rng *rand.Rand
}

var _ Policy = (*policy)(nil)

// Pick filters, then fills the n places one by one. Among the peers left it considers only the best class: alive
// before suspect, then a host without a replica, then a zone without one (while more zones are wanted). Of that
// class it compares Candidates random members by score. Where all peers share a host, a shared host is the best
// class there is: wishes give way, filters do not.
func (p *policy) Pick(v cluster.View, n int, blocks uint32, avoid []cluster.PeerID) ([]cluster.PeerID, Why, error) {
	score := p.scorer(&v)
	why := make(Why, len(v.Peers))
	var left []int // indexes of v.Peers that are eligible and not yet chosen
	for i := range v.Peers {
		peer := &v.Peers[i]
		why[i] = Reason{Peer: peer.ID, Filter: filter(peer, blocks, p.MaxErrors, avoid)}
		if why[i].Filter == "" {
			why[i].Score = score(peer)
			left = append(left, i)
		}
	}
	if len(left) == 0 && n > 0 {
		return nil, why, fault.New("place", fault.NoSpace, "none of %d peers can take %d bytes", len(v.Peers), int64(blocks)*blockstore.Size)
	}
	used := p.replicas(&v)
	var picked []cluster.PeerID
	for len(picked) < n && len(left) > 0 {
		chosen := p.local(&v, left, used)
		if chosen < 0 {
			chosen = p.draw(p.best(&v, left, used), why)
		}
		why[chosen].Chosen = true
		picked = append(picked, v.Peers[chosen].ID)
		used.add(&v.Peers[chosen])
		left = slices.DeleteFunc(left, func(i int) bool { return i == chosen })
	}
	return picked, why, nil
}

// local returns the index of this peer if the policy wants the first copy here and left has it, else -1.
func (p *policy) local(v *cluster.View, left []int, used *replicas) int {
	if p.Name != LocalFirst || len(used.peers) > 0 {
		return -1
	}
	at := slices.IndexFunc(left, func(i int) bool { return v.Peers[i].ID == v.Self })
	if at < 0 {
		return -1
	}
	return left[at]
}

// draw returns the best by score of Candidates random members of class, which it shuffles.
func (p *policy) draw(class []int, why Why) int {
	chosen := -1
	for k := range min(Candidates, len(class)) {
		at := k + p.rng.IntN(len(class)-k)
		class[k], class[at] = class[at], class[k]
		if chosen < 0 || why[class[k]].Score < why[chosen].Score {
			chosen = class[k]
		}
	}
	return chosen
}

// best returns those of left that are in the best class, in a slice of its own.
func (p *policy) best(v *cluster.View, left []int, used *replicas) []int {
	class := func(i int) int {
		peer, c := &v.Peers[i], 0
		if peer.Seen != cluster.Alive {
			c += 4
		}
		if used.hosts[host(peer)] {
			c += 2
		}
		if used.zones[peer.Zone] && (p.Zones == 0 || len(used.zones) < p.Zones) {
			c++
		}
		return c
	}
	least := class(left[0])
	for _, i := range left[1:] {
		least = min(least, class(i))
	}
	var best []int
	for _, i := range left {
		if class(i) == least {
			best = append(best, i)
		}
	}
	return best
}

// replicas is where the extent is or will be.
type replicas struct {
	peers []cluster.PeerID
	hosts map[string]bool
	zones map[string]bool
}

func (p *policy) replicas(v *cluster.View) *replicas {
	r := &replicas{hosts: map[string]bool{}, zones: map[string]bool{}}
	for _, id := range p.Have {
		if peer := v.Find(id); peer != nil {
			r.add(peer)
		}
	}
	return r
}

func (r *replicas) add(p *cluster.Peer) {
	r.peers = append(r.peers, p.ID)
	r.hosts[host(p)] = true
	r.zones[p.Zone] = true
}

// host names p's machine; a peer that does not say is taken to be alone on its.
func host(p *cluster.Peer) string {
	if p.Host == "" {
		return "peer " + p.ID.String()
	}
	return p.Host
}
