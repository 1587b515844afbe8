package node

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/fs/repair"
	"dfs/net/wire"
)

const (
	kindScrub   = wire.KindAdmin + 10
	scrubWithin = 5 * time.Second // for a peer's answer
	scrubMax    = 32 << 10        // of an answer
	scrubFile   = "scrub.json"    // in the data directory: how far the scrub is
)

// scrubAsk tells a peer's scrub something, or asks how far it is.
type scrubAsk struct{ Verb string }

// scrubSaid is the answer: an admin.ScrubPeer in JSON.
type scrubSaid struct{ Doc []byte }

func (*scrubAsk) Kind() wire.Kind          { return kindScrub }
func (m *scrubAsk) Append(b []byte) []byte { return wire.AppendString(b, m.Verb) }
func (m *scrubAsk) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Verb = r.String(16)
	return r.Done()
}

func (*scrubSaid) Kind() wire.Kind          { return kindScrub }
func (m *scrubSaid) Append(b []byte) []byte { return wire.AppendBytes(b, m.Doc) }
func (m *scrubSaid) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Doc = r.Bytes(scrubMax)
	return r.Done()
}

func (n *Node) serveScrub(_ context.Context, _ cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m scrubAsk
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	doc, err := n.scrubHere(m.Verb)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(doc)
	return &scrubSaid{b}, err
}

// Scrub implements admin.Node.
func (n *Node) Scrub(ctx context.Context, verb string) (admin.Scrub, error) {
	here, err := n.scrubHere(verb)
	if err != nil {
		return admin.Scrub{}, err
	}
	out := admin.Scrub{Peers: []admin.ScrubPeer{here}}
	var mu sync.Mutex // guards out
	var wg sync.WaitGroup
	for _, p := range n.roster.view().Peers {
		if p.ID == n.id.ID() {
			continue
		}
		wg.Go(func() {
			there := n.scrubThere(ctx, p, verb)
			mu.Lock()
			defer mu.Unlock()
			out.Peers = append(out.Peers, there)
		})
	}
	wg.Wait()
	slices.SortFunc(out.Peers, func(a, b admin.ScrubPeer) int { return strings.Compare(a.Name+a.Peer, b.Name+b.Peer) })
	return out, nil
}

func (n *Node) scrubThere(ctx context.Context, p cluster.Peer, verb string) admin.ScrubPeer {
	ctx, cancel := context.WithTimeout(ctx, scrubWithin)
	defer cancel()
	var said scrubSaid
	var doc admin.ScrubPeer
	err := n.net.Call(ctx, p.ID, &scrubAsk{verb}, &said)
	if err == nil {
		err = json.Unmarshal(said.Doc, &doc)
	}
	if err != nil {
		doc = admin.ScrubPeer{State: "unreachable"}
	}
	doc.Peer, doc.Name = p.ID.String(), p.Name
	return doc
}

// scrubHere does verb on this peer.
func (n *Node) scrubHere(verb string) (admin.ScrubPeer, error) {
	switch verb {
	case admin.ScrubStart:
		n.scrubber.Start()
		n.events.add("scrub started", "everything this peer holds is read and verified")
	case admin.ScrubPause:
		n.scrubber.Pause()
	case admin.ScrubStatus:
	default:
		return admin.ScrubPeer{}, fault.New("scrub", fault.Invalid, "%q: start, status or pause", verb)
	}
	st := n.scrubber.State()
	doc := admin.ScrubPeer{
		Peer: n.id.ID().String(), State: "idle", Fast: st.Fast, Looked: st.Looked, Total: st.Total, Extents: st.Extents,
		Found: st.Found, Passes: st.Passes, Began: st.Began, Ended: st.Ended, Health: n.healthOfReplicas(),
	}
	if m, ok := n.roster.member(n.id.ID()); ok {
		doc.Name = m.Name
	}
	switch {
	case st.Paused:
		doc.State = "paused"
	case st.Running:
		doc.State = "running"
		doc.Rate = st.Rate()
		doc.ETA = max(0, st.Total-st.Looked) / max(1, doc.Rate)
	}
	return doc, nil
}

func (n *Node) healthOfReplicas() admin.Health {
	h := n.healer.Health()
	return admin.Health{Rotten: h.Rotten, Missing: h.Missing, Healed: h.Healed, Retired: h.Retired,
		Waiting: h.Waiting, Damaged: h.Damaged, Pending: n.healer.Pending()}
}

// replicaMetrics is the same for machines.
func (n *Node) replicaMetrics() []admin.Metric {
	h, st := n.healer.Health(), n.scrubber.State()
	kind := func(k string) []admin.Label { return []admin.Label{{Name: "kind", Value: k}} }
	const found = "Replicas in this peer's store found bad."
	return []admin.Metric{
		{Name: "dfs_bad_replicas_total", Help: found, Counter: true, Labels: kind("rotten"), Value: float64(h.Rotten)},
		{Name: "dfs_bad_replicas_total", Help: found, Counter: true, Labels: kind("missing"), Value: float64(h.Missing)},
		{Name: "dfs_healed_replicas_total", Help: "Replicas in this peer's store made whole again.", Counter: true, Value: float64(h.Healed)},
		{Name: "dfs_retired_replicas_total", Help: "Bad replicas given up here and made elsewhere.", Counter: true, Value: float64(h.Retired)},
		{Name: "dfs_bad_replicas", Help: "Replicas in this peer's store that are bad now.", Value: float64(h.Waiting)},
		{Name: "dfs_damaged_replicas", Help: "Of those, without a good replica anywhere.", Value: float64(h.Damaged)},
		{Name: "dfs_scrubbed_bytes", Help: "Bytes verified in this pass of the scrub.", Value: float64(st.Looked)},
		{Name: "dfs_scrub_passes", Help: "Whole passes of the scrub, ever.", Value: float64(st.Passes)},
	}
}

func (n *Node) newScrubber() *repair.Scrubber {
	file := filepath.Join(n.cfg.Data, scrubFile)
	return &repair.Scrubber{
		Self:    n.id.ID(),
		Store:   n.blocks,
		Latest:  n.healer.Latest,
		Suspect: n.healer.Suspect,
		Stored:  func() int64 { return n.blocks.Usage().Live },
		Index:   func(context.Context) error { return n.verifyMaps() },
		Load: func() (st repair.ScrubState, err error) {
			b, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				return st, nil
			}
			if err == nil {
				err = json.Unmarshal(b, &st)
			}
			return st, err
		},
		Save: func(st repair.ScrubState) error {
			b, err := json.Marshal(st)
			if err != nil {
				return err
			}
			if err := os.WriteFile(file+".new", b, 0o600); err != nil {
				return err
			}
			return os.Rename(file+".new", file)
		},
		Log: n.log,
	}
}

// verifyMaps reads the state, the block index and the log from the disk. What has rotted cannot be trusted in memory either: the
// daemon ends, and what starts it again finds it made anew.
func (n *Node) verifyMaps() error {
	if err := n.kv.Verify(); err != nil {
		return n.distrust("the replicated state", err)
	}
	if err := n.blocks.VerifyIndex(); err != nil {
		return n.distrust("the block index", err)
	}
	if err := raft.VerifyLog(n.dir("log")); err != nil {
		return n.distrust("the log", err)
	}
	return nil
}

// distrust ends the daemon because of rot in something that a start makes anew.
func (n *Node) distrust(what string, err error) error {
	if errors.Is(err, fault.Corrupt) {
		n.log.Error("rot: starting again to make it anew", "what", what, "err", err)
		n.quit(fault.Because(what+" has rotted", fault.Corrupt, err))
	}
	return err
}

// quit ends Run with an error.
func (n *Node) quit(err error) {
	n.mu.Lock()
	fail := n.fail
	n.mu.Unlock()
	if fail != nil {
		fail(err)
	}
}
