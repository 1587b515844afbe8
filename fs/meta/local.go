package meta

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"

	"dfs/blockstore/kv"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
)

// LocalOptions of a Local. The zero value is a drive of one made-up member, owned by root.
type LocalOptions struct {
	Session  uint64           // 0 takes 1
	Peers    int              // members there are; 0 takes 1
	UID, GID uint32           // owner of the root
	Now      func() time.Time // nil takes time.Now
}

// Local is a Store without a cluster: ops are applied to one machine directly, in the order they come. It is for
// tests of what stands on a Store; nothing but the kv store keeps what it does.
type Local struct {
	*localLog
	session uint64
	seq     uint64 // guarded by mu
	peers   []cluster.PeerID
	now     func() time.Time
}

// localLog is what the Locals of one drive share.
type localLog struct {
	machine *state.Machine

	mu    sync.Mutex // serializes Apply
	index uint64
}

var _ Store = (*Local)(nil)

// NewLocal returns a formatted drive on an empty kv store.
func NewLocal(kvs kv.Store, o LocalOptions) (*Local, error) {
	m, err := state.New(kvs, state.Options{Parts: map[byte]state.Part{state.TagMeta: Part{}}})
	if err != nil {
		return nil, err
	}
	l := &Local{localLog: &localLog{machine: m}, session: max(o.Session, 1), now: o.Now}
	if l.now == nil {
		l.now = time.Now
	}
	members := make([]cluster.Member, max(o.Peers, 1))
	for i := range members {
		key := ed25519.PublicKey(make([]byte, 32))
		key[0] = byte(i + 1)
		members[i] = cluster.Member{ID: cluster.IDOf(key), Key: key}
		l.peers = append(l.peers, members[i].ID)
	}
	token := state.Token{ID: state.TokenID{1}, Uses: uint32(len(members))}
	facts := []state.Fact{state.OpenSession{Peer: members[0].ID}, state.Genesis{First: members[0]}, state.TokenCreate{Token: token}}
	for _, m := range members[1:] {
		facts = append(facts, state.Admit{Token: token.ID, Member: m})
	}
	for _, f := range facts {
		raw, err := l.propose(state.Encode(f))
		if err == nil {
			_, err = state.DecodeResult(raw)
		}
		if err != nil {
			return nil, err
		}
	}
	_, err = l.Apply(context.Background(), Format{Mode: 0o755, UID: o.UID, GID: o.GID, Time: Time(l.now().UnixNano())})
	return l, err
}

// Join returns the same drive as another peer's daemon has it, in a session of its own. There must be such a peer.
func (l *Local) Join(session uint64, peer int) (*Local, error) {
	j := &Local{localLog: l.localLog, session: session, peers: l.peers, now: l.now}
	raw, err := j.propose(state.Encode(state.OpenSession{Peer: l.peers[peer], Incarnation: session}))
	if err == nil {
		_, err = state.DecodeResult(raw)
	}
	return j, err
}

// Machine returns the machine underneath. Followers must be added before the ops they are to see.
func (l *Local) Machine() *state.Machine { return l.machine }

// Session returns the session that the ops are proposed in.
func (l *Local) Session() uint64 { return l.session }

// Peers returns the made-up members' ids.
func (l *Local) Peers() []cluster.PeerID { return l.peers }

// At implements Store.
func (l *Local) At(index uint64) (View, error) {
	r, at := l.machine.At(index)
	return NewView(r, at), nil
}

// Apply implements Store.
func (l *Local) Apply(ctx context.Context, op Op) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, fault.Because("apply", fault.Canceled, err)
	}
	raw, err := l.propose(Encode(op))
	if err != nil {
		return Result{}, err
	}
	return ResultOf(raw)
}

// propose applies one body as an entry of its own. The body's own failure is in the result.
func (l *Local) propose(body []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	l.seq++
	p := raft.Proposal{Session: l.session, Seq: l.seq, Low: l.seq, Time: l.now().UnixNano(), Body: body}
	results, err := l.machine.Apply(l.index, []raft.Proposal{p})
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// Carry applies a batch and returns those of its ops that were refused.
func (l *Local) Carry(b Batch) ([]Failure, error) {
	raw, err := l.propose(Encode(b))
	if err != nil {
		return nil, err
	}
	return FailuresOf(raw)
}
