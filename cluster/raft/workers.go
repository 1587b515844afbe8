package raft

import (
	"context"

	"dfs/cluster/fault"
	"dfs/cluster/raft/wal"

	pb "go.etcd.io/raft/v3/raftpb"
)

// writeJob is one thing for the writer: a write, or a compaction.
type writeJob struct {
	write   *Write
	compact *compaction
}

type compaction struct {
	to, most uint64 // wished, and the most there may be if the log is big
	conf     wal.Conf
}

// compact seals the log, and lets it forget what neither this machine nor a reasonably slow follower needs.
func (g *Group) compact() {
	g.applier.push(applyJob{check: true}) // for the next time
	most := min(g.durable.Load(), g.core.applied)
	to := min(most, g.core.applied-min(g.core.applied, g.o.Keep))
	g.writer.push(writeJob{compact: &compaction{to, most, g.core.Conf()}})
}

// write is the goroutine that persists. All that waits is synced once.
func (g *Group) write(ctx context.Context) error {
	for {
		list := g.writer.take(ctx.Done())
		if list == nil {
			return nil
		}
		var batches []wal.Batch
		var done []*Write
		flush := func() error {
			if len(done) == 0 {
				return nil
			}
			if err := g.log.Save(batches...); err != nil {
				return err
			}
			ws := done
			g.inbox.post(func() {
				for _, w := range ws {
					g.core.Persisted(g.now, w)
				}
			})
			batches, done = nil, nil
			return nil
		}
		for _, job := range list {
			if c := job.compact; c != nil {
				if err := flush(); err != nil {
					return err
				}
				if err := g.forget(c); err != nil {
					return err
				}
				continue
			}
			if job.write.Install != nil {
				if err := flush(); err != nil {
					return err
				}
				if err := g.install(ctx, job.write.Install); err != nil {
					return err
				}
			}
			batches = append(batches, job.write.Batch)
			done = append(done, job.write)
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

func (g *Group) forget(c *compaction) error {
	if err := g.log.Seal(); err != nil || c.most == 0 {
		return err
	}
	if err := g.log.Compact(c.to, c.conf); err != nil {
		return err
	}
	if g.log.Size() > g.o.KeepBytes || g.o.Scarce != nil && g.o.Scarce() {
		return g.log.Compact(c.most, c.conf)
	}
	return nil
}

// install has the applier fetch a snapshot, and waits for it.
func (g *Group) install(ctx context.Context, in *Install) error {
	done := make(chan error, 1)
	g.applier.push(applyJob{install: in, done: done})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// applyJob is one thing for the goroutine that owns the machine.
type applyJob struct {
	apply   *Apply
	prepare *Prepare
	drop    bool // what was prepared
	check   bool // how far the machine is durable
	open    func(s Snapshot, index uint64)
	install *Install
	done    chan error
}

// apply is the goroutine that owns the machine.
func (g *Group) apply(ctx context.Context) error {
	through := g.begun // entries up to it were given out
	for {
		list := g.applier.take(ctx.Done())
		if list == nil {
			return nil
		}
		for _, job := range list {
			switch {
			case job.apply != nil:
				for i := range job.apply.Entries {
					if err := g.applyEntry(&job.apply.Entries[i]); err != nil {
						return err
					}
					through = job.apply.Entries[i].Index
				}
				g.inbox.post(func() { g.core.Applied(g.now, job.apply) })
			case job.drop:
				g.unprepare()
			case job.check:
				g.durable.Store(g.o.Machine.Durable()) // not after each entry: it looks at every table
			case job.prepare != nil:
				g.prepareEntry(job.prepare, through)
			case job.open != nil:
				s, err := g.o.Machine.Snapshot()
				if err != nil {
					return fault.Wrap("raft snapshot", err)
				}
				job.open(s, max(through, s.Index()))
			case job.install != nil:
				g.unprepare()
				err := g.fetch(ctx, job.install)
				if err == nil {
					through = job.install.Index
				}
				job.done <- err
				if err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// prepareEntry has the machine prepare an entry, if it can.
func (g *Group) prepareEntry(p *Prepare, through uint64) {
	m, ok := g.o.Machine.(Preparer)
	if !ok || g.o.OnPrepared == nil || p.Index != through+1 {
		return
	}
	if err := m.Prepare(p.Index, p.Proposals); err != nil {
		return // Apply will say why
	}
	g.prepared = true
	g.o.OnPrepared(p.ID)
}

func (g *Group) unprepare() {
	if !g.prepared {
		return
	}
	g.prepared = false
	g.o.Machine.(Preparer).Unprepare()
	g.o.OnUnprepared()
}

// applyEntry gives an entry to the machine unless it has it already.
func (g *Group) applyEntry(e *Entry) error {
	if len(e.Proposals) > 0 && e.Index > g.o.Machine.Applied() {
		results, err := g.o.Machine.Apply(e.Index, e.Proposals)
		if err != nil {
			return fault.Wrap("raft apply", err)
		}
		if len(results) != len(e.Proposals) {
			panic("raft: the machine returned another number of results than there were proposals")
		}
		e.Results = results
	}
	g.prepared = false
	if e.Index > g.told {
		g.told = e.Index
		if g.o.OnApplied != nil {
			g.o.OnApplied(e.Index)
		}
	}
	return nil
}

func decodeWAL(e wal.Entry) (Entry, error) {
	return decodeEntry(e.Index, pb.EntryType(e.Kind), e.Data)
}

// Replay gives the entry at index to m, if it has proposals. It is how a driver of a Core brings a machine that lags behind
// the log's configuration to where the Core begins.
func Replay(log *wal.Log, index uint64, m Machine) error {
	es, err := log.Entries(index, index+1, 0)
	if err != nil {
		return err
	}
	e, err := decodeWAL(es[0])
	if err != nil || len(e.Proposals) == 0 {
		return err
	}
	_, err = m.Apply(index, e.Proposals)
	return err
}
