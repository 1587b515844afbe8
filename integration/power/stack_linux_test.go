package power

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/pool"
	"dfs/blockstore/segment"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
	"dfs/fs/meta"
	"dfs/fs/repair"
	"dfs/fs/vfs"
	"dfs/net/simnet"
)

// stack is one peer from the file system down to its disk: what cluster/node assembles, without network and mount.
// Files are small, so that a short load goes through segments, memtables and compactions.
type stack struct {
	kv      *badger.Store
	machine *state.Machine
	group   *raft.Group
	blocks  *segment.Store
	fs      *vfs.FS
	keeper  *repair.Keeper
	dropper repair.Dropper
	self    cluster.Member
	session uint64
	synced  atomic.Uint64
}

var clusterID = [16]byte{'p', 'o', 'w', 'e', 'r'}

func openStack(ctx context.Context, dir string, log *slog.Logger) (*stack, error) {
	var seed [32]byte
	seed[0] = 1
	key := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	s := &stack{self: cluster.Member{ID: cluster.IDOf(key), Key: key, Host: "h", Capacity: 1 << 30}}
	var b [8]byte
	rand.Read(b[:])
	s.session = binary.BigEndian.Uint64(b[:]) | 1
	var err error
	if s.kv, err = badger.Open(filepath.Join(dir, "state"), badger.Options{Log: log, MemtableBytes: 1 << 20}); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if s.machine, err = state.New(s.kv, state.Options{Parts: map[byte]state.Part{state.TagMeta: meta.Part{}}, Log: log}); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	port := simnet.NewLoop(1).Port(s.self.ID)
	began := time.Now()
	s.group, err = raft.Open(raft.Options{
		Self: s.self.ID, Cluster: "power", Dir: filepath.Join(dir, "log"), Transport: port, Machine: s.machine, Session: s.session,
		Bootstrap: true, Now: func() time.Duration { return time.Since(began) }, Wall: time.Now, Log: log,
		Keep: 100, SegmentBytes: 256 << 10,
	})
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	s.blocks, err = segment.Open(filepath.Join(dir, "blocks"), segment.Options{
		Cluster: clusterID, SegmentBytes: 1 << 20, SyncEvery: 30 * time.Millisecond, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("blocks: %w", err)
	}
	p := pool.New(pool.Options{
		Self:  s.self.ID,
		View:  func() cluster.View { return cluster.NewView(s.self.ID, 1, []cluster.Peer{{Member: s.self}}) },
		Store: func(cluster.PeerID) blockstore.Store { return s.blocks },
	})
	s.dropper = repair.Dropper{Self: s.self.ID, View: s.view, Store: s.blocks}
	s.keeper = repair.New(repair.Options{
		Session: s.session, View: s.view, Propose: s.Apply, Members: p.View, Pool: p, Pick: p.Policy, Log: log,
	})
	s.fs = vfs.New(s, data{p}, vfs.Alone{Store: s}, vfs.Options{Session: s.session, Self: s.self.ID, Idle: 50 * time.Millisecond, Log: log})
	for _, run := range []func(context.Context) error{port.Run, s.group.Run, s.blocks.Run, p.Run, s.fs.Run} {
		go func() { // owned by the process, which ends by being killed
			if err := run(ctx); err != nil {
				log.Error("ended", "err", err)
			}
		}()
	}
	return s, s.begin(ctx)
}

func (s *stack) view() (*meta.Image, error) {
	r, at := s.machine.At(0)
	return meta.NewView(r, at), nil
}

// At and Apply implement meta.Store.
func (s *stack) At(index uint64) (meta.View, error) {
	r, at := s.machine.At(index)
	return meta.NewView(r, at), nil
}

func (s *stack) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	_, raw, err := s.group.Propose(ctx, meta.Encode(op))
	if err != nil {
		return meta.Result{}, err
	}
	return meta.ResultOf(raw)
}

func (s *stack) fact(ctx context.Context, f state.Fact) error {
	_, raw, err := s.group.Propose(ctx, state.Encode(f))
	if err == nil {
		_, err = state.DecodeResult(raw)
	}
	return err
}

// begin brings the state up to date and makes what a new peer needs.
func (s *stack) begin(ctx context.Context) error {
	if err := s.fact(ctx, state.OpenSession{Peer: s.self.ID, Incarnation: uint64(time.Now().UnixNano())}); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.Close()
	if _, err := v.Stat(meta.Root); !errors.Is(err, fault.NotExist) {
		return err
	}
	if err := s.fact(ctx, state.Genesis{First: s.self}); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	_, err = s.Apply(ctx, meta.Format{Mode: 0o755})
	return err
}

// verify finds what the cut took.
func (s *stack) verify(ctx context.Context) (lost, damaged int, err error) {
	v := repair.Verifier{Self: s.self.ID, View: s.view, Store: s.blocks, Propose: s.Apply}
	return v.Run(ctx)
}

// chores is what a peer and its leader do by and by, quickly: what is synced becomes stable, what was replaced goes.
func (s *stack) chores(ctx context.Context) {
	var dropped uint64
	for ctx.Err() == nil {
		v, err := s.view()
		if err != nil {
			return
		}
		at := v.Index()
		v.Close()
		if s.blocks.Sync(ctx) == nil {
			s.synced.Store(at)
		}
		words := []repair.Word{{Peer: s.self.ID, Session: s.session, Taken: at, Synced: s.synced.Load(), Dropped: dropped}}
		_ = s.keeper.Settle(ctx, words, nil)
		_ = s.keeper.Bury(ctx, words, []uint64{s.session})
		if d, err := s.dropper.Pass(ctx, at); err == nil {
			dropped = d
		}
		s.machine.SetFloor(at)
		rest(ctx, 25*time.Millisecond)
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// data is the pool as the file system sees it.
type data struct{ *pool.Pool }

func (d data) Write(ctx context.Context, p []byte, n blockstore.Note, w placement.Wish, hard bool) ([]extent.Extent, error) {
	write := d.Pool.Write
	if hard {
		write = d.WriteHard
	}
	pieces, err := write(ctx, p, n, w)
	out := make([]extent.Extent, len(pieces))
	for i, x := range pieces {
		out[i] = extent.Extent{Off: x.Off, Span: x.Span, Layout: x.Layout}
	}
	return out, err
}

func (d data) Read(ctx context.Context, s blockstore.Span, l placement.Layout, p []byte) error {
	return d.Pool.Read(ctx, s, l, p)
}

func (d data) Sync(ctx context.Context, at []placement.Layout) (bool, error) {
	failed, err := d.SyncLayouts(ctx, at)
	return len(failed) == 0, err
}

// lines is where the working process tells what it does; each line leaves it before the next step begins.
type lines struct {
	mu   sync.Mutex
	tell func(string)
}

func (l *lines) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(fmt.Sprintf(format, args...))
}
