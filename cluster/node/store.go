package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/delegate"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// store is the metadata as the file system uses it: views of the local replica, ops through the log.
type store struct {
	group    *raft.Group
	machine  *state.Machine
	released *gate
	cut      *cutOff
	session  *incarnation
	cramped  atomic.Bool // see grows
}

var (
	_ meta.Store = (*store)(nil)
	_ vfs.Early  = (*store)(nil)
	_ vfs.Bound  = (*store)(nil)

	_ delegate.Below = (*store)(nil)
)

// At implements meta.Store.
func (s *store) At(index uint64) (meta.View, error) { return s.image(index), nil }

func (s *store) image(index uint64) *meta.Image {
	r, at := s.machine.At(index)
	return meta.NewView(r, at)
}

// newest is image(0) for those who act on what is missing in it: fault.Busy while there is no state.
func (s *store) newest() (*meta.Image, error) {
	v := s.image(0)
	if v.Index() == 0 {
		v.Close()
		return nil, errFetching
	}
	return v, nil
}

var errFetching = fault.New("state", fault.Busy, "the state is being fetched from the others")

// facts runs fn on the newest facts.
func (s *store) facts(fn func(state.View) error) error {
	r, _ := s.machine.At(0)
	defer r.Close()
	return fn(state.NewView(r))
}

// Apply implements meta.Store.
func (s *store) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	return s.apply(ctx, 0, op, func(ctx context.Context, body []byte) ([]byte, error) {
		_, raw, err := s.group.Propose(ctx, body)
		return raw, err
	})
}

// ApplyEarly implements vfs.Early.
func (s *store) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	return s.ApplyUnder(ctx, 0, op)
}

// ApplyUnder implements vfs.Bound.
func (s *store) ApplyUnder(ctx context.Context, session uint64, op meta.Op) (meta.Result, error) {
	return s.apply(ctx, session, op, func(ctx context.Context, body []byte) ([]byte, error) {
		_, raw, err := s.group.ProposeApplied(ctx, session, body)
		return raw, err
	})
}

// apply carries op through the log. Where the session under which it was proposed has ended, which is no fault of whoever asked
// for op, it is proposed in the next one; an op that rests on the session it names is not, but fault.Conflict.
func (s *store) apply(ctx context.Context, under uint64, op meta.Op, propose func(context.Context, []byte) ([]byte, error)) (meta.Result, error) {
	if err := s.grows(op); err != nil {
		return meta.Result{}, err
	}
	ctx, end, err := s.cut.within(ctx)
	if err != nil {
		return meta.Result{}, err
	}
	defer end()
	body := meta.Encode(op)
	for {
		skips := s.session.skips.Load()
		raw, err := propose(ctx, body)
		var res meta.Result
		if err == nil {
			res, err = meta.ResultOf(raw)
		}
		if !errors.Is(err, fault.Ended) {
			return res, because(ctx, err)
		}
		if s.session.skips.Load() != skips {
			// Part of the log was skipped, by a snapshot, and op may have been there.
			return res, fault.New("change", fault.Other, "this peer was away for so long that nobody knows whether it happened")
		}
		if err := s.session.wait(ctx, s); err != nil {
			return res, because(ctx, err)
		}
		if under != 0 {
			return res, fault.New("change", fault.Conflict, "session %x has ended", under)
		}
	}
}

// Released implements vfs.Early.
func (s *store) Released(ctx context.Context, index uint64) error {
	if s.released.has(index) {
		return nil
	}
	ctx, end, err := s.cut.within(ctx)
	if err != nil {
		return err
	}
	defer end()
	if !s.released.has(index) {
		s.group.Hurry()
	}
	return because(ctx, s.released.wait(ctx, index))
}

// Admit implements delegate.Below.
func (s *store) Admit(op meta.Op) error { return s.grows(op) }

// Newest implements delegate.Below.
func (s *store) Newest() (kv.Reader, uint64) { return s.machine.At(0) }

// Carry implements delegate.Below. A batch is applied once, however often and in whatever session it is proposed.
func (s *store) Carry(ctx context.Context, b meta.Batch) (failures []meta.Failure, err error) {
	body := meta.Encode(b)
	for {
		_, raw, err := s.group.ProposeApplied(ctx, 0, body)
		if err == nil {
			failures, err = meta.FailuresOf(raw)
		}
		if !errors.Is(err, fault.Ended) {
			return failures, err
		}
		if err := s.session.wait(ctx, s); err != nil {
			return nil, err
		}
	}
}

// Wait implements delegate.Below.
func (s *store) Wait(ctx context.Context, done <-chan struct{}) error {
	ctx, end, err := s.cut.within(ctx)
	if err != nil {
		return err
	}
	defer end()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return because(ctx, fault.Because("wait for the log", fault.Timeout, ctx.Err()))
	}
}

// propose carries one fact through the log.
func (s *store) propose(ctx context.Context, f state.Fact) ([]byte, error) {
	_, raw, err := s.group.Propose(ctx, state.Encode(f))
	if err != nil {
		return nil, err
	}
	return state.DecodeResult(raw)
}

// gate is where one waits for an index to be released.
type gate struct {
	mu   sync.Mutex
	seen lease.Seen
	next chan struct{} // closed and replaced when seen grows
}

func newGate() *gate { return &gate{next: make(chan struct{})} }

func (g *gate) open(seen lease.Seen) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = seen
	close(g.next)
	g.next = make(chan struct{})
}

func (g *gate) has(index uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen.Has(index)
}

func (g *gate) prefix() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen.Prefix
}

func (g *gate) wait(ctx context.Context, index uint64) error {
	for {
		g.mu.Lock()
		has, next := g.seen.Has(index), g.next
		g.mu.Unlock()
		if has {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fault.Because("wait for a release", fault.Timeout, ctx.Err())
		}
	}
}
