package meta

import (
	"dfs/blockstore/kv"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/net/wire"
)

// batchedMax bounds one op of a Batch.
const batchedMax = 512 << 10

// batchable reports whether a mount may carry out op by itself and say so later.
func batchable(op Op) bool {
	switch op.(type) {
	case Create, Link, Unlink, Rmdir, Rename, SetAttr, Commit:
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

// Journals returns the sessions whose batches may have more to come, from a journal at least: what they placed is not to be swept.
func (v *Image) Journals() (sessions []uint64, err error) {
	err = v.r.Scan(prefix('q'), nil, func(k, _ []byte) bool {
		sessions = append(sessions, number(k, 2))
		return true
	})
	return sessions, err
}

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
	if v, _, err := tx.Get(key); err != nil {
		return nil, nil, err
	} else if b.Upto > 0 && number(v, 0) >= b.Upto {
		return wire.AppendUint(nil, 0), nil, nil // it was applied before, under another session
	}
	sum := Change{Index: c.Index, Session: c.Session, Local: true}
	var failed []Failure
	for i, op := range b.Ops {
		one := c
		one.Op = 1<<31 | c.Op<<12 | uint32(i)
		l := &Layer{below: tx}
		_, ch, err := applyOne(l, one, op)
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
	var err error
	if b.Upto == 0 {
		err = tx.Delete(key)
	} else {
		err = tx.Set(key, be(nil, b.Upto))
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
