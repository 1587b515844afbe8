package raft

import (
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Limits of what goes into the log.
const (
	BodyMax  = 1 << 20   // bytes of one proposal's body
	batchMax = 256       // proposals in one entry
	batchSum = 512 << 10 // bytes of bodies in one entry, unless it is one proposal

	proposalMax = BodyMax + 64
	membersMax  = 1 << 10 // peers in a configuration
	messageMax  = 2<<20 - 1<<10
)

// Kinds of the messages between replicas.
const (
	kindRaft     = wire.KindRaft     // notice: one message of the consensus core
	kindForward  = wire.KindRaft + 1 // notice: proposals for the leader
	kindSnapOpen = wire.KindRaft + 2 // request: begin to pull a snapshot
	kindSnapNext = wire.KindRaft + 3 // request: one chunk of it
	kindLast     = wire.KindRaft + 15
)

func appendProposal(b []byte, p Proposal) []byte {
	b = wire.AppendUint(b, p.Session)
	b = wire.AppendUint(b, p.Seq)
	b = wire.AppendUint(b, p.Low)
	b = wire.AppendInt(b, p.Time)
	return wire.AppendBytes(b, p.Body)
}

func readProposal(r *wire.Reader) Proposal {
	return Proposal{Session: r.Uint(), Seq: r.Uint(), Low: r.Uint(), Time: r.Int(), Body: r.Bytes(BodyMax)}
}

func appendProposals(b []byte, ps []Proposal) []byte {
	b = wire.AppendUint(b, uint64(len(ps)))
	for _, p := range ps {
		b = appendProposal(b, p)
	}
	return b
}

// readProposals reads what appendProposals wrote; bodies alias b. No bytes are no proposals.
func readProposals(b []byte) ([]Proposal, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := wire.NewReader(b)
	n := r.Count(batchMax)
	ps := make([]Proposal, 0, n)
	for range n {
		ps = append(ps, readProposal(r))
	}
	return ps, r.Done()
}

// forward carries proposals to the leader.
type forward struct{ ps []Proposal }

func (*forward) Kind() wire.Kind          { return kindForward }
func (m *forward) Append(b []byte) []byte { return appendProposals(b, m.ps) }
func (m *forward) Decode(b []byte) (err error) {
	m.ps, err = readProposals(b)
	return err
}

// message carries one message of the consensus core.
type message struct{ m *pb.Message }

func (*message) Kind() wire.Kind { return kindRaft }

func (m *message) Append(b []byte) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m.m)
	if err != nil {
		panic(err) // no required fields, no invalid text: it cannot fail
	}
	return b
}

func (m *message) Decode(b []byte) error {
	m.m = &pb.Message{}
	if len(b) > messageMax {
		return fault.New("raft message", fault.TooBig, "%d bytes", len(b))
	}
	if err := proto.Unmarshal(b, m.m); err != nil {
		return fault.Because("raft message", fault.Invalid, err)
	}
	if !mayTravel[m.m.GetType()] {
		return fault.New("raft message", fault.Invalid, "%v from a peer", m.m.GetType())
	}
	return nil
}

// mayTravel is what one core may tell another; everything else is a core's word to itself.
var mayTravel = map[pb.MessageType]bool{
	pb.MsgApp: true, pb.MsgAppResp: true, pb.MsgVote: true, pb.MsgVoteResp: true, pb.MsgPreVote: true,
	pb.MsgPreVoteResp: true, pb.MsgSnap: true, pb.MsgHeartbeat: true, pb.MsgHeartbeatResp: true,
	pb.MsgTimeoutNow: true, pb.MsgReadIndex: true, pb.MsgReadIndexResp: true,
}

// config is who votes and who learns as of one index, with the full names behind the core's numbers.
type config struct {
	state *pb.ConfState
	peers []cluster.PeerID // sorted
}

func (c config) append(b []byte) []byte {
	state, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.state)
	if err != nil {
		panic(err)
	}
	return appendPeers(wire.AppendBytes(b, state), c.peers)
}

func readConfig(b []byte) (config, error) {
	c := config{state: &pb.ConfState{}}
	if len(b) == 0 {
		return c, nil
	}
	r := wire.NewReader(b)
	if err := proto.Unmarshal(r.Bytes(64<<10), c.state); err != nil {
		return c, fault.Because("raft config", fault.Invalid, err)
	}
	c.peers = readPeers(r)
	return c, r.Done()
}

func appendPeers(b []byte, ids []cluster.PeerID) []byte {
	b = wire.AppendUint(b, uint64(len(ids)))
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}

func readPeers(r *wire.Reader) (ids []cluster.PeerID) {
	for range r.Count(membersMax) {
		ids = append(ids, cluster.PeerID(r.Fixed(len(cluster.PeerID{}))))
	}
	return ids
}

// decodeChange returns the configuration change of an entry, and the peers it names.
func decodeChange(data []byte) (*pb.ConfChangeV2, []cluster.PeerID, error) {
	cc := &pb.ConfChangeV2{}
	if err := proto.Unmarshal(data, cc); err != nil {
		return nil, nil, fault.Because("raft config", fault.Corrupt, err)
	}
	if len(cc.GetContext()) == 0 {
		return cc, nil, nil
	}
	r := wire.NewReader(cc.GetContext())
	ids := readPeers(r)
	return cc, ids, r.Done()
}

// isEmptySnap is the core's own test.
func isEmptySnap(s *pb.Snapshot) bool { return etcd.IsEmptySnap(s) }
