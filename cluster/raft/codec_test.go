package raft

import (
	"bytes"
	"testing"

	"dfs/cluster"
	"dfs/net/wire"

	pb "go.etcd.io/raft/v3/raftpb"
)

// FuzzMessages decodes anything as everything: no panic, and what decodes encodes to something that decodes again.
func FuzzMessages(f *testing.F) {
	f.Add(appendProposals(nil, []Proposal{{Session: 1, Seq: 2, Low: 1, Time: -5, Body: []byte("body")}}))
	f.Add((&message{&pb.Message{Type: pb.MsgApp.Enum(), From: new(uint64(1)), Entries: []*pb.Entry{{Data: []byte("x")}}}}).Append(nil))
	f.Add(config{state: &pb.ConfState{Voters: []uint64{1}}, peers: []cluster.PeerID{{1}}}.append(nil))
	f.Add((&snapOpened{id: 1, index: 2, term: 3, conf: []byte("c")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []wire.Message{&message{}, &forward{}, &snapOpen{}, &snapOpened{}, &snapNext{}, &snapChunk{}} {
			if m.Decode(b) == nil {
				if err := m.Decode(m.Append(nil)); err != nil {
					t.Fatalf("%T: %v", m, err)
				}
			}
		}
		if c, err := readConfig(b); err == nil {
			if _, err := readConfig(c.append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		decodeChange(b)
	})
}

func TestBootstrapEntryMakesItsConfiguration(t *testing.T) {
	self := cluster.PeerID{9, 19: 1}
	entry, conf := Bootstrap(self)
	e, err := decodeEntry(1, pb.EntryConfChangeV2, entry)
	if err != nil || len(e.peers) != 1 || e.peers[0] != self {
		t.Fatal(e, err)
	}
	c, err := readConfig(conf)
	if err != nil || c.state.Voters[0] != self.Raft() || !bytes.Equal(c.append(nil), conf) {
		t.Fatal(c, err)
	}
}
