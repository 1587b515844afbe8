package raft

import (
	"context"
	"slices"
	"time"

	"dfs/blockstore/disk"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft/wal"

	pb "go.etcd.io/raft/v3/raftpb"
)

// A voter whose log has rotted no longer knows what it promised: which entries it acknowledged, whom it voted for. It must not
// vote, nor acknowledge anything, until a leader that a majority follows without it says where it stands. So it
//
//	throws its log away, keeping a note that it did (the caller's), and is silent;
//	asks the leader to be admitted again. The leader takes it out of the configuration: that change is committed by
//	a majority in which it cannot be, for it is silent. So the leader leads in truth, its term is the newest of which
//	a majority knows, and nothing that was committed with this peer's help is missing there;
//	fetches a snapshot from behind that change, and begins behind it, in that term, with its vote given to that leader;
//	is taken in as a learner with an empty record, and made a voter like any other, once it has caught up.

// Admission is the leader's answer to a peer that lost its log.
type Admission struct {
	Index  uint64 // the configuration without the peer is committed and applied up to here
	Term   uint64 // of the leader
	Leader cluster.PeerID
}

// readmitAgain is how long to wait before asking again.
const readmitAgain = 500 * time.Millisecond

// readmit begins anew after the log was lost, however long that takes.
func (g *Group) readmit(ctx context.Context) error {
	said := time.Duration(-time.Hour)
	for ctx.Err() == nil {
		err := g.readmitOnce(ctx)
		if err == nil || fault.KindOf(err) == fault.Corrupt {
			return err
		}
		if now := g.o.Now(); now-said > time.Minute && ctx.Err() == nil {
			said = now
			g.o.Log.Warn("the log was lost; waiting for a leader to admit this peer again", "err", err)
		}
		timer := time.NewTimer(readmitAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return ctx.Err()
}

func (g *Group) readmitOnce(ctx context.Context) error {
	at, err := g.o.Readmit(ctx)
	if err != nil {
		return err
	}
	pulling, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	from := append([]cluster.PeerID{at.Leader}, g.o.Members()...)
	opened, err := g.pullFromAny(pulling, from, at.Index)
	if err != nil {
		return err
	}
	conf, err := readConfig(opened.conf)
	if err != nil {
		return err
	}
	if slices.Contains(conf.state.Voters, g.o.Self.Raft()) || slices.Contains(conf.state.VotersOutgoing, g.o.Self.Raft()) {
		return fault.New("readmit", fault.Conflict, "the snapshot of entry %d counts this peer as a voter", opened.index)
	}
	hard := wal.Hard{Term: at.Term, Commit: opened.index}
	if opened.term > at.Term {
		hard.Term = opened.term
	} else {
		hard.Vote = at.Leader.Raft() // whoever else this peer voted for in that term lost
	}
	err = g.log.Save(wal.Batch{
		Base: &wal.Mark{Index: opened.index, Term: opened.term},
		Conf: &wal.Conf{Index: opened.index, Data: opened.conf},
		Hard: &hard,
	})
	if err != nil {
		return fault.Because("readmit", fault.Corrupt, err)
	}
	g.o.Log.Info("admitted again", "index", opened.index, "term", hard.Term)
	g.o.Lost = false
	return g.o.Readmitted()
}

// VerifyLog reads the log in dir, which may be open, and checks every record. fault.Corrupt: close the Group and open it anew.
func VerifyLog(dir string) error { return wal.Verify(disk.Dir(dir)) }

// DiscardLog throws the log in dir away but for whose it is. Open it with Options.Lost from then on, until Readmitted.
func DiscardLog(dir string) error { return wal.Discard(disk.Dir(dir)) }

// Remains is what can still be said of a log that has rotted.
type Remains struct {
	wal.Remains
	Voters []cluster.PeerID // the newest ones that can be read, and those whom changes since would add
}

// Salvage reads what is left of the log in dir, which must not be open.
func Salvage(dir string) (r Remains, err error) {
	var added []cluster.PeerID
	r.Remains, err = wal.Salvage(disk.Dir(dir), func(e wal.Entry) {
		if pb.EntryType(e.Kind) != pb.EntryConfChangeV2 {
			return
		}
		if cc, peers, err := decodeChange(e.Data); err == nil {
			for _, c := range cc.GetChanges() {
				if c.GetType() == pb.ConfChangeAddNode {
					added = append(added, byNumber(peers, c.GetNodeId())...)
				}
			}
		}
	})
	if err != nil {
		return r, err
	}
	conf, err := readConfig(r.Conf.Data)
	if err != nil {
		return r, fault.Because("log salvage", fault.Corrupt, err)
	}
	for _, n := range append(conf.state.GetVoters(), conf.state.GetVotersOutgoing()...) {
		r.Voters = append(r.Voters, byNumber(conf.peers, n)...)
	}
	r.Voters = sorted(append(r.Voters, added...))
	return r, nil
}

func byNumber(ids []cluster.PeerID, n uint64) []cluster.PeerID {
	for _, id := range ids {
		if id.Raft() == n {
			return []cluster.PeerID{id}
		}
	}
	return nil
}

// Renew begins the log in dir anew behind the state of index: for a peer that alone votes, and so has promised nothing to
// anybody but what is in its state. What was in dir is thrown away.
func Renew(dir, cluster string, self cluster.PeerID, index uint64, r Remains) error {
	if err := DiscardLog(dir); err != nil {
		return err
	}
	log, err := wal.Open(disk.Dir(dir), owner(cluster, self), wal.Options{})
	if err != nil {
		return err
	}
	_, conf := Bootstrap(self)
	err = log.Save(wal.Batch{
		Base: &wal.Mark{Index: index, Term: r.Term},
		Conf: &wal.Conf{Index: index, Data: conf},
		Hard: &wal.Hard{Term: r.Term, Commit: index},
	})
	if cerr := log.Close(); err == nil {
		err = cerr
	}
	return err
}
