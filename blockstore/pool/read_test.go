package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// kept puts one extent of 8 blocks on every store and returns it with a layout that lists those.
func kept(t *testing.T, r *rig, on ...int) (Piece, []byte) {
	t.Helper()
	data := blocks(8, 1)
	id, err := r.newID()
	if err != nil {
		t.Fatal(err)
	}
	x := Piece{Span: blockstore.Span{Extent: id, Count: 8}, Layout: placement.Layout{Data: 1}}
	for _, i := range on {
		if err := r.stores[i].Put(t.Context(), blockstore.Batch{ID: id, Data: data, Sums: blockstore.Sums(data)}); err != nil {
			t.Fatal(err)
		}
		x.Layout.Peers = append(x.Layout.Peers, r.ids[i])
	}
	return x, data
}

func TestReadPrefersTheLocalReplica(t *testing.T) {
	r := newRig(3, 1)
	x, data := kept(t, r, 2, 0, 1)
	if !bytes.Equal(r.whole(t, []Piece{x}), data) || r.stores[0].count("get") != 1 || r.stores[1].count("get")+r.stores[2].count("get") != 0 {
		t.Error("not read here")
	}
	part := make([]byte, 2*blockstore.Size)
	if err := r.Read(t.Context(), blockstore.Span{Extent: x.Span.Extent, First: 3, Count: 2}, x.Layout, part); err != nil || !bytes.Equal(part, data[3*512:5*512]) {
		t.Error("part of an extent:", err)
	}
}

func TestReadFailsOver(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Unreachable, fault.Corrupt, fault.NotExist, fault.Timeout} {
		r := newRig(3, 1)
		x, data := kept(t, r, 0, 1, 2)
		r.stores[0].set(fails("get", kind))
		r.stores[1].set(fails("get", kind))
		if !bytes.Equal(r.whole(t, []Piece{x}), data) {
			t.Error("other bytes")
		}
		want := 0
		if kind == fault.Corrupt || kind == fault.NotExist {
			want = 2
		}
		if len(r.bad) != want || want > 0 && r.bad[0] != fmt.Sprint("0 ", kind) {
			t.Errorf("%v: reported %v", kind, r.bad)
		}
	}
}

func TestReadVerdict(t *testing.T) {
	for _, c := range []struct{ a, b, want fault.Kind }{
		{fault.NotExist, fault.Corrupt, fault.Damaged},
		{fault.NotExist, fault.Unreachable, fault.Unreachable},
		{fault.Timeout, fault.Timeout, fault.Unreachable},
		{fault.Other, fault.NotExist, fault.Unreachable},
	} {
		r := newRig(3, 1)
		x, _ := kept(t, r, 1, 2)
		r.stores[1].set(fails("get", c.a))
		r.stores[2].set(fails("get", c.b))
		if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, 4096)); fault.KindOf(err) != c.want {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, err, c.want)
		}
	}
	r := newRig(1, 1)
	x, _ := kept(t, r)
	if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, 4096)); !errors.Is(err, fault.Damaged) {
		t.Error("no replica:", err)
	}
	x, _ = kept(t, r, 0)
	if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, 512)); !errors.Is(err, fault.Invalid) {
		t.Error("short buffer:", err)
	}
	x.Layout.Peers[0][0] = 99
	if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, 4096)); !errors.Is(err, fault.Unreachable) {
		t.Error("unknown peer:", err)
	}
}

// TestHedge: a replica that does not answer costs 50 ms, not its deadline, and is asked last from then on.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(3, 1)
		x, data := kept(t, r, 1, 2)
		r.stores[1].set(hangs("get"))
		start := time.Now()
		if !bytes.Equal(r.whole(t, []Piece{x}), data) {
			t.Error("other bytes")
		}
		if d := time.Since(start); d != hedgeMin {
			t.Errorf("took %v, want %v", d, hedgeMin)
		}
		start = time.Now()
		r.whole(t, []Piece{x})
		if time.Since(start) != 0 || r.stores[1].count("get") != 1 {
			t.Errorf("the slow one was asked first again")
		}
	})
}

// TestSlowIsNotDead: where the usual answer takes long, no second request is sent; and the first of two slow
// answers is taken.
func TestSlowIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(3, 1)
		x, data := kept(t, r, 1, 2)
		r.stores[1].set(takes("get", 40*time.Millisecond))
		r.stores[2].set(takes("get", 40*time.Millisecond))
		r.whole(t, []Piece{x})
		r.whole(t, []Piece{x})
		for _, s := range r.stores[1:] {
			s.set(takes("get", 100*time.Millisecond))
		}
		start := time.Now()
		if !bytes.Equal(r.whole(t, []Piece{x}), data) {
			t.Error("other bytes")
		}
		if d := time.Since(start); d != 100*time.Millisecond || r.stores[1].count("get")+r.stores[2].count("get") != 3 {
			t.Errorf("took %v with %d gets", d, r.stores[1].count("get")+r.stores[2].count("get"))
		}
	})
}

func TestAllHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(3, 1)
		x, _ := kept(t, r, 1, 2)
		r.stores[1].set(hangs("get"))
		r.stores[2].set(hangs("get"))
		start := time.Now()
		err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, 4096))
		if d := time.Since(start); !errors.Is(err, fault.Unreachable) || d > 1100*time.Millisecond {
			t.Error(d, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := r.Read(ctx, x.Span, x.Layout, make([]byte, 4096)); !errors.Is(err, fault.Timeout) {
			t.Error("the caller's deadline:", err)
		}
	})
}

func TestCopy(t *testing.T) {
	r := newRig(3, 1)
	x, data := kept(t, r, 1)
	note := blockstore.Note{Ino: 3}
	if err := r.Copy(t.Context(), x.Span, note, x.Layout, r.ids[2]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.stores[2].extents[x.Span.Extent], data) || r.stores[2].notes[x.Span.Extent] != note {
		t.Error("not the same extent")
	}
	if err := r.Copy(t.Context(), x.Span, note, x.Layout, r.ids[2]); err != nil {
		t.Error("a second time:", err)
	}
	r.stores[1].set(fails("get", fault.Corrupt))
	if err := r.Copy(t.Context(), x.Span, note, x.Layout, r.ids[0]); !errors.Is(err, fault.Damaged) || r.stores[0].len() != 0 {
		t.Error(err)
	}
	if err := r.Delete(t.Context(), r.ids[2], x.Span); err != nil || r.stores[2].len() != 0 {
		t.Error(err)
	}
}

// TestSyncIsShared: callers that arrive during a sync share the next one; none is served by one that began before
// its call.
func TestSyncIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, 1)
		var mu sync.Mutex
		var began []time.Time
		r.stores[1].set(func(context.Context, string) error {
			mu.Lock()
			began = append(began, time.Now())
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 4 * time.Millisecond)
				called := time.Now()
				if err := r.Sync(t.Context(), r.ids); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				served := slices.ContainsFunc(began, func(b time.Time) bool {
					return !b.Before(called) && !b.Add(100*time.Millisecond).After(time.Now())
				})
				if !served {
					t.Error("returned before a sync that began after the call ended")
				}
			})
		}
		wg.Wait()
		if len(began) != 2 {
			t.Errorf("%d syncs for 20 callers, want 2", len(began))
		}
	})
}

func TestSyncSurvivesACallerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(1, 1)
		r.stores[0].set(takes("sync", 100*time.Millisecond))
		var wg sync.WaitGroup
		wg.Go(func() { r.Sync(t.Context(), r.ids) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := r.Sync(short, r.ids); !errors.Is(err, fault.Timeout) {
			t.Error(err)
		}
		if err := r.Sync(t.Context(), r.ids); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := r.Sync(t.Context(), r.ids); err != nil || r.stores[0].count("sync") != 3 {
			t.Error(err, r.stores[0].count("sync"))
		}
	})
}

func TestSyncNamesWhoFailed(t *testing.T) {
	r := newRig(3, 1)
	r.stores[2].set(fails("sync", fault.ReadOnly))
	if err := r.Sync(t.Context(), r.ids); !errors.Is(err, fault.ReadOnly) {
		t.Error(err)
	}
	errs := r.SyncEach(t.Context(), r.ids)
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], fault.ReadOnly) {
		t.Error(errs)
	}
}

func TestSyncLayoutsNeedsOneReplicaOfEach(t *testing.T) {
	r := newRig(3, 1)
	on := func(peers ...int) (l placement.Layout) {
		for _, i := range peers {
			l.Peers = append(l.Peers, r.ids[i])
		}
		return l
	}
	r.stores[2].set(fails("sync", fault.Unreachable))
	for _, c := range []struct {
		layouts []placement.Layout
		failed  int
		ok      bool
	}{
		{nil, 0, true},
		{[]placement.Layout{on(0, 1)}, 0, true},
		{[]placement.Layout{on(0, 2), on(1, 2)}, 1, true},
		{[]placement.Layout{on(0, 1), on(2)}, 1, false},
		{[]placement.Layout{on()}, 0, false},
	} {
		failed, err := r.SyncLayouts(t.Context(), c.layouts)
		if len(failed) != c.failed || (err == nil) != c.ok || c.failed > 0 && err != nil && !errors.Is(err, fault.Unreachable) {
			t.Errorf("%v: failed %v, error %v", c.layouts, failed, err)
		}
	}
	if r.stores[0].count("sync") != 3 {
		t.Error("a peer asked more than once a call")
	}
}
