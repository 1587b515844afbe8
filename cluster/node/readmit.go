package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/net/wire"
)

const (
	kindReadmit   = wire.KindAdmin + 11
	readmitWithin = 15 * time.Second // for the leader's answer: a change of the configuration
	readmitServe  = 10 * time.Second

	// lostFile says that this peer's log had rotted and was thrown away, and that it is not admitted again yet.
	lostFile = "log.lost"
)

// lostNote is what lostFile holds.
type lostNote struct {
	Schema int       `json:"schema"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// rottenLog is a log that does not open.
type rottenLog struct{ error }

func (r *rottenLog) Unwrap() error { return r.error }

// readLost brings back what lostFile says. A log that was to be thrown away is, once more: what is in it may be half of the
// new beginning.
func (n *Node) readLost() error {
	_, err := os.Stat(n.dir(lostFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Because("data directory", fault.Permission, err)
	}
	n.logLost.Store(true)
	return raft.DiscardLog(n.dir("log"))
}

// loseLog deals with a log that has rotted. One whose peer alone votes begins anew from the state, if that has all the log
// had: nobody but this peer was promised anything. Any other is thrown away, and its peer says nothing until a leader
// has admitted it again.
func (n *Node) loseLog(cause error) error {
	left, err := raft.Salvage(n.dir("log"))
	if err != nil {
		return errors.Join(cause, err)
	}
	var members []cluster.Member
	err = n.store.facts(func(v state.View) (err error) {
		members, err = v.Members()
		return err
	})
	if err != nil {
		return errors.Join(cause, err)
	}
	applied, self := n.machine.Applied(), n.id.ID()
	alone := len(members) == 1 || len(members) == 2 && slices.Equal(left.Voters, []cluster.PeerID{self})
	if !alone {
		return n.throwLog(cause)
	}
	need := left.Last
	if left.Hole && len(members) > 1 {
		need++ // another may have it
	}
	if applied < need || applied == 0 {
		return fault.Advise(fault.New("log", fault.Corrupt,
			"the log has rotted (%v), and the state is only that of entry %d of %d: nobody else votes who could say what was between",
			cause, applied, need), "restore %s from a copy", n.cfg.Data)
	}
	n.log.Error("the log has rotted: it begins anew from the state, which has all that was acknowledged", "index", applied, "err", cause)
	n.events.add("log damaged", "it begins anew from the state, which has all that was acknowledged", "index", applied)
	return raft.Renew(n.dir("log"), n.id.Cluster.String(), self, applied, left)
}

func (n *Node) throwLog(cause error) error {
	text, err := json.Marshal(lostNote{Schema: 1, Since: time.Now().UTC(), Why: cause.Error()})
	if err == nil {
		err = identity.WriteFile(n.cfg.Data, lostFile, append(text, '\n'))
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	n.log.Error("the log has rotted: it is thrown away, and this peer neither votes nor answers until it is admitted again", "err", cause)
	n.events.add("log damaged", "it was thrown away; this peer waits to be admitted again")
	return n.readLost()
}

// readmitted is called once the new log is safe.
func (n *Node) readmitted() error {
	if err := os.Remove(n.dir(lostFile)); err != nil {
		return fault.Because("data directory", fault.Corrupt, err)
	}
	n.logLost.Store(false)
	n.events.add("log replaced", "admitted again, from a snapshot")
	return nil
}

// readmit asks for this peer to be admitted again, like what the leader makes of it: see raft.Options.Lost.
type readmit struct{ Nonce uint64 }

// admission is the leader's answer.
type admission struct{ raft.Admission }

func (*readmit) Kind() wire.Kind          { return kindReadmit }
func (m *readmit) Append(b []byte) []byte { return wire.AppendUint(b, m.Nonce) }
func (m *readmit) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Nonce = r.Uint()
	return r.Done()
}

func (*admission) Kind() wire.Kind { return kindReadmit }
func (m *admission) Append(b []byte) []byte {
	return append(wire.AppendUint(wire.AppendUint(b, m.Index), m.Term), m.Leader[:]...)
}
func (m *admission) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Index, m.Term = r.Uint(), r.Uint()
	copy(m.Leader[:], r.Fixed(len(m.Leader)))
	return r.Done()
}

// askReadmission asks every member until one leads and agrees.
func (n *Node) askReadmission(ctx context.Context) (raft.Admission, error) {
	nonce := binary.BigEndian.Uint64(n.nonce[:])
	last := error(fault.New("readmit", fault.Unreachable, "no other member is known"))
	for _, id := range n.roster.ids() {
		if id == n.id.ID() {
			continue
		}
		call, cancel := context.WithTimeout(ctx, readmitWithin)
		var reply admission
		err := n.net.Call(call, id, &readmit{nonce}, &reply)
		cancel()
		if err == nil {
			return reply.Admission, nil
		}
		if ctx.Err() != nil {
			return raft.Admission{}, ctx.Err()
		}
		if last = err; fault.KindOf(err) != fault.NotLeader && fault.KindOf(err) != fault.Unreachable {
			return raft.Admission{}, err
		}
	}
	return raft.Admission{}, last
}

// readmission is one peer's, on the leader: wanted until the configuration is without the peer, then done.
type readmission struct {
	nonce uint64
	done  bool
	at    raft.Admission
}

// serveReadmit has the peer taken out of the configuration; the chores do it, and then in again to learn.
func (n *Node) serveReadmit(ctx context.Context, from cluster.PeerID, _ wire.Kind, body wire.Body) (wire.Message, error) {
	var m readmit
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readmitServe)
	defer cancel()
	tick := time.NewTicker(choreEvery / 5)
	defer tick.Stop()
	for {
		n.mu.Lock()
		leading, r := n.leading.Load(), n.readmits[from]
		if leading && (r == nil || r.nonce != m.Nonce) {
			r = &readmission{nonce: m.Nonce}
			n.readmits[from] = r
			n.log.Warn("a peer has lost its log: it is admitted anew", "peer", from.Short())
		}
		var at raft.Admission
		done := leading && r.done
		if done {
			at = r.at
		}
		n.mu.Unlock()
		switch {
		case !leading:
			return nil, fault.New("readmit", fault.NotLeader, "%s does not lead", n.id.ID().Short())
		case done:
			return &admission{at}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fault.New("readmit", fault.Timeout, "the configuration could not be changed in time")
		case <-tick.C:
		}
	}
}

// unadmitted returns the members of the configuration that must leave it before they come again, and takes note of those
// that have left.
func (n *Node) unadmitted(st raft.Status) (out []cluster.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, r := range n.readmits {
		switch {
		case r.done:
		case slices.Contains(st.Voters, id) || slices.Contains(st.Learners, id):
			out = append(out, id)
		default:
			r.done = true
			r.at = raft.Admission{Index: st.Applied, Term: st.Term, Leader: st.Self}
		}
	}
	return out
}

// without returns ids but for out.
func without(ids, out []cluster.PeerID) []cluster.PeerID {
	return slices.DeleteFunc(slices.Clone(ids), func(id cluster.PeerID) bool { return slices.Contains(out, id) })
}
