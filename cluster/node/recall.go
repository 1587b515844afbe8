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
}

// recalled is its answer.
type recalled struct{}

func (*recall) Kind() wire.Kind   { return wire.KindRecall }
func (*recalled) Kind() wire.Kind { return wire.KindRecall }

func (m *recall) Append(b []byte) []byte {
	return wire.AppendUint(wire.AppendUint(b, m.Session), uint64(m.Ino))
}

func (m *recall) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = recall{Session: r.Uint(), Ino: meta.Ino(r.Uint())}
	return r.Done()
}

func (*recalled) Append(b []byte) []byte { return b }
func (*recalled) Decode(b []byte) error  { return wire.NewReader(b).Done() }

// recall implements vfs.Options.Recall: it sends the request to the peer whose session holds the grant.
func (n *Node) recall(ctx context.Context, session uint64, ino meta.Ino) error {
	var holder cluster.PeerID
	err := n.store.facts(func(v state.View) error {
		s, err := v.Session(session)
		holder = s.Peer
		return err
	})
	if err != nil {
		return err
	}
	return n.net.Call(ctx, holder, &recall{Session: session, Ino: ino}, &recalled{})
}

// serveRecall answers another mount's recall.
func (n *Node) serveRecall(ctx context.Context, _ cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m recall
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	if m.Session != n.session.id.Load() || n.fs == nil {
		return nil, fault.New("recall", fault.Stale, "session %x is not this daemon's", m.Session)
	}
	return &recalled{}, n.fs.Recall(ctx, m.Ino)
}
