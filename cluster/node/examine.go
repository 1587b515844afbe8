package node

import (
	"context"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

const (
	kindExamine   = wire.KindAdmin + 9
	examineWithin = 10 * time.Second // 4 MiB of a slow disk
)

// examine asks a peer what its store really holds of an extent.
type examine struct {
	Extent blockstore.ID
	Quick  bool // do not read the blocks
}

// examined is its answer.
type examined struct{ Live, Bad runs.Set }

func (*examine) Kind() wire.Kind { return kindExamine }
func (m *examine) Append(b []byte) []byte {
	return wire.AppendBool(append(b, m.Extent[:]...), m.Quick)
}
func (m *examine) Decode(b []byte) error {
	r := wire.NewReader(b)
	copy(m.Extent[:], r.Fixed(len(m.Extent)))
	m.Quick = r.Bool()
	return r.Done()
}

func (*examined) Kind() wire.Kind          { return kindExamine }
func (m *examined) Append(b []byte) []byte { return m.Bad.Append(m.Live.Append(b)) }
func (m *examined) Decode(b []byte) (err error) {
	r := wire.NewReader(b)
	if m.Live, err = runs.Read(r, blockstore.MaxBlocks); err != nil {
		return err
	}
	if m.Bad, err = runs.Read(r, blockstore.MaxBlocks); err != nil {
		return err
	}
	return r.Done()
}

func (n *Node) serveExamine(ctx context.Context, _ cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m examine
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	return n.examineHere(ctx, m)
}

func (n *Node) examineHere(ctx context.Context, m examine) (*examined, error) {
	if m.Quick {
		live, err := n.blocks.Live(ctx, m.Extent)
		return &examined{Live: live}, err
	}
	c, err := n.blocks.Examine(ctx, m.Extent)
	if c.Bad.Len() > 0 {
		n.healer.Suspect(m.Extent, 0) // a read need not have met it: sums may be in memory
	}
	return &examined{c.Live, c.Bad}, err
}

// holds asks a member what it holds of an extent. fault.Unreachable when it does not answer.
func (n *Node) holds(ctx context.Context, p cluster.PeerID, m examine) (*examined, error) {
	if p == n.id.ID() {
		return n.examineHere(ctx, m)
	}
	if _, ok := n.roster.member(p); !ok {
		return &examined{}, nil // a peer that left took its replicas along
	}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	var reply examined
	if err := n.net.Call(ctx, p, &m, &reply); err != nil {
		return nil, fault.Because("examine", fault.Unreachable, err)
	}
	return &reply, nil
}
