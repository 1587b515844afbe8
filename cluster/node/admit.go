package node

import (
	"context"
	"math"
	"time"

	"dfs/cluster"
	"dfs/cluster/identity"
	"dfs/cluster/state"
)

// anyUses is how the state writes "any number of uses".
const anyUses = math.MaxUint32

// admitter lets machines join: any member can, since the authority's key lies wrapped in the replicated state and every
// member has the secret that unwraps it.
type admitter struct{ n *Node }

var _ identity.Admitter = admitter{}

// TokenKey implements identity.Admitter.
func (a admitter) TokenKey(id identity.TokenID) (key []byte, expiry time.Time, usesLeft int, ok bool) {
	err := a.n.store.facts(func(v state.View) error {
		t, err := v.Token(state.TokenID(id))
		if err != nil {
			return err
		}
		key, usesLeft = t.Key[:], int(t.Uses)
		if t.Uses == anyUses {
			usesLeft = -1
		}
		if t.Expiry != 0 {
			expiry = time.Unix(0, t.Expiry)
		}
		return nil
	})
	return key, expiry, usesLeft, err == nil
}

// Admit implements identity.Admitter.
func (a admitter) Admit(ctx context.Context, req identity.JoinRequest) (reply identity.JoinReply, err error) {
	n := a.n
	raw, err := n.store.propose(ctx, state.Admit{Token: state.TokenID(req.TokenID), Member: cluster.Member{
		ID: req.ID(), Key: req.PublicKey, Name: req.Name, Addr: req.Addr, Zone: req.Zone, Host: req.Host, Capacity: req.Capacity,
	}})
	if err != nil {
		return reply, err
	}
	self, err := state.DecodeMember(raw)
	if err != nil {
		return reply, err
	}
	reply = identity.JoinReply{CA: n.id.CA(), Cluster: n.id.Cluster, Name: n.id.Name, Secret: n.id.Secret, Self: self}
	err = n.store.facts(func(v state.View) (err error) {
		if reply.Members, err = v.Members(); err != nil {
			return err
		}
		ca, err := n.authority(v)
		if err != nil {
			return err
		}
		reply.Cert, err = ca.Issue(req.PublicKey, time.Now())
		return err
	})
	return reply, err
}

// authority unwraps the cluster's certificate authority.
func (n *Node) authority(v state.View) (*identity.CA, error) {
	g, err := v.Genesis()
	if err != nil {
		return nil, err
	}
	key, err := identity.UnwrapKey(n.id.Secret, n.id.Cluster, g.WrappedKey)
	if err != nil {
		return nil, err
	}
	return identity.LoadCA(g.CACert, key)
}
