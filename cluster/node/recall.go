package node

import (
	"context"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/fs/meta"
	"dfs/net/wire"
)

// recall asks the mount that created a file to flush it and to give up its grant.
type recall struct {
	Session uint64
	Ino     meta.Ino
	PassOn  bool // it is another peer's session, which the sender does not hear: ask it
}

// recalled is its answer.
type recalled struct{}

func (*recall) Kind() wire.Kind   { return wire.KindRecall }
func (*recalled) Kind() wire.Kind { return wire.KindRecall }

func (m *recall) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendUint(wire.AppendUint(b, m.Session), uint64(m.Ino)), m.PassOn)
}

func (m *recall) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = recall{Session: r.Uint(), Ino: meta.Ino(r.Uint()), PassOn: r.Bool()}
	return r.Done()
}

func (*recalled) Append(b []byte) []byte { return b }
func (*recalled) Decode(b []byte) error  { return wire.NewReader(b).Done() }

// recall implements vfs.Options.Recall: it sends the request to the peer whose session holds the grant, by way of a third one
// where that peer is not heard: what is between the two need not be between others.
func (n *Node) recall(ctx context.Context, session uint64, ino meta.Ino) error {
	to, err := n.holderOf(session)
	if err != nil {
		return err
	}
	m := &recall{Session: session, Ino: ino}
	if n.net.Silent(to) {
		if bridge, ok := n.bridge(to); ok {
			to, m.PassOn = bridge, true
		}
	}
	return n.net.Call(ctx, to, m, &recalled{})
}

// holderOf returns the peer whose session it is.
func (n *Node) holderOf(session uint64) (who cluster.PeerID, err error) {
	err = n.store.facts(func(v state.View) error {
		s, err := v.Session(session)
		who = s.Peer
		return err
	})
	return who, err
}

// serveRecall answers another mount's recall.
func (n *Node) serveRecall(ctx context.Context, _ cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m recall
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	if m.PassOn {
		to, err := n.holderOf(m.Session)
		if err != nil {
			return nil, err
		}
		if to != n.id.ID() {
			return &recalled{}, n.net.Call(ctx, to, &recall{Session: m.Session, Ino: m.Ino}, &recalled{})
		}
	}
	if m.Session != n.session.id.Load() || n.fs == nil {
		return nil, fault.New("recall", fault.Stale, "session %x is not this daemon's", m.Session)
	}
	return &recalled{}, n.fs.Recall(ctx, m.Ino)
}
