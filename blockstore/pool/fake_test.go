package pool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
)

// store keeps extents in a map. What each call does before that is the test's choice.
type store struct {
	mu      sync.Mutex
	extents map[blockstore.ID][]byte
	notes   map[blockstore.ID]blockstore.Note
	before  func(ctx context.Context, op string) error // nil: nothing; called without mu
	calls   map[string]int
}

var _ blockstore.Store = (*store)(nil)

func (s *store) call(ctx context.Context, op string) error {
	s.mu.Lock()
	s.calls[op]++
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, op)
}

func (s *store) Put(ctx context.Context, b ...blockstore.Batch) error {
	err := s.call(ctx, "put")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range b {
		if err := blockstore.Verify(x.Data, x.Sums); err != nil {
			return err
		}
		if old, ok := s.extents[x.ID]; ok && !bytes.Equal(old, x.Data) {
			return fault.New("put", fault.Exist, "%s", x.ID)
		}
		s.extents[x.ID] = bytes.Clone(x.Data)
		s.notes[x.ID] = x.Note
	}
	return nil
}

func (s *store) Get(ctx context.Context, sp blockstore.Span, p []byte) error {
	if err := s.call(ctx, "get"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.extents[sp.Extent]
	if !ok {
		return fault.New("get", fault.NotExist, "%s", sp.Extent)
	}
	copy(p, data[sp.First*blockstore.Size:(sp.First+sp.Count)*blockstore.Size])
	return nil
}

func (s *store) Delete(ctx context.Context, spans ...blockstore.Span) error {
	if err := s.call(ctx, "delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sp := range spans {
		delete(s.extents, sp.Extent)
	}
	return nil
}

func (s *store) Sync(ctx context.Context) error { return s.call(ctx, "sync") }

func (s *store) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *store) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.extents)
}

func (s *store) set(before func(context.Context, string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// fails makes every call of op fail with kind.
func fails(op string, kind fault.Kind) func(context.Context, string) error {
	return func(_ context.Context, o string) error {
		if o == op {
			return fault.New(op, kind, "on purpose")
		}
		return nil
	}
}

// hangs makes every call of op wait for the end of its context.
func hangs(op string) func(context.Context, string) error {
	return func(ctx context.Context, o string) error {
		if o == op {
			<-ctx.Done()
			return fault.Because(op, fault.Timeout, ctx.Err())
		}
		return nil
	}
}

// takes makes every call of op last d.
func takes(op string, d time.Duration) func(context.Context, string) error {
	return func(ctx context.Context, o string) error {
		if o != op {
			return nil
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rig is a pool over n stores; peer 0 is this one.
type rig struct {
	*Pool
	ids    []cluster.PeerID
	stores []*store
	peers  []cluster.Peer
	bad    []string
	silent atomic.Bool // peer 1 owes a sign of life
	mu     sync.Mutex
}

// seeded makes equal ids and draws for equal seeds.
type seeded struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (s *seeded) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(p); i += 8 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], s.r.Uint64())
		copy(p[i:], b[:])
	}
	return len(p), nil
}

func newRig(n int, seed uint64, change ...func(*Options)) *rig {
	r := &rig{}
	for i := range n {
		id := cluster.PeerID{byte(i + 1)}
		r.ids = append(r.ids, id)
		r.stores = append(r.stores, &store{extents: map[blockstore.ID][]byte{}, notes: map[blockstore.ID]blockstore.Note{}, calls: map[string]int{}})
		r.peers = append(r.peers, cluster.Peer{Member: cluster.Member{ID: id, Host: fmt.Sprint(i), Capacity: 1 << 30}})
	}
	o := Options{
		Self: r.ids[0],
		View: func() cluster.View {
			r.mu.Lock()
			defer r.mu.Unlock()
			return cluster.NewView(r.ids[0], 1, slices.Clone(r.peers))
		},
		Store: func(id cluster.PeerID) blockstore.Store {
			if i := slices.Index(r.ids, id); i >= 0 {
				return r.stores[i]
			}
			return nil
		},
		OnBad: func(peer cluster.PeerID, s blockstore.Span, kind fault.Kind) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.bad = append(r.bad, fmt.Sprint(slices.Index(r.ids, peer), " ", kind))
		},
		Silent: func(id cluster.PeerID) bool { return r.silent.Load() && id == r.ids[1] },
		Random: &seeded{r: rand.New(rand.NewPCG(seed, 2))},
	}
	for _, f := range change {
		f(&o)
	}
	r.Pool = New(o)
	return r
}

func (r *rig) at(id cluster.PeerID) *store { return r.stores[slices.Index(r.ids, id)] }

func blocks(n int, seed uint64) []byte {
	b := make([]byte, n*blockstore.Size)
	(&seeded{r: rand.New(rand.NewPCG(seed, 3))}).Read(b)
	return b
}

// whole reads all pieces and returns them put together.
func (r *rig) whole(t *testing.T, pieces []Piece) []byte {
	t.Helper()
	var all []byte
	for _, x := range pieces {
		if x.Off != int64(len(all)) {
			t.Fatalf("piece at %d, want %d", x.Off, len(all))
		}
		p := make([]byte, x.Span.Bytes())
		if err := r.Read(t.Context(), x.Span, x.Layout, p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	return all
}
