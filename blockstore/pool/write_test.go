package pool

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

func TestWriteCutsAtTheUnitAndReadsBack(t *testing.T) {
	for _, c := range []struct{ blocks, unit, pieces int }{
		{1, 0, 1}, {8192, 0, 1}, {8193, 0, 2}, {7, 1, 7}, {8, 3, 3}, {9, 3, 3}, {1000, 1, 1000},
	} {
		r := newRig(3, 1)
		data := blocks(c.blocks, 5)
		note := blockstore.Note{Ino: 7, Off: 4096, Session: 9}
		pieces, err := r.Write(t.Context(), data, note, placement.Wish{UnitBlocks: uint32(c.unit)})
		if err != nil || len(pieces) != c.pieces {
			t.Fatalf("%+v: %d pieces, %v", c, len(pieces), err)
		}
		if !bytes.Equal(r.whole(t, pieces), data) {
			t.Fatalf("%+v: other bytes", c)
		}
		for _, x := range pieces {
			if x.Degraded || len(x.Layout.Peers) != 2 || x.Layout.Data != 1 {
				t.Fatalf("%+v: %+v", c, x)
			}
			if n := r.at(x.Layout.Peers[1]).notes[x.Span.Extent]; n.Off != 4096+x.Off || n.Ino != 7 || n.Session != 9 {
				t.Fatalf("note %+v of the piece at %d", n, x.Off)
			}
		}
		for i, s := range r.stores {
			if n := s.count("put"); n > 1 {
				t.Errorf("%+v: %d requests to peer %d, want one at most", c, n, i)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	r := newRig(1, 1)
	for n, kind := range map[int]fault.Kind{0: fault.Invalid, 511: fault.Invalid, 513: fault.Invalid} {
		if _, err := r.Write(t.Context(), make([]byte, n), blockstore.Note{}, placement.Wish{}); !errors.Is(err, kind) {
			t.Error(n, err)
		}
	}
	if _, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{Data: 4, Parity: 2}); !errors.Is(err, fault.Unsupported) {
		t.Error(err)
	}
}

func TestOnePeerIsEnough(t *testing.T) {
	r := newRig(1, 1)
	x, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{})
	if err != nil || x[0].Degraded {
		t.Error("one copy is all that auto means in a cluster of one:", x, err)
	}
	x, err = r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{Copies: 3})
	if err != nil || !x[0].Degraded || len(x[0].Layout.Peers) != 1 {
		t.Error("want a degraded piece:", x, err)
	}
}

func TestFailedPeerIsReplaced(t *testing.T) {
	r := newRig(3, 1)
	r.stores[1].set(fails("put", fault.Unreachable))
	for range 10 {
		pieces, err := r.Write(t.Context(), blocks(4, 1), blockstore.Note{}, placement.Wish{Copies: 2, UnitBlocks: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range pieces {
			if x.Degraded || len(x.Layout.Peers) != 2 || slices.Contains(x.Layout.Peers, r.ids[1]) {
				t.Fatalf("%+v", x)
			}
		}
	}
	if s := r.Stats(r.ids[1]); s.Errors == 0 {
		t.Error("no errors counted")
	}
}

func TestDegradedWhenNobodyElseIsLeft(t *testing.T) {
	r := newRig(2, 1)
	r.stores[1].set(fails("put", fault.NoSpace))
	x, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{})
	if err != nil || !x[0].Degraded || !slices.Equal(x[0].Layout.Peers, r.ids[:1]) {
		t.Error(x, err)
	}
}

func TestWriteFailsByKind(t *testing.T) {
	for _, c := range []struct{ each, want fault.Kind }{
		{fault.NoSpace, fault.NoSpace}, {fault.Unreachable, fault.Unreachable}, {fault.ReadOnly, fault.Unreachable}, {fault.Exist, fault.Exist},
	} {
		r := newRig(3, 1)
		for _, s := range r.stores {
			s.set(fails("put", c.each))
		}
		x, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{})
		if x != nil || fault.KindOf(err) != c.want {
			t.Errorf("%v: %v, %v", c.each, x, err)
		}
	}
	r := newRig(2, 1)
	r.peers[0].Capacity, r.peers[1].State = 100, cluster.Draining
	if _, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{}); !errors.Is(err, fault.NoSpace) {
		t.Error(err)
	}
}

func TestAFaultThatPassesIsAskedAgain(t *testing.T) {
	r := newRig(1, 1)
	failed := false
	r.stores[0].set(func(context.Context, string) error {
		if failed {
			return nil
		}
		failed = true
		return fault.New("put", fault.Unreachable, "once")
	})
	if x, err := r.Write(t.Context(), blocks(1, 1), blockstore.Note{}, placement.Wish{}); err != nil || len(x[0].Layout.Peers) != 1 {
		t.Error(x, err)
	}
	if r.Forgetting() != 0 {
		t.Error("a replica that is listed is to be forgotten")
	}
}

// TestStraggler: a peer that does not answer in time is replaced, is not listed, and what it may have stored
// after all is deleted.
func TestStraggler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(3, 1)
		var late sync.WaitGroup
		r.stores[1].set(func(ctx context.Context, op string) error {
			if op == "put" {
				<-ctx.Done()
				late.Go(func() { // the request arrives after its sender gave up
					time.Sleep(time.Second)
					r.stores[1].mu.Lock()
					defer r.stores[1].mu.Unlock()
					for id, data := range r.stores[2].extents {
						r.stores[1].extents[id] = data
					}
				})
				return fault.Because("put", fault.Timeout, ctx.Err())
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { r.Run(ctx) })
		start := time.Now()
		x, err := r.Write(ctx, blocks(8, 1), blockstore.Note{}, placement.Wish{Copies: 3})
		if err != nil || !x[0].Degraded || len(x[0].Layout.Peers) != 2 || slices.Contains(x[0].Layout.Peers, r.ids[1]) {
			t.Error(x, err)
		}
		if d := time.Since(start); d < time.Second || d > 1100*time.Millisecond {
			t.Errorf("gave up after %v", d)
		}
		if r.Forgetting() != 1 {
			t.Errorf("%d spans to forget", r.Forgetting())
		}
		late.Wait()
		if r.stores[1].len() != 1 {
			t.Error("the late put did not arrive")
		}
		time.Sleep(10 * time.Second)
		if r.stores[1].len() != 0 || r.Forgetting() != 0 {
			t.Error("the stray replica was not deleted")
		}
		cancel()
		run.Wait()
	})
}

func TestWhatAFailedWriteLeftIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, 1, func(o *Options) { o.Tries = 1 })
		r.peers[1].State = cluster.Draining
		n := 0
		r.stores[0].set(func(_ context.Context, op string) error {
			if n++; op == "delete" && n < 4 {
				return fault.New("delete", fault.Unreachable, "at first")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { r.Run(ctx) })
		x, err := r.Write(ctx, blocks(1, 1), blockstore.Note{}, placement.Wish{})
		if err != nil {
			t.Fatal(err)
		}
		r.Forget(x[0].Span, x[0].Layout.Peers...)
		time.Sleep(2 * time.Minute)
		if r.stores[0].len() != 0 || r.Forgetting() != 0 {
			t.Error("still there after retries")
		}
		cancel()
		run.Wait()
	})
}

func TestGivenUpByTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, 1)
		r.stores[0].set(hangs("put"))
		r.stores[1].set(hangs("put"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.Write(ctx, blocks(1, 1), blockstore.Note{}, placement.Wish{})
		if !errors.Is(err, fault.Timeout) {
			t.Error(err)
		}
		if s := r.Stats(r.ids[0]); s.Errors != 0 {
			t.Error("the caller's haste counted against the peer")
		}
	})
}

// TestBytesAreBounded: writes beyond the bound wait for those before them.
func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(1, 1, func(o *Options) { o.Bytes = 10 * blockstore.Size })
		r.stores[0].set(takes("put", 100*time.Millisecond))
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := r.Write(t.Context(), blocks(5, 1), blockstore.Note{}, placement.Wish{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Errorf("4 writes, two at a time: %v", d)
		}
		if _, err := r.Write(t.Context(), blocks(50, 1), blockstore.Note{}, placement.Wish{}); err != nil {
			t.Error("a write larger than the bound goes alone:", err)
		}
	})
}

// TestWritersAtOnceUseAllPeers: no report arrives while 40 writers are at work.
func TestWritersAtOnceUseAllPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(4, 1)
		for _, s := range r.stores {
			s.set(takes("put", 10*time.Millisecond))
		}
		var wg sync.WaitGroup
		for i := range 40 {
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				if _, err := r.Write(t.Context(), blocks(8, uint64(i)), blockstore.Note{}, placement.Wish{Copies: 1, Policy: placement.LeastStored}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i, s := range r.stores {
			if n := s.len(); n < 6 || n > 14 {
				t.Errorf("%d of 40 extents on peer %d of 4", n, i)
			}
		}
	})
}

func TestInFlightUntilReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(1, 1)
		inFlight := func() int64 { return r.Stats(r.ids[0]).InFlight }
		r.Reported(r.ids[0], 1000)
		if _, err := r.Write(t.Context(), blocks(2, 1), blockstore.Note{}, placement.Wish{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ report, want int64 }{{1000, 1024}, {1500, 1024}, {1500, 1024}, {2024, 0}} {
			if r.Reported(r.ids[0], c.report); inFlight() != c.want {
				t.Errorf("report %d: %d in flight, want %d", c.report, inFlight(), c.want)
			}
		}
		if _, err := r.Write(t.Context(), blocks(2, 2), blockstore.Note{}, placement.Wish{}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			time.Sleep(reportMax + 1)
			inFlight()
		}
		if inFlight() != 0 {
			t.Error("in flight for ever, without a report")
		}
	})
}

// TestWriteProperties: with peers that fail at random, a write that succeeds is whole on every peer it lists, on
// distinct ones, as many as wanted unless degraded; one that fails leaves nothing that is not to be forgotten.
func TestWriteProperties(t *testing.T) {
	for seed := range uint64(200) {
		r := newRig(1+int(seed%5), seed)
		rng := rand.New(rand.NewPCG(seed, 9))
		var mu sync.Mutex
		for _, s := range r.stores {
			rate := rng.Float64()
			kind := []fault.Kind{fault.Unreachable, fault.Timeout, fault.NoSpace}[rng.IntN(3)]
			s.before = func(_ context.Context, op string) error {
				mu.Lock()
				defer mu.Unlock()
				if op == "put" && rng.Float64() < rate {
					return fault.New(op, kind, "on purpose")
				}
				return nil
			}
		}
		w := placement.Wish{Copies: uint8(1 + seed%3), UnitBlocks: uint32(1 + seed%4)}
		data := blocks(1+int(seed%7), seed)
		pieces, err := r.Write(t.Context(), data, blockstore.Note{}, w)
		forgetting := map[cluster.PeerID][]blockstore.ID{}
		for _, f := range r.forget {
			forgetting[f.peer] = append(forgetting[f.peer], f.Span.Extent)
		}
		listed := map[cluster.PeerID][]blockstore.ID{}
		off := int64(0)
		for _, x := range pieces {
			n := len(x.Layout.Peers)
			if x.Off != off || n == 0 || n > int(w.Copies) || x.Degraded != (n < int(w.Copies)) {
				t.Fatalf("seed %d: %+v", seed, x)
			}
			for _, peer := range x.Layout.Peers {
				if slices.Contains(listed[peer], x.Span.Extent) {
					t.Fatalf("seed %d: one peer twice", seed)
				}
				listed[peer] = append(listed[peer], x.Span.Extent)
				if !bytes.Equal(r.at(peer).extents[x.Span.Extent], data[off:off+x.Span.Bytes()]) {
					t.Fatalf("seed %d: other bytes on %s", seed, peer.Short())
				}
			}
			off += x.Span.Bytes()
		}
		if err == nil && off != int64(len(data)) || err != nil && pieces != nil {
			t.Fatalf("seed %d: %d of %d bytes, %v", seed, off, len(data), err)
		}
		for i, s := range r.stores {
			for id := range s.extents {
				if slices.Contains(listed[r.ids[i]], id) == slices.Contains(forgetting[r.ids[i]], id) {
					t.Fatalf("seed %d: extent must be either listed or forgotten", seed)
				}
			}
			if g := r.gauges[r.ids[i]]; g != nil && g.sending != 0 {
				t.Fatalf("seed %d: %d bytes still in flight", seed, g.sending)
			}
		}
	}
}

func TestIDsSortByTimeAndDiffer(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	r := newRig(1, 1, func(o *Options) { o.Now = func() time.Time { return now } })
	var last blockstore.ID
	for range 100 {
		id, err := r.newID()
		if err != nil || bytes.Compare(id[:], last[:]) <= 0 {
			t.Fatal(id, last, err)
		}
		last = id
		now = now.Add(time.Millisecond)
	}
	a, _ := r.newID()
	b, _ := r.newID()
	if a == b || !bytes.Equal(a[:6], b[:6]) {
		t.Error(a, b)
	}
}
