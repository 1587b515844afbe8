package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/repair"
	"dfs/net/wire"
)

const kindSuspect = wire.KindAdmin + 8

// suspect tells a peer that an extent in its store may be bad. The peer looks for itself.
type suspect struct{ Extent blockstore.ID }

// suspected is its answer.
type suspected struct{}

func (*suspect) Kind() wire.Kind          { return kindSuspect }
func (m *suspect) Append(b []byte) []byte { return append(b, m.Extent[:]...) }
func (*suspected) Kind() wire.Kind        { return kindSuspect }
func (*suspected) Append(b []byte) []byte { return b }
func (*suspected) Decode(b []byte) error  { return wire.NewReader(b).Done() }
func (m *suspect) Decode(b []byte) error {
	r := wire.NewReader(b)
	copy(m.Extent[:], r.Fixed(len(m.Extent)))
	return r.Done()
}

func (n *Node) serveSuspect(_ context.Context, _ cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m suspect
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	n.healer.Suspect(m.Extent, 0)
	return &suspected{}, nil
}

// newHealer returns what heals this peer's own replicas.
func (n *Node) newHealer() *repair.Healer {
	return &repair.Healer{
		Self:  n.id.ID(),
		Store: n.blocks,
		Read:  n.pool.Read,
		Latest: func(ctx context.Context) (*meta.Image, error) {
			if !n.started.Load() {
				return nil, fault.New("heal", fault.Busy, "starting")
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, v, err := n.latest(ctx)
			return v, err
		},
		Propose: n.store.Apply,
		Log:     n.log,
		Told:    n.toldOfReplica,
	}
}

// toldOfReplica makes an event of what became of one of this peer's replicas.
func (n *Node) toldOfReplica(f repair.Finding) {
	n.events.add("replica "+string(f.State), fmt.Sprintf("%d blocks of inode %d at %d", f.Blocks, f.Ino, f.Off),
		"ino", f.Ino, "extent", f.Extent, "offset", f.Off, "blocks", f.Blocks)
}

const (
	tellMax   = 4096            // suspects of other peers waiting to be told of; more are left to the next read
	tellAgain = 5 * time.Second // between two words about the same replica
)

// replica names one.
type replica struct {
	peer   cluster.PeerID
	extent blockstore.ID
}

// tellers passes on what reads have found bad, once in a while each.
type tellers struct {
	queue chan replica

	mu   sync.Mutex
	told map[replica]time.Time
}

func newTellers() *tellers {
	return &tellers{queue: make(chan replica, tellMax), told: map[replica]time.Time{}}
}

// fresh reports whether nothing was said of r lately.
func (t *tellers) fresh(r replica, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.told[r]) < tellAgain {
		return false
	}
	if len(t.told) >= tellMax {
		for old, at := range t.told {
			if now.Sub(at) >= tellAgain {
				delete(t.told, old)
			}
		}
		if len(t.told) >= tellMax {
			return false
		}
	}
	t.told[r] = now
	return true
}

// bad is the pool's OnBad: a read has met a replica that is missing or rotten, or looked so.
func (n *Node) bad(p cluster.PeerID, s blockstore.Span, k fault.Kind) {
	r := replica{p, s.Extent}
	if !n.tellers.fresh(r, time.Now()) {
		return
	}
	n.log.Debug("replica is bad", "peer", p.Short(), "extent", s.Extent, "kind", k)
	n.suspectAt(p, s.Extent)
}

// suspectAt has a peer look at one of its replicas.
func (n *Node) suspectAt(p cluster.PeerID, id blockstore.ID) {
	r := replica{p, id}
	if p == n.id.ID() {
		n.healer.Suspect(id, 0)
		return
	}
	select {
	case n.tellers.queue <- r:
	default:
	}
}

// tell carries the word to the peers.
func (n *Node) tell(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-n.tellers.queue:
			call, cancel := context.WithTimeout(ctx, time.Second)
			if err := n.net.Call(call, r.peer, &suspect{r.extent}, &suspected{}); err != nil {
				n.log.Debug("a peer is not told of its bad replica", "peer", r.peer.Short(), "err", err)
			}
			cancel()
		}
	}
}
