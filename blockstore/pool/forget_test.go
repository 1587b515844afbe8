package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// A write fails at one peer and is committed on another. Repair then puts the same extent at that very peer. What the write
// may have left there is not deleted any more, for it is a replica now; once no map names the extent it is.
func TestAStrayThatBecameAReplicaIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		named, asked, fail := true, 0, error(nil)
		r := newRig(2, 1, func(o *Options) {
			o.Tries = 1
			o.Named = func(_ context.Context, strays []Stray) ([]bool, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				if len(strays) != 1 || strays[0].Note.Ino != 7 {
					t.Errorf("asked about %+v", strays)
				}
				return slices.Repeat([]bool{named}, len(strays)), fail
			}
		})
		down := true
		r.stores[1].set(func(_ context.Context, op string) error {
			if down {
				return fault.New(op, fault.Unreachable, "for a moment")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { r.Run(ctx) })
		note := blockstore.Note{Ino: 7}
		x, err := r.Write(ctx, blocks(8, 1), note, placement.Wish{Copies: 2})
		if err != nil || !x[0].Degraded || !slices.Equal(x[0].Layout.Peers, r.ids[:1]) {
			t.Fatal(x, err)
		}
		down = false
		if err := r.Copy(ctx, x[0].Span, note, x[0].Layout, r.ids[1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		mu.Lock()
		if r.stores[1].len() != 1 {
			t.Fatal("repair's replica was deleted")
		}
		if asked < 3 || asked > 10 {
			t.Errorf("asked %d times", asked)
		}
		named, fail = false, errors.New("nobody knows")
		mu.Unlock()
		time.Sleep(time.Minute)
		if r.stores[1].len() != 1 {
			t.Error("deleted although nobody knows")
		}
		mu.Lock()
		fail = nil
		mu.Unlock()
		time.Sleep(time.Hour)
		if r.stores[1].len() != 0 || r.Forgetting() != 0 {
			t.Error("what nothing names is still there")
		}
		cancel()
		run.Wait()
	})
}
