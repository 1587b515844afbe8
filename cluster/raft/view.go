package raft

import (
	"errors"

	"dfs/cluster/fault"
	"dfs/cluster/raft/wal"

	etcd "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// view is the log as the consensus core reads it.
type view struct {
	log  *wal.Log
	hard *pb.HardState
	conf *pb.ConfState

	snap *pb.Snapshot // newest snapshot that was opened; nil none
	want bool         // the core asked for one
}

var _ etcd.Storage = (*view)(nil)

// InitialState implements etcd.Storage.
func (v *view) InitialState() (*pb.HardState, *pb.ConfState, error) { return v.hard, v.conf, nil }

// Entries implements etcd.Storage.
func (v *view) Entries(lo, hi, max uint64) ([]*pb.Entry, error) {
	es, err := v.log.Entries(lo, hi, max)
	if err != nil {
		return nil, v.unavailable(lo, err)
	}
	out := make([]*pb.Entry, len(es))
	for i, e := range es {
		out[i] = &pb.Entry{Index: new(e.Index), Term: new(e.Term), Type: new(pb.EntryType(e.Kind)), Data: e.Data}
	}
	return out, nil
}

func (v *view) unavailable(lo uint64, err error) error {
	switch {
	case !errors.Is(err, fault.NotExist):
		return err
	case lo < v.log.First():
		return etcd.ErrCompacted
	}
	return etcd.ErrUnavailable
}

// Term implements etcd.Storage.
func (v *view) Term(i uint64) (uint64, error) {
	term, err := v.log.Term(i)
	if err != nil {
		return 0, v.unavailable(i, err)
	}
	return term, nil
}

// LastIndex implements etcd.Storage.
func (v *view) LastIndex() (uint64, error) { return v.log.Last(), nil }

// FirstIndex implements etcd.Storage.
func (v *view) FirstIndex() (uint64, error) { return v.log.First(), nil }

// Snapshot implements etcd.Storage: the place of one, whose chunks the follower pulls by itself.
func (v *view) Snapshot() (*pb.Snapshot, error) {
	if v.snap == nil || v.snap.GetMetadata().GetIndex()+1 < v.log.First() {
		v.want = true
		return nil, etcd.ErrSnapshotTemporarilyUnavailable
	}
	return v.snap, nil
}

func toWAL(es []*pb.Entry) []wal.Entry {
	out := make([]wal.Entry, len(es))
	for i, e := range es {
		out[i] = wal.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Kind: uint8(e.GetType()), Data: e.GetData()}
	}
	return out
}
