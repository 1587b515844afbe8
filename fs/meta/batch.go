package meta

import (
	"slices"

	"dfs/blockstore/kv"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/net/wire"
)

// batchedMax bounds one op of a Batch.
const batchedMax = 512 << 10

// batchable reports whether a mount may carry out op by itself and say so later.
func batchable(op Op) bool {
	switch op.(type) {
	case Create, Link, Unlink, Rmdir, Rename, SetAttr, Commit, SetXattr, RemoveXattr, Accessed:
		return true
	}
	return false
}

// Try carries out op on l as Part would, in the name of session at time now, without any log: n must be different for each op that
// l's writes have. What it returns and writes is what applying op will, as long as nobody else changes the inodes it touches; the
// counters of the drive and the log's indexes (Inode.Changed, Written; Result.Index is 0) excepted. After an error
// l is as it was.
func Try(l *Layer, session, n uint64, op Op) (Result, *Change, error) {
	before := l.Writes
	r, ch, err := applyOne(l, state.Context{Index: 1<<62 + n, Session: session}, op)
	if err != nil {
		l.Writes = before
		return Result{}, nil, err
	}
	r.Index = 0
	return r, ch, nil
}

// GrantsOf returns the inodes that session has to itself in the state r.
func GrantsOf(r kv.Reader, session uint64) (inos []Ino, err error) {
	err = r.Scan(grantsOf(session), nil, func(k, _ []byte) bool {
		inos = append(inos, Ino(number(k, 10)))
		return true
	})
	return inos, err
}

// Journal says that a session's batches may have more to come, from a journal at least.
type Journal struct {
	Session uint64
	Peer    cluster.PeerID // whose it is
}

// Journals returns those there are: what their sessions placed is not to be swept.
func (v *Image) Journals() (js []Journal, err error) {
	err = v.r.Scan(prefix('q'), nil, func(k, b []byte) bool {
		j := Journal{Session: number(k, 2)}
		if len(b) == uptoLen+len(j.Peer) {
			j.Peer = cluster.PeerID(b[uptoLen:])
		}
		js = append(js, j)
		return true
	})
	return js, err
}

const uptoLen = 8 // then the peer

// UptoOf returns the number of the newest op of session's batches that is in the state r; 0 if none is.
func UptoOf(r kv.Reader, session uint64) (uint64, error) {
	b, ok, err := r.Get(uptoKey(session))
	if err != nil || !ok {
		return 0, err
	}
	return number(b, 0), nil
}

// Failure is an op of a Batch that was refused.
type Failure struct {
	At  int // place in the batch
	Err error
}

// FailuresOf decodes what applying a Batch answered: an error if all of it was refused, else the ops that were.
func FailuresOf(raw []byte) ([]Failure, error) {
	b, err := state.DecodeResult(raw)
	if err != nil {
		return nil, err
	}
	d := wire.NewReader(b)
	var out []Failure
	for range d.Count(BatchMax) {
		f := Failure{At: int(d.Uint())}
		if _, f.Err = state.DecodeResult(d.Bytes(2048)); f.Err == nil {
			return nil, fault.New("batch result", fault.Invalid, "a failure without an error")
		}
		out = append(out, f)
	}
	return out, d.Done()
}

// applyBatch applies the ops of a Batch one by one. An error is that of all of it.
func applyBatch(tx state.Tx, c state.Context, b Batch) ([]byte, any, error) {
	key := uptoKey(b.For)
	known, _, err := tx.Get(key)
	if err != nil {
		return nil, nil, err
	}
	if b.Upto > 0 && number(known, 0) >= b.Upto {
		return wire.AppendUint(nil, 0), nil, nil // it was applied before, under another session
	}
	peer := known[min(uptoLen, len(known)):]
	if !b.Peer.IsZero() {
		peer = b.Peer[:]
	}
	done := number(known, 0) // a part of it, with others, when nobody heard of that
	first := b.Upto - uint64(len(b.Ops))
	sum := Change{Index: c.Index, Session: c.Session, Local: true}
	var failed []Failure
	for i, op := range b.Ops {
		if b.Upto > 0 && first+uint64(i)+1 <= done {
			continue
		}
		one := c
		one.Op = 1<<31 | c.Op<<12 | uint32(i)
		l := &Layer{below: tx}
		var ch *Change
		err := fence(l, op, b.For, c.Session)
		if err == nil {
			_, ch, err = applyOne(l, one, op)
		}
		if err != nil { // of the store too: then the replica stops, whatever is answered
			failed = append(failed, Failure{i, err})
			sum.Refused = true
			continue
		}
		l.Writes.Each(func(k, v []byte, set bool) {
			switch {
			case err != nil:
			case set:
				err = tx.Set(k, v)
			default:
				err = tx.Delete(k)
			}
		})
		if err != nil {
			return nil, nil, err
		}
		sum.Local = sum.Local && ch.Local
		sum.add(ch)
	}
	if b.Upto == 0 {
		err = tx.Delete(key)
	} else {
		err = tx.Set(key, append(be(nil, b.Upto), peer...))
	}
	if err != nil {
		return nil, nil, err
	}
	out := wire.AppendUint(nil, uint64(len(failed)))
	for _, f := range failed {
		out = wire.AppendBytes(wire.AppendUint(out, uint64(f.At)), state.EncodeResult(nil, f.Err))
	}
	return out, sum.orNil(), nil
}

// fence refuses an op on bytes that somebody else has written since the sessions' mount had them to itself.
func fence(r reader, op Op, sessions ...uint64) error {
	var ino Ino
	switch op := op.(type) {
	case Commit:
		ino = op.Ino
	case SetAttr:
		if op.Mask&SetSize == 0 {
			return nil
		}
		ino = op.Ino
	default:
		return nil
	}
	n, ok, err := getInode(r, ino)
	if err != nil || !ok || n.Writer == 0 || slices.Contains(sessions, n.Grant) || slices.Contains(sessions, n.Writer) {
		return err
	}
	return fault.New("batch", fault.Conflict, "inode %d was written by another mount since", ino)
}
