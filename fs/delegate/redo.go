package delegate

import (
	"context"
	"errors"

	"dfs/cluster/fault"
	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
	"dfs/net/wire"
)

// KindOp is the journal's record of an op that was done here: its number, then the op.
const KindOp = 1

// Files is what of a journal is not this package's: records of files that were closed before they were flushed.
type Files interface {
	// Kept returns whose bytes a record has; false where it has none.
	Kept(rec journal.Record) (meta.Ino, bool)
	// Redo carries one out. fault.Conflict, fault.Stale: it must not be any more.
	Redo(ctx context.Context, session uint64, body []byte) error
}

// Forget takes back what an earlier session said with Begin. Its records must be gone by then: they are not to be done twice.
func (m *Mount) Forget(ctx context.Context, session uint64) error {
	_, err := m.below.Carry(ctx, meta.Batch{For: session})
	return err
}

// Redo brings what an earlier daemon of this peer did, and what the log does not have, into the log, in its order. The records left
// may be dropped when it returns nil, then Forget. skip says which of the other records have been taken back; so has a commit after
// them, of the same file.
func (m *Mount) Redo(ctx context.Context, left journal.Left, files Files, skip func(journal.Record) bool) error {
	r, _ := m.below.Newest()
	upto, err := meta.UptoOf(r, left.Session)
	r.Close()
	if err != nil || upto == 0 { // 0: the session said that it was done
		return err
	}
	commits, err := commitsOf(left)
	if err != nil {
		return err
	}
	again := redo{m: m, b: meta.Batch{For: left.Session, Upto: upto}}
	for at, rec := range left.Records {
		if rec.Kind == KindOp {
			d := wire.NewReader(rec.Body)
			n := d.Uint()
			op, err := meta.Decode(d.Rest())
			switch {
			case err != nil:
				return err
			case n <= upto:
				continue
			case n != again.b.Upto+1:
				m.o.Log.Error("the journal has a gap; what comes after it is dropped", "after", again.b.Upto, "next", n)
				return again.send(ctx)
			}
			if err := again.add(ctx, n, op, len(rec.Body)); err != nil {
				return err
			}
			continue
		}
		if ino, kept := files.Kept(rec); !kept || at < commits[ino] || skip(rec) {
			continue
		}
		if err := again.send(ctx); err != nil {
			return err
		}
		err := files.Redo(ctx, left.Session, rec.Body)
		if err == nil {
			err = m.Settle(ctx) // its commit comes before what was done after it
			again.files++
		}
		switch {
		case err == nil, errors.Is(err, fault.Stale):
		case errors.Is(err, fault.Conflict):
			m.o.Log.Warn("a file closed before a crash was changed by another mount since; its bytes are dropped", "err", err)
		default:
			return err
		}
	}
	if err := again.send(ctx); err != nil {
		return err
	}
	if again.ops+again.files > 0 {
		m.o.Log.Info("carried out what the last daemon had done and not sent", "ops", again.ops, "files", again.files)
	}
	return nil
}

// commitsOf returns the place of the last commit of each file's bytes in what was left.
func commitsOf(left journal.Left) (map[meta.Ino]int, error) {
	last := map[meta.Ino]int{}
	for at, rec := range left.Records {
		if rec.Kind != KindOp {
			continue
		}
		d := wire.NewReader(rec.Body)
		d.Uint()
		op, err := meta.Decode(d.Rest())
		if err != nil {
			return nil, err
		}
		if c, ok := op.(meta.Commit); ok {
			last[c.Ino] = at
		}
	}
	return last, nil
}

// redo is ops on their way.
type redo struct {
	m     *Mount
	b     meta.Batch
	bytes int
	ops   int
	files int
}

func (a *redo) add(ctx context.Context, n uint64, op meta.Op, bytes int) error {
	if a.bytes += bytes; a.bytes > batchBytes || len(a.b.Ops) >= batchKeys/16 {
		if err := a.send(ctx); err != nil {
			return err
		}
		a.bytes = bytes
	}
	a.b.Ops, a.b.Upto = append(a.b.Ops, op), n
	return nil
}

func (a *redo) send(ctx context.Context) error {
	if len(a.b.Ops) == 0 {
		return nil
	}
	failures, err := a.m.carry(ctx, a.b)
	if err != nil {
		return err
	}
	for _, f := range failures {
		a.m.o.Log.Warn("what was done before a crash cannot be done any more", "op", describe(a.b.Ops[f.At]), "err", f.Err)
	}
	a.ops += len(a.b.Ops) - len(failures)
	a.b.Ops, a.bytes = nil, 0
	return nil
}
