// Package faulty is a blockstore.Store that fails on purpose, around one that works.
//
// A Plan is a list of rules; each names a method and which of its calls it is about. Without rules the wrapper is
// transparent and obeys the contract.
package faulty

import (
	"context"
	"sync"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

// Method of blockstore.Store.
type Method uint8

const (
	Put Method = iota
	Get
	Delete
	Sync
	methods
)

func (m Method) String() string { return [...]string{"put", "get", "delete", "sync"}[m] }

// Rule is what happens to some calls of one method.
type Rule struct {
	Method Method
	From   int // the first call it is about, counted from 1 by method; 0 is 1
	Count  int // how many calls; 0 is all from then on

	Delay <-chan struct{} // wait until it is closed, or the call's context ends
	Err   error           // return this without calling the store
	Drop  bool            // put, delete, sync: say yes and do nothing
	Lost  bool            // call the store, then return fault.Timeout: the answer was lost
	Flip  int             // get: flip a bit of block Flip-1 of the answer; 0: none
}

// Store wraps a store. It lists and sizes if the inner one does.
type Store struct {
	inner blockstore.Store

	mu    sync.Mutex
	rules []Rule
	calls [methods]int
}

var (
	_ blockstore.Store  = (*Store)(nil)
	_ blockstore.Lister = (*Store)(nil)
	_ blockstore.Sizer  = (*Store)(nil)
)

// New returns inner with rules over it.
func New(inner blockstore.Store, rules ...Rule) *Store { return &Store{inner: inner, rules: rules} }

// Set replaces the rules and counts calls from 1 again.
func (s *Store) Set(rules ...Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules, s.calls = rules, [methods]int{}
}

// Calls returns how often m was called since New or Set.
func (s *Store) Calls(m Method) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[m]
}

// next counts a call and returns the rule for it; the first that fits counts.
func (s *Store) next(m Method) Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[m]++
	n := s.calls[m]
	for _, r := range s.rules {
		from := max(r.From, 1)
		if r.Method == m && n >= from && (r.Count == 0 || n < from+r.Count) {
			return r
		}
	}
	return Rule{}
}

// call does what the rule says around do.
func (s *Store) call(ctx context.Context, m Method, do func() error) (Rule, error) {
	r := s.next(m)
	if r.Delay != nil {
		select {
		case <-r.Delay:
		case <-ctx.Done():
			return r, fault.Because("faulty "+m.String(), fault.Timeout, ctx.Err())
		}
	}
	if r.Err != nil {
		return r, r.Err
	}
	if r.Drop && m != Get {
		return r, nil
	}
	err := do()
	if err == nil && r.Lost {
		return r, fault.New("faulty "+m.String(), fault.Timeout, "the answer was lost")
	}
	return r, err
}

func (s *Store) Put(ctx context.Context, b ...blockstore.Batch) error {
	_, err := s.call(ctx, Put, func() error { return s.inner.Put(ctx, b...) })
	return err
}

// PutHard is a Put and a Sync, each under its rules.
func (s *Store) PutHard(ctx context.Context, b ...blockstore.Batch) error {
	if err := s.Put(ctx, b...); err != nil {
		return err
	}
	return s.Sync(ctx)
}

func (s *Store) Get(ctx context.Context, span blockstore.Span, p []byte) error {
	r, err := s.call(ctx, Get, func() error { return s.inner.Get(ctx, span, p) })
	if at := (r.Flip - 1) * blockstore.Size; err == nil && r.Flip > 0 && at < len(p) {
		p[at] ^= 1
	}
	return err
}

func (s *Store) Delete(ctx context.Context, spans ...blockstore.Span) error {
	_, err := s.call(ctx, Delete, func() error { return s.inner.Delete(ctx, spans...) })
	return err
}

func (s *Store) Sync(ctx context.Context) error {
	_, err := s.call(ctx, Sync, func() error { return s.inner.Sync(ctx) })
	return err
}

// List is fault.Unsupported when the inner store cannot.
func (s *Store) List(ctx context.Context, after blockstore.ID, fn func(id blockstore.ID, blocks uint32) bool) error {
	if l, can := s.inner.(blockstore.Lister); can {
		return l.List(ctx, after, fn)
	}
	return fault.New("faulty list", fault.Unsupported, "the inner store does not list")
}

// Usage is zero when the inner store does not know it.
func (s *Store) Usage() blockstore.Usage {
	if z, can := s.inner.(blockstore.Sizer); can {
		return z.Usage()
	}
	return blockstore.Usage{}
}
