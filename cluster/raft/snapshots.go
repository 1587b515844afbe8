package raft

import (
	"context"
	"slices"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft/wal"
	"dfs/net/wire"
)

// Bounds of snapshots being sent.
const (
	shelfMax   = 4                // open at a time; beyond, the one idle for longest is closed
	shelfIdle  = 30 * time.Second // then a snapshot that nobody pulls is closed
	chunkTime  = 5 * time.Second  // for one request
	chunkTries = 3
	chunkMax   = 1<<20 + 64<<10
)

// shelf is the snapshots that others pull from this peer.
type shelf struct {
	mu   sync.Mutex
	next uint64
	open []*shelved
}

// shelved is one snapshot being pulled.
type shelved struct {
	id    uint64
	index uint64
	taker cluster.PeerID // zero: nobody yet
	used  time.Duration

	mu    sync.Mutex
	snap  Snapshot
	n     uint64 // number of the chunk in last
	last  []byte
	ended bool
}

// put keeps a snapshot, for whoever comes first.
func (s *shelf) put(snap Snapshot, index uint64, now time.Duration) *shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.open) >= shelfMax {
		oldest := slices.MinFunc(s.open, func(a, b *shelved) int { return int(a.used - b.used) })
		s.dropLocked(oldest)
	}
	s.next++
	e := &shelved{id: s.next, index: index, snap: snap, used: now}
	s.open = append(s.open, e)
	return e
}

// claim returns a snapshot of at least min that nobody has pulled from.
func (s *shelf) claim(by cluster.PeerID, min uint64, now time.Duration) *shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.open {
		if e.taker.IsZero() && e.index >= min {
			e.taker, e.used = by, now
			return e
		}
	}
	return nil
}

func (s *shelf) find(id uint64, by cluster.PeerID, now time.Duration) *shelved {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.open {
		if e.id == id && e.taker == by {
			e.used = now
			return e
		}
	}
	return nil
}

func (s *shelf) expire(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Clone(s.open) {
		if now-e.used > shelfIdle {
			s.dropLocked(e)
		}
	}
}

func (s *shelf) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Clone(s.open) {
		s.dropLocked(e)
	}
}

func (s *shelf) drop(e *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(e)
}

func (s *shelf) dropLocked(e *shelved) {
	s.open = slices.DeleteFunc(s.open, func(x *shelved) bool { return x == e })
	e.close()
}

// close waits for the chunk that is being read, if any.
func (e *shelved) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.ended = true
		e.snap.Close()
	}
}

// chunk returns the nth chunk; nil is the end. The one before may be asked for again.
func (e *shelved) chunk(n uint64) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.ended:
		return nil, fault.New("snapshot", fault.Stale, "closed")
	case n == e.n && n > 0:
		return e.last, nil
	case n != e.n+1:
		return nil, fault.New("snapshot", fault.Invalid, "chunk %d after %d", n, e.n)
	}
	b, err := e.snap.Next()
	if err != nil {
		return nil, err
	}
	e.n, e.last = n, b
	return b, nil
}

// snapOpen asks for a snapshot of at least Min.
type snapOpen struct{ min uint64 }

func (*snapOpen) Kind() wire.Kind          { return kindSnapOpen }
func (m *snapOpen) Append(b []byte) []byte { return wire.AppendUint(b, m.min) }
func (m *snapOpen) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.min = r.Uint()
	return r.Done()
}

// snapOpened says what will be pulled.
type snapOpened struct {
	id, index, term uint64
	conf            []byte
}

func (*snapOpened) Kind() wire.Kind { return kindSnapOpen }

func (m *snapOpened) Append(b []byte) []byte {
	b = wire.AppendUint(b, m.id)
	b = wire.AppendUint(b, m.index)
	b = wire.AppendUint(b, m.term)
	return wire.AppendBytes(b, m.conf)
}

func (m *snapOpened) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = snapOpened{id: r.Uint(), index: r.Uint(), term: r.Uint(), conf: r.Bytes(wal.ConfMax)}
	return r.Done()
}

// snapNext asks for a chunk. It has a payload so that it goes, and its answer comes, by the bulk connection.
type snapNext struct{ id, n uint64 }

func (*snapNext) Kind() wire.Kind { return kindSnapNext }
func (m *snapNext) Append(b []byte) []byte {
	return wire.AppendUint(wire.AppendUint(b, m.id), m.n)
}
func (m *snapNext) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = snapNext{id: r.Uint(), n: r.Uint()}
	return r.Done()
}
func (m *snapNext) Payload() [][]byte         { return [][]byte{{0}} }
func (m *snapNext) SetPayload(p []byte) error { return nil }

// snapChunk is a chunk; without bytes it is the end.
type snapChunk struct {
	n    uint64
	data []byte
}

func (*snapChunk) Kind() wire.Kind          { return kindSnapNext }
func (m *snapChunk) Append(b []byte) []byte { return wire.AppendUint(b, m.n) }
func (m *snapChunk) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.n = r.Uint()
	return r.Done()
}
func (m *snapChunk) Payload() [][]byte { return [][]byte{m.data} }
func (m *snapChunk) SetPayload(p []byte) error {
	if len(p) > chunkMax {
		return fault.New("snapshot", fault.TooBig, "chunk of %d bytes", len(p))
	}
	m.data = p
	return nil
}

// serveOpen begins to send a snapshot.
func (g *Group) serveOpen(ctx context.Context, from cluster.PeerID, body wire.Body) (wire.Message, error) {
	var m snapOpen
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	e := g.shelf.claim(from, m.min, g.o.Now())
	if e == nil {
		opened := make(chan *shelved, 1)
		g.applier.push(applyJob{open: func(s Snapshot, index uint64) { opened <- g.shelf.put(s, index, g.o.Now()) }})
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ended("snapshot", ctx)
		}
		if e = g.shelf.claim(from, m.min, g.o.Now()); e == nil {
			return nil, fault.New("snapshot", fault.NotExist, "of entry %d or later", m.min)
		}
	}
	reply := &snapOpened{id: e.id, index: e.index}
	var err error
	asked := g.ask(ctx, func() {
		g.core.SnapshotPulled(g.now, from)
		if reply.term, err = g.log.Term(e.index); err != nil {
			return
		}
		if g.core.confAt > e.index {
			err = fault.New("snapshot", fault.Conflict, "the configuration changed since entry %d", e.index)
			return
		}
		reply.conf = g.core.conf.append(nil)
	})
	if asked != nil {
		err = asked
	}
	if err != nil {
		g.shelf.drop(e)
		return nil, err
	}
	return reply, nil
}

// serveNext sends one chunk.
func (g *Group) serveNext(_ context.Context, from cluster.PeerID, body wire.Body) (wire.Message, error) {
	var m snapNext
	if err := body.Into(&m); err != nil {
		return nil, err
	}
	e := g.shelf.find(m.id, from, g.o.Now())
	if e == nil {
		return nil, fault.New("snapshot", fault.Stale, "snapshot %d", m.id)
	}
	b, err := e.chunk(m.n)
	if err != nil {
		g.shelf.drop(e)
		return nil, err
	}
	if len(b) == 0 {
		g.shelf.drop(e)
	}
	g.inbox.offer(func() { g.core.SnapshotPulled(g.now, from) })
	return &snapChunk{m.n, b}, nil
}

// fetch installs a snapshot of at least in.Index into the machine: from the peer that offered it, or from anyone. It
// tries until it succeeds, ctx ends, or the machine itself fails.
func (g *Group) fetch(ctx context.Context, in *Install) error {
	from := append([]cluster.PeerID{in.From}, in.conf.peers...)
	_, err := g.pullFromAny(ctx, from, in.Index)
	return err
}

func (g *Group) pullFromAny(ctx context.Context, from []cluster.PeerID, least uint64) (*snapOpened, error) {
	wait := 100 * time.Millisecond
	for {
		for _, id := range from {
			if id == g.o.Self || id.IsZero() {
				continue
			}
			opened, broken, err := g.pull(ctx, id, least)
			if broken || err == nil {
				return opened, err
			}
			g.o.Log.Info("snapshot not received", "peer", id.Short(), "err", err)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// pull installs one peer's snapshot. Broken says that the machine failed, not the peer.
func (g *Group) pull(ctx context.Context, from cluster.PeerID, least uint64) (opened *snapOpened, broken bool, err error) {
	opened = &snapOpened{}
	if err := g.call(ctx, from, &snapOpen{least}, opened); err != nil {
		return nil, false, err
	}
	if opened.index < least {
		return nil, false, fault.New("snapshot", fault.Invalid, "of entry %d, asked for %d", opened.index, least)
	}
	g.o.Log.Info("snapshot begins", "peer", from.Short(), "index", opened.index)
	var lost error
	var n uint64
	err = g.o.Machine.Restore(opened.index, func() ([]byte, error) {
		n++
		var chunk snapChunk
		lost = g.call(ctx, from, &snapNext{opened.id, n}, &chunk)
		if lost == nil && chunk.n != n {
			lost = fault.New("snapshot", fault.Invalid, "chunk %d for %d", chunk.n, n)
		}
		if lost != nil || len(chunk.data) == 0 {
			return nil, lost
		}
		return chunk.data, nil
	})
	if err != nil {
		return nil, lost == nil, err
	}
	g.told = max(g.told, opened.index)
	if g.o.OnReset != nil {
		g.o.OnReset(opened.index)
	}
	return opened, false, nil
}

// call is one request of a pull, repeated a few times.
func (g *Group) call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) (err error) {
	for range chunkTries {
		one, cancel := context.WithTimeout(ctx, chunkTime)
		err = g.o.Transport.Call(one, to, req, reply)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if k := fault.KindOf(err); k != fault.Timeout && k != fault.Unreachable {
			return err
		}
	}
	return err
}

// rebuild fetches the state for a log that does not reach back to the beginning.
func (g *Group) rebuild(ctx context.Context) error {
	conf, err := readConfig(g.log.Conf().Data)
	if err != nil {
		return fault.Because("raft open", fault.Corrupt, err)
	}
	g.o.Log.Info("state is being fetched", "index", g.log.First()-1)
	opened, err := g.pullFromAny(ctx, conf.peers, g.log.First()-1)
	if err != nil {
		return err
	}
	if opened.index <= g.log.Last() {
		return nil
	}
	// Everything in this log is committed and part of the snapshot.
	return g.log.Save(wal.Batch{
		Base: &wal.Mark{Index: opened.index, Term: opened.term},
		Conf: &wal.Conf{Index: opened.index, Data: opened.conf},
	})
}
