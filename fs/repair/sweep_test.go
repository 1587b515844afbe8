package repair_test

import (
	"context"
	"errors"
	"testing"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/cluster/state"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// run runs the pool until the function returned is called.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.pool.Run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func (r *rig) lose(id cluster.PeerID) {
	r.t.Helper()
	r.fact(state.SetMember{ID: id, Mask: state.SetState, State: cluster.Lost})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.members {
		if r.members[i].ID == id {
			r.members[i].State = cluster.Lost
		}
	}
}

// endSession ends session 1 and goes on in session 2, as a restart does.
func (r *rig) endSession() {
	r.t.Helper()
	r.session++
	r.fact(state.OpenSession{Peer: r.ids[0], Incarnation: r.session})
}

func (r *rig) sweeper(i int) *repair.Sweeper {
	return &repair.Sweeper{
		Store:    r.stores[i],
		Latest:   func(context.Context) ([]uint64, *meta.Image, error) { return []uint64{r.session}, r.image(), nil },
		Released: func(context.Context, uint64) error { return nil },
		Rest:     func(context.Context) error { return nil },
	}
}

func (r *rig) sweepAll() (n int) {
	r.t.Helper()
	for i := range r.stores {
		k, err := r.sweeper(i).Pass(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		n += k
	}
	return n
}

// stray writes an extent for a file and never commits it.
func (r *rig) stray(ino meta.Ino, off int64) {
	r.t.Helper()
	if _, err := r.pool.Write(ctx, blocks(3, 77), blockstore.Note{Ino: uint64(ino), Off: off, Session: r.session}, two); err != nil {
		r.t.Fatal(err)
	}
}

func TestWhatADeadWriterDidNotCommitIsSwept(t *testing.T) {
	r := newRig(t, 2)
	ino := r.file("f", two)
	data := blocks(6, 1)
	r.mustWrite(ino, 0, data)
	gone := r.do(meta.Create{Dir: meta.Root, Name: "gone", Type: meta.File}).Inode.Ino
	r.settle()
	r.stray(ino, 0)
	r.stray(ino, 512)
	r.stray(gone, 0)
	r.do(meta.Unlink{Dir: meta.Root, Name: "gone"})
	r.quiet()
	if n := r.sweepAll(); n != 0 {
		t.Fatalf("%d extents of a living session were swept: it may commit them yet", n)
	}
	r.endSession()
	if n := r.sweepAll(); n != 6 {
		t.Fatalf("%d extents were swept", n)
	}
	r.exact(ino)
	r.same(ino, data)
}

// What a volatile commit replaced may be needed again.
func TestTheSweepKeepsBothVersions(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{Copies: 1})
	r.mustWrite(ino, 0, blocks(2, 1))
	r.settle()
	r.mustWrite(ino, 0, blocks(2, 2))
	r.endSession()
	if n := r.sweepAll(); n != 0 || len(r.held(0)) != 2 {
		t.Fatalf("%d swept, %d left", n, len(r.held(0)))
	}
}

// Extents lie where their file shows them, or elsewhere in it: the note's offset is a hint.
func TestTheSweepLooksAtTheWholeFile(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{Copies: 1})
	pieces, err := r.pool.Write(ctx, blocks(2, 3), blockstore.Note{Ino: uint64(ino), Off: 1 << 30, Session: 1}, two)
	if err != nil {
		t.Fatal(err)
	}
	r.commit(ino, 0, pieces)
	r.settle()
	r.endSession()
	if n := r.sweepAll(); n != 0 {
		t.Fatal("a live extent was swept")
	}
	r.same(ino, blocks(2, 3))
}

// Many extents are looked at in steps, each against a newer state, and each waits until that is released.
func TestTheSweepGoesInSteps(t *testing.T) {
	r := newRig(t, 1)
	ino := r.file("f", placement.Wish{Copies: 1, UnitBlocks: 1})
	r.mustWrite(ino, 0, blocks(1500, 1))
	r.settle()
	if _, err := r.pool.Write(ctx, blocks(1500, 2), blockstore.Note{Ino: uint64(ino), Session: 1}, placement.Wish{Copies: 1, UnitBlocks: 1}); err != nil {
		t.Fatal(err)
	}
	r.endSession()
	s := r.sweeper(0)
	rests, waits := 0, 0
	s.Rest = func(context.Context) error { rests++; return nil }
	s.Released = func(_ context.Context, index uint64) error {
		waits++
		if index != r.now() {
			t.Errorf("waits for %d at %d", index, r.now())
		}
		return nil
	}
	if n, err := s.Pass(ctx); n != 1500 || err != nil || rests != 3 || waits == 0 {
		t.Fatalf("%d swept in %d steps, %d waits, %v", n, rests, waits, err)
	}
	r.exact(ino)

	stop := errors.New("stop")
	s.Rest = func(context.Context) error { return stop }
	if _, err := s.Pass(ctx); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}
