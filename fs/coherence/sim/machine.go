package sim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dfs/blockstore"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// machine is the real one behind the log, cluster/state with fs/meta on a map in memory. With it the mounts follow what
// it says has changed, while the checker goes on judging by the small world: what the machine forgets to mention
// shows as a stale answer. Its answers are compared with the world's.
type machine struct {
	*state.Machine
	index uint64 // of the last entry
	setup uint64 // entries from before the first of the simulation
	did   state.Applied
	peer  cluster.PeerID
	modes uint32
}

// Applied implements state.Follower.
func (m *machine) Applied(a state.Applied) { m.did = a }

// Reset implements state.Follower.
func (m *machine) Reset(uint64) {}

// newMachine returns a machine with both directories and a session for every peer, and with the file that is appended to.
func newMachine(sessions int, appends bool) (*machine, error) {
	m := &machine{peer: cluster.PeerID{1}}
	var err error
	m.Machine, err = state.New(mem.New(), state.Options{Parts: map[byte]state.Part{state.TagMeta: meta.Part{}}})
	if err != nil {
		return nil, err
	}
	m.Follow(m)
	bodies := [][]byte{meta.Encode(meta.Format{Mode: 0o755}), meta.Encode(meta.Create{Dir: meta.Root, Name: "2", Type: meta.Dir, Mode: 0o755})}
	if appends {
		bodies = append(bodies, meta.Encode(meta.Create{Dir: meta.Root, Name: "log", Type: meta.File, Mode: 0o644}))
	}
	for n := range sessions {
		open := state.Encode(state.OpenSession{Peer: cluster.PeerID{byte(n + 1)}})
		if _, err := m.put(raft.Proposal{Session: uint64(n + 1), Seq: 1, Body: open}); err != nil {
			return nil, err
		}
	}
	for i, body := range bodies {
		if _, err := m.put(raft.Proposal{Session: 1, Seq: uint64(i + 2), Body: body}); err != nil {
			return nil, err
		}
	}
	m.setup = m.index
	return m, nil
}

// seqs of a session that newMachine used.
const seqsUsed = 10

func (m *machine) put(p raft.Proposal) (meta.Result, error) {
	m.index++
	m.did = state.Applied{}
	raw, err := m.Apply(m.index, []raft.Proposal{p})
	if err != nil {
		return meta.Result{}, err
	}
	if p.Body[0] == state.TagFacts {
		_, err = state.DecodeResult(raw[0])
		return meta.Result{}, err
	}
	return meta.ResultOf(raw[0])
}

// op translates a change.
func (m *machine) op(c *change) meta.Op {
	now := meta.Time(m.index + 1)
	switch c.kind {
	case opCreate:
		return meta.Create{Dir: c.dir, Name: c.name, Type: meta.File, Mode: 0o644, Time: now}
	case opLink:
		return meta.Link{Ino: c.ino, Dir: c.dir, Name: c.name, Time: now}
	case opUnlink:
		return meta.Unlink{Dir: c.dir, Name: c.name, Time: now}
	case opRename:
		return meta.Rename{OldDir: c.dir, OldName: c.name, NewDir: c.dir2, NewName: c.name2, Time: now}
	case opChmod:
		m.modes++
		return meta.SetAttr{Ino: c.ino, Mask: meta.SetMode, Mode: m.modes % 0o777, Time: now}
	case opAppend:
		return m.appendOp(c, now)
	}
	op := meta.Commit{Ino: c.ino, Mtime: now, Time: now}
	for b := range blocks {
		for _, w := range c.writes {
			if w.block != b {
				continue
			}
			var id blockstore.ID
			binary.BigEndian.PutUint64(id[:], m.index+1)
			id[15] = byte(b)
			e := extent.Extent{Off: int64(b) * blockstore.Size, Span: blockstore.Span{Extent: id, Count: 1}}
			e.Layout = placement.Layout{Data: 1, Peers: []cluster.PeerID{m.peer}}
			op.Extents = append(op.Extents, e)
			op.End = e.Off + blockstore.Size
		}
	}
	return op
}

// play applies a change, and says in a what it did. It returns what differs from the world.
func (m *machine) play(a *applied) error {
	c := a.change
	if c.kind == opNone {
		m.index++
		_, err := m.Apply(m.index, nil)
		return err
	}
	res, err := m.put(raft.Proposal{Session: c.session, Seq: c.seq + seqsUsed, Low: c.low + seqsUsed, Body: meta.Encode(m.op(c))})
	if a.repeat != nil {
		if err == nil && a.repeat.failed && c.kind != opRename {
			return fmt.Errorf("%v: a repeat succeeded that failed at %d", c, a.repeat.did.Index)
		}
		a.did = meta.Change{Index: a.did.Index, Session: c.session, Refused: m.did.Refused}
		if len(m.did.Changes) > 0 {
			return fmt.Errorf("%v: a repeat of %d changed something", c, a.repeat.did.Index)
		}
		return nil
	}
	idle := err == nil && a.failed && c.kind == opRename // two names of one file are left alone
	if (err != nil) != a.failed && !idle {
		return fmt.Errorf("%v: %v, expected failure: %v", c, err, a.failed)
	}
	if err != nil && !errors.Is(err, fault.Exist) && !errors.Is(err, fault.NotExist) && !(c.kind == opAppend && errors.Is(err, fault.Conflict)) {
		return err
	}
	if c.kind == opCreate && err == nil && res.Inode.Ino != a.ino {
		return fmt.Errorf("%v: made inode %d, expected %d", c, res.Inode.Ino, a.ino)
	}
	if size := int64(c.at+len(c.records)) * blockstore.Size; c.kind == opAppend && err == nil && res.Inode.Size != size {
		return fmt.Errorf("%v: the file ends at %d, expected %d", c, res.Inode.Size, size)
	}
	index := a.did.Index
	a.did = meta.ChangeOf(m.did)
	a.did.Index, a.did.Session = index, c.session
	return nil
}
