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

// lastWords is how long Run goes on sending after its end was asked for.
const lastWords = 5 * time.Second

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
				m.send(sending)
				continue
			}
		case <-idle.C:
			m.giveUpIdle(sending)
			continue
		case <-ctx.Done():
		}
		timer := time.AfterFunc(lastWords, stop)
		defer timer.Stop()
		m.send(sending)
		if s := m.Status(); s.Queue > 0 {
			m.o.Log.Error("changes made here never reached the log", "ops", s.Queue)
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

// send brings all that is queued into the log, a batch at a time.
func (m *Mount) send(ctx context.Context) {
	for {
		b := m.take()
		if len(b) == 0 {
			return
		}
		ops := make([]meta.Op, len(b))
		for i := range b {
			ops[i] = b[i].op
		}
		failures, err := m.carry(ctx, meta.Batch{For: m.o.Session, Upto: b[len(b)-1].n, Ops: ops})
		if ctx.Err() != nil && err != nil {
			m.mu.Lock()
			m.queue = append(b, m.queue...)
			m.mu.Unlock()
			return
		}
		m.settle(b, failures, err)
	}
}

// carry brings a batch into the log, again where the entry it came into was full.
func (m *Mount) carry(ctx context.Context, b meta.Batch) (failures []meta.Failure, err error) {
	for range 100 {
		if failures, err = m.below.Carry(ctx, b); !errors.Is(err, fault.Busy) {
			break
		}
	}
	return failures, err
}

// take takes a batch from the queue.
func (m *Mount) take() []queued {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, keys, bytes := 0, 0, 0
	for n < len(m.queue) && n < meta.BatchMax {
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

// settle drops what lay over the state and is in it now.
func (m *Mount) settle(b []queued, failures []meta.Failure, all error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := b[len(b)-1].n
	for _, q := range b {
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
	}
	if all != nil {
		m.failed, m.failure = all, last
		m.o.Log.Error("changes made here were refused", "ops", len(b), "err", all)
	}
	for i := range b {
		var err error
		if at := slices.IndexFunc(failures, func(f meta.Failure) bool { return f.At == i }); at >= 0 {
			err = failures[at].Err
		}
		if _, commit := b[i].op.(meta.Commit); commit && errors.Is(err, fault.Stale) {
			continue // the file is gone, and nobody can miss its bytes
		}
		if err != nil {
			m.failed, m.failure = err, b[i].n
			m.o.Log.Error("a change made here was refused: this mount was cut off, and its directories were given away",
				"op", describe(b[i].op), "err", err)
		}
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
}

// until waits until op n, and all before it, are in the state.
func (m *Mount) until(ctx context.Context, n uint64) error {
	for {
		m.mu.Lock()
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
	m.mu.Lock()
	from, n := m.applied, m.last
	m.mu.Unlock()
	if err := m.until(ctx, n); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure > from && m.failure <= n {
		return m.failed
	}
	return nil
}

// giveUpIdle gives up what nobody has touched for long, so that others need not ask for it.
func (m *Mount) giveUpIdle(ctx context.Context) {
	for {
		inos := m.idle(idleAfter, meta.ListMax)
		if len(inos) == 0 {
			return
		}
		if _, err := m.ApplyEarly(ctx, m.endOf(inos)); err != nil {
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
	inos := append([]meta.Ino{ino}, m.idle(quietAfter, meta.ListMax-1)...)
	_, err := m.ApplyEarly(ctx, m.endOf(inos))
	return err
}

func (m *Mount) endOf(inos []meta.Ino) meta.EndGrant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return meta.EndGrant{Session: m.session, Inos: inos}
}

// idle returns up to limit inodes that nothing was done to for so long.
func (m *Mount) idle(long time.Duration, limit int) []meta.Ino {
	then := m.o.Now().Add(-long)
	m.mu.Lock()
	var out []meta.Ino
	for ino, h := range m.held {
		if !h.ending && h.at.Before(then) && m.touched[ino] == 0 && m.busy[ino] == 0 {
			if out = append(out, ino); len(out) >= 2*limit {
				break
			}
		}
	}
	m.mu.Unlock()
	if m.o.InUse != nil {
		out = slices.DeleteFunc(out, m.o.InUse)
	}
	return out[:min(len(out), limit)]
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
	}
	return "set attributes"
}
