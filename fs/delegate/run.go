package delegate

import (
	"context"
	"errors"
	"slices"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
)

const (
	lastWords  = 5 * time.Second        // how long Run goes on sending after its end was asked for
	sendAgain  = 100 * time.Millisecond // after the log would not take a batch
	carryTries = 100                    // for a batch in entries that were full without it
)

// Run sends what was done here until ctx ends, and then what is left, if the log still takes it.
func (m *Mount) Run(ctx context.Context) error {
	idle := time.NewTicker(idleAfter / 8)
	defer idle.Stop()
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for {
		select {
		case <-m.work:
			if err := m.company(ctx); err == nil {
				if err := m.send(sending); err != nil {
					m.o.Log.Warn("what was done here is not in the log yet", "err", err)
					time.AfterFunc(sendAgain, func() { poke(m.work) })
				}
				continue
			}
		case <-idle.C:
			m.giveUpIdle(sending)
			continue
		case <-ctx.Done():
		}
		timer := time.AfterFunc(lastWords, stop)
		defer timer.Stop()
		err := m.send(sending)
		if s := m.Status(); s.Queue > 0 {
			m.o.Log.Error("changes made here are not in the log; they stay in the journal", "ops", s.Queue, "err", err)
		}
		return nil
	}
}

// company waits a moment for more ops, unless somebody waits for those there are.
func (m *Mount) company(ctx context.Context) error {
	t := time.NewTimer(batchEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.urgent:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// send brings all that is queued into the log, a batch at a time. After an error what is left stays queued, and in the journal.
func (m *Mount) send(ctx context.Context) error {
	for most := meta.BatchMax; ; {
		b := m.take(most)
		if len(b) == 0 {
			return nil
		}
		ops := make([]meta.Op, len(b))
		for i := range b {
			ops[i] = b[i].op
		}
		failures, err := m.carry(ctx, meta.Batch{For: m.o.Session, Upto: b[len(b)-1].n, Ops: ops})
		kind := fault.KindOf(err)
		switch {
		case err == nil:
			m.settle(b, failures)
			most = meta.BatchMax
		case kind == fault.TooBig || kind == fault.Invalid:
			if len(b) == 1 { // nobody can ever take it
				m.settle(b, []meta.Failure{{Err: err}})
				continue
			}
			m.putBack(b)
			most = len(b) / 2
		default:
			m.putBack(b)
			return err
		}
	}
}

func (m *Mount) putBack(b []queued) {
	m.lock()
	defer m.mu.Unlock()
	m.queue = append(b, m.queue...)
}

// carry brings a batch into the log, again where the entry it came into was full.
func (m *Mount) carry(ctx context.Context, b meta.Batch) (failures []meta.Failure, err error) {
	for range carryTries {
		if failures, err = m.below.Carry(ctx, b); !errors.Is(err, fault.Busy) {
			break
		}
	}
	return failures, err
}

// take takes a batch of at most so many ops from the queue.
func (m *Mount) take(most int) []queued {
	m.lock()
	defer m.mu.Unlock()
	n, keys, bytes := 0, 0, 0
	for n < len(m.queue) && n < most {
		q := m.queue[n]
		keys += len(q.keys) + 8 // besides its inodes' own keys: counters, orphans, grants, what is freed
		bytes += q.bytes
		if n > 0 && (keys > batchKeys || bytes > batchBytes) {
			break
		}
		n++
	}
	b := m.queue[:n:n]
	m.queue = m.queue[n:]
	return b
}

// settle drops what lay over the state and is in it now, and tells of what was refused.
func (m *Mount) settle(b []queued, failures []meta.Failure) {
	refused := m.drop(b, failures)
	if len(refused) > 0 {
		m.coh.ForgetAll() // the kernel was told that they were done
	}
	for _, r := range refused {
		m.o.Log.Error("a change made here was refused: this mount was cut off, and its directories were given away",
			"op", describe(r.op), "err", r.err)
		if m.o.Refused != nil {
			for _, ino := range r.inos {
				m.o.Refused(ino, r.err)
			}
		}
	}
}

// refusal is an op that was done here and is not in the log.
type refusal struct {
	queued
	err error
}

func (m *Mount) drop(b []queued, failures []meta.Failure) (refused []refusal) {
	m.lock()
	defer m.mu.Unlock()
	last := b[len(b)-1].n
	for _, q := range b {
		m.bytes -= q.bytes
		for _, k := range q.keys {
			if m.wrote[k] <= last {
				delete(m.wrote, k)
				m.writes = m.writes.Without([]byte(k))
			}
		}
		for _, ino := range q.inos {
			if m.touched[ino] <= last {
				delete(m.touched, ino)
			}
		}
		if o, ok := q.op.(meta.Create); ok {
			if h := m.held[o.Ino]; h != nil && !h.sure { // the directory's layout is another by now, or it was refused
				delete(m.held, o.Ino)
			}
		}
	}
	for _, f := range failures {
		q := b[f.At]
		if _, commit := q.op.(meta.Commit); commit && errors.Is(f.Err, fault.Stale) {
			continue // the file is gone, and nobody can miss its bytes
		}
		m.failed, m.failure = f.Err, q.n
		refused = append(refused, refusal{q, f.Err})
	}
	if m.o.Journal != nil {
		tickets := make([]journal.Ticket, len(b))
		for i := range b {
			tickets[i] = b[i].ticket
		}
		m.o.Journal.Done(tickets...)
	}
	m.applied = last
	if len(m.queue) > 0 {
		m.oldest = m.queue[0].at
	}
	close(m.moved)
	m.moved = make(chan struct{})
	return refused
}

// until waits until op n, and all before it, are in the state.
func (m *Mount) until(ctx context.Context, n uint64) error {
	for {
		m.lock()
		done, moved := m.applied >= n, m.moved
		m.mu.Unlock()
		if done {
			return nil
		}
		poke(m.urgent)
		if err := m.below.Wait(ctx, moved); err != nil {
			return err
		}
	}
}

// Settle returns when all that was done here before is in the log, and in the state. An error says that some of it was refused
// there.
func (m *Mount) Settle(ctx context.Context) error {
	m.lock()
	from, n := m.applied, m.last
	m.mu.Unlock()
	if err := m.until(ctx, n); err != nil {
		return err
	}
	m.lock()
	defer m.mu.Unlock()
	if m.failure > from && m.failure <= n {
		return m.failed
	}
	return nil
}

// giveUpIdle gives up what nobody has touched for long, so that others need not ask for it.
func (m *Mount) giveUpIdle(ctx context.Context) {
	for {
		inos := m.claim(idleAfter, meta.ListMax)
		if len(inos) == 0 {
			return
		}
		if err := m.endAll(ctx, inos); err != nil {
			m.o.Log.Info("inodes not given up; they are when somebody asks", "inodes", len(inos), "err", err)
			return
		}
		if len(inos) < meta.ListMax {
			return
		}
	}
}

// GiveUp gives up ino for another mount, and with it what has been quiet for a while: who looks at one will look at more.
func (m *Mount) GiveUp(ctx context.Context, ino meta.Ino) error {
	m.Ending(ino)
	inos := append([]meta.Ino{ino}, m.claim(quietAfter, meta.ListMax-1)...)
	return m.endAll(ctx, inos)
}

// endAll brings the end of grants into the log; in halves where their inodes are too large for one op.
func (m *Mount) endAll(ctx context.Context, inos []meta.Ino) error {
	m.lock()
	op := meta.EndGrant{Session: m.session, Inos: inos}
	m.mu.Unlock()
	_, err := m.ApplyEarly(ctx, op)
	if half := len(inos) / 2; half > 0 && errors.Is(err, fault.TooBig) {
		return errors.Join(m.endAll(ctx, inos[:half]), m.endAll(ctx, inos[half:]))
	}
	return err
}

// claim marks up to limit inodes that nothing was done to for so long as ending, and returns them. What is in use is spared: it is
// asked only once nothing new can be done here.
func (m *Mount) claim(long time.Duration, limit int) (claimed []meta.Ino) {
	then := m.o.Now().Add(-long)
	m.lock()
	for ino, h := range m.held {
		if !h.ending && h.at.Before(then) && m.touched[ino] == 0 && m.busy[ino] == 0 {
			h.ending = true
			if claimed = append(claimed, ino); len(claimed) >= limit {
				break
			}
		}
	}
	m.mu.Unlock()
	if m.o.InUse == nil {
		return claimed
	}
	var used []meta.Ino
	claimed = slices.DeleteFunc(claimed, func(ino meta.Ino) bool {
		in := m.o.InUse(ino)
		if in {
			used = append(used, ino)
		}
		return in
	})
	m.lock()
	defer m.mu.Unlock()
	for _, ino := range used {
		if h := m.held[ino]; h != nil {
			h.ending = false
			h.at = m.o.Now() // others have their turn first, the next time
		}
	}
	return claimed
}

func describe(op meta.Op) string {
	switch op := op.(type) {
	case meta.Create:
		return "create " + op.Name
	case meta.Link:
		return "link " + op.Name
	case meta.Unlink:
		return "unlink " + op.Name
	case meta.Rmdir:
		return "rmdir " + op.Name
	case meta.Rename:
		return "rename " + op.OldName + " to " + op.NewName
	case meta.Commit:
		return "write"
	case meta.SetXattr, meta.RemoveXattr:
		return "set an extended attribute"
	}
	return "set attributes"
}
