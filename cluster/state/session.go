package state

import (
	"bytes"
	"encoding/binary"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/net/wire"
)

// Session is one incarnation of a daemon: who it is, since when, and which of its proposals are settled.
type Session struct {
	ID          uint64
	Peer        cluster.PeerID
	Incarnation uint64 // of the peer; never goes back
	Opened      uint64 // log index
	Since       int64  // its opener's clock
	Low         uint64 // results below it are forgotten
}

func (s Session) encode() []byte {
	b := append([]byte(nil), s.Peer[:]...)
	b = wire.AppendUint(b, s.Incarnation)
	b = wire.AppendUint(b, s.Opened)
	b = wire.AppendInt(b, s.Since)
	return wire.AppendUint(b, s.Low)
}

func decodeSession(id uint64, v []byte) (Session, error) {
	d := wire.NewReader(v)
	s := Session{ID: id, Peer: cluster.PeerID(d.Fixed(20)), Incarnation: d.Uint(), Opened: d.Uint(), Since: d.Int(), Low: d.Uint()}
	return s, corrupt("session", d.Done())
}

func readSession(r reader, id uint64) (s Session, ok bool, err error) {
	v, ok, err := r.Get(sessionKey(id))
	if err != nil || !ok {
		return Session{}, false, err
	}
	s, err = decodeSession(id, v)
	return s, err == nil, err
}

// answered returns the result of a proposal that needs no applying: a repeat, or one that makes no sense any more.
func (s Session) answered(r reader, p raft.Proposal) (result []byte, done bool, err error) {
	if p.Seq < s.Low {
		return EncodeResult(nil, fault.New("apply", fault.Stale, "proposal %d of session %x was answered and forgotten", p.Seq, s.ID)), true, nil
	}
	if p.Low > p.Seq || p.Seq-max(s.Low, p.Low) >= Window {
		return EncodeResult(nil, fault.New("apply", fault.Invalid, "proposal %d is outside the session's window", p.Seq)), true, nil
	}
	return r.Get(resultKey(s.ID, p.Seq))
}

// settle keeps the result of p for repeats, and forgets those below Low. A session that p itself ended keeps none.
func settle(tx Tx, p raft.Proposal, result []byte) error {
	s, ok, err := readSession(tx, p.Session)
	if err != nil || !ok {
		return err
	}
	if p.Low > s.Low {
		if err := dropResults(tx, s.ID, s.Low, p.Low); err != nil {
			return err
		}
		s.Low = p.Low
		if err := tx.Set(sessionKey(s.ID), s.encode()); err != nil {
			return err
		}
	}
	return tx.Set(resultKey(p.Session, p.Seq), result)
}

// fewResults are deleted without a look at which are there: a scan costs as much as many deletes.
const fewResults = 16

// dropResults deletes a session's results from low on that lie below seq. It never looks below low: what was deleted
// there still costs a scan in the map.
func dropResults(tx Tx, session, low, seq uint64) error {
	if seq-low <= fewResults { // each has been answered, so it is there, or never was in the log
		for ; low < seq; low++ {
			if err := tx.Delete(resultKey(session, low)); err != nil {
				return err
			}
		}
		return nil
	}
	var keys [][]byte
	end := resultKey(session, seq)
	err := tx.Scan(resultsOf(session), resultKey(session, low), func(k, _ []byte) bool {
		if bytes.Compare(k, end) >= 0 {
			return false
		}
		keys = append(keys, bytes.Clone(k))
		return true
	})
	return deleteAll(tx, keys, err)
}

func deleteAll(tx Tx, keys [][]byte, err error) error {
	for _, k := range keys {
		if err == nil {
			err = tx.Delete(k)
		}
	}
	return err
}

// endedKept is how many ended sessions are remembered, so that a late repeat of their opening is refused.
const endedKept = 1024

func endedKey(index, session uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{TagFacts, 'e'}, index)
	return binary.BigEndian.AppendUint64(b, session)
}

// hasEnded reports whether a session is among the remembered ended ones.
func hasEnded(r reader, session uint64) (bool, error) {
	found := false
	err := r.Scan([]byte{TagFacts, 'e'}, nil, func(k, _ []byte) bool {
		found = len(k) == 18 && binary.BigEndian.Uint64(k[10:]) == session
		return !found
	})
	return found, err
}

// endSession removes a session with its results and remembers that it ended.
func endSession(tx Tx, index uint64, s Session) error {
	session := s.ID
	if err := tx.Delete(sessionKey(session)); err != nil {
		return err
	}
	if err := dropResults(tx, session, s.Low, ^uint64(0)); err != nil {
		return err
	}
	if err := tx.Set(endedKey(index, session), nil); err != nil {
		return err
	}
	var keys [][]byte
	err := tx.Scan([]byte{TagFacts, 'e'}, nil, func(k, _ []byte) bool {
		keys = append(keys, bytes.Clone(k))
		return true
	})
	return deleteAll(tx, keys[:max(0, len(keys)-endedKept)], err)
}

func ended(session uint64) error {
	return fault.New("apply", fault.Ended, "session %x", session)
}

// corrupt marks a stored value that does not decode.
func corrupt(what string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Because("state read "+what, fault.Corrupt, err)
}
