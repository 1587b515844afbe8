package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/faulty"
	"dfs/blockstore/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

func TestContractWithoutRules(t *testing.T) {
	storetest.Run(t, func(*testing.T) blockstore.Store { return faulty.New(mem.New()) })
}

func TestRules(t *testing.T) {
	ctx := context.Background()
	inner := mem.New()
	s := faulty.New(inner)
	b := storetest.Extent(1, 3)
	span := blockstore.Span{Extent: b.ID, Count: 3}
	p := make([]byte, len(b.Data))
	broken := errors.New("broken")

	s.Set(faulty.Rule{Method: faulty.Put, From: 2, Count: 1, Err: broken})
	for i, want := range []error{nil, broken, nil} {
		if err := s.Put(ctx, b); !errors.Is(err, want) {
			t.Errorf("put %d: %v, want %v", i+1, err, want)
		}
	}
	s.Set(faulty.Rule{Method: faulty.Get, Flip: 2})
	if err := s.Get(ctx, span, p); err != nil || fault.KindOf(blockstore.Verify(p, b.Sums)) != fault.Corrupt {
		t.Errorf("flip: %v, %v", err, blockstore.Verify(p, b.Sums))
	}
	s.Set(faulty.Rule{Method: faulty.Delete, Drop: true})
	if err := s.Delete(ctx, span); err != nil {
		t.Error(err)
	}
	if err := s.Get(ctx, span, p); err != nil || !bytes.Equal(p, b.Data) {
		t.Errorf("after a dropped delete: %v", err)
	}
	s.Set(faulty.Rule{Method: faulty.Delete, Lost: true})
	if err := s.Delete(ctx, span); fault.KindOf(err) != fault.Timeout {
		t.Errorf("lost answer: %v", err)
	}
	if err := s.Get(ctx, span, p); fault.KindOf(err) != fault.NotExist {
		t.Errorf("after a delete whose answer was lost: %v", err)
	}

	gate := make(chan struct{})
	s.Set(faulty.Rule{Method: faulty.Sync, Delay: gate})
	done := make(chan error)
	go func() { done <- s.Sync(ctx) }()
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Set(faulty.Rule{Method: faulty.Sync, Delay: make(chan struct{})})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Sync(ended); fault.KindOf(err) != fault.Timeout {
		t.Errorf("delayed for ever: %v", err)
	}
	if n := s.Calls(faulty.Sync); n != 1 {
		t.Errorf("%d calls", n)
	}
}
