package pool

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// hush makes peer 1 hang in op, and silent some time after the first look.
func hush(r *rig, op string, after time.Duration) {
	r.stores[1].set(hangs(op))
	go func() {
		time.Sleep(after)
		r.silent.Store(true)
	}()
}

func TestAWriteDoesNotWaitForWhoFallsSilent(t *testing.T) {
	for _, c := range []struct {
		peers, copies int
		want          []int
		degraded      bool
	}{
		{3, 2, []int{0, 2}, false},
		{2, 2, []int{0}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(c.peers, 1)
			for i := 2; i < c.peers; i++ {
				r.peers[i].Stored = 1 << 29 // peer 1 is the better choice
			}
			hush(r, "put", 300*time.Millisecond)
			start := time.Now()
			x, err := r.Write(t.Context(), blocks(8, 1), blockstore.Note{}, placement.Wish{Copies: uint8(c.copies), Policy: placement.LeastStored})
			if err != nil || x[0].Degraded != c.degraded || len(x[0].Layout.Peers) != len(c.want) {
				t.Fatal(x, err)
			}
			for _, i := range c.want {
				if !slices.Contains(x[0].Layout.Peers, r.ids[i]) {
					t.Errorf("%v lacks peer %d", x[0].Layout, i)
				}
			}
			if d := time.Since(start); d > 300*time.Millisecond+2*silentPoll {
				t.Errorf("waited %v", d)
			}
			// The next one does not even begin with it.
			start = time.Now()
			if _, err := r.Write(t.Context(), blocks(8, 2), blockstore.Note{}, placement.Wish{Copies: uint8(c.copies)}); err != nil || time.Since(start) > 0 {
				t.Error(err, time.Since(start))
			}
		})
	}
}

// The only peer that could have the bytes is waited for all the same: it may wake.
func TestTheLastHopeIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, 1)
		r.stores[0].set(fails("put", fault.NoSpace))
		r.stores[1].set(takes("put", 700*time.Millisecond))
		r.silent.Store(true)
		x, err := r.Write(t.Context(), blocks(8, 1), blockstore.Note{}, placement.Wish{Copies: 1})
		if err != nil || len(x[0].Layout.Peers) != 1 {
			t.Fatal(x, err)
		}
	})
}

func TestASyncDoesNotWaitForWhoFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(2, 1)
		hush(r, "sync", 300*time.Millisecond)
		start := time.Now()
		failed, err := r.SyncLayouts(t.Context(), []placement.Layout{{Data: 1, Peers: r.ids}})
		if err != nil || !slices.Equal(failed, []cluster.PeerID{r.ids[1]}) || time.Since(start) > 300*time.Millisecond+2*silentPoll {
			t.Fatal(failed, err, time.Since(start))
		}
		if err := r.Sync(t.Context(), r.ids[1:]); fault.KindOf(err) != fault.Timeout {
			t.Fatal(err)
		}
	})
}

func TestTheSilentAreAskedLast(t *testing.T) {
	r := newRig(3, 1)
	r.silent.Store(true)
	if got := r.order([]cluster.PeerID{r.ids[1], r.ids[2]}); got[0] != r.ids[2] {
		t.Error(got)
	}
}
