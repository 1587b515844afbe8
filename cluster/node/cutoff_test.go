package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"dfs/cluster/fault"
)

// Who waits in a change while the peer is cut off is let go with the reason, who comes later is refused at once, and once the cluster
// is back nothing is left of it.
func TestCutOffRefusesChangesWhileItLasts(t *testing.T) {
	var cut atomic.Bool
	c := newCutOff(cut.Load)
	ctx, end, err := c.within(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	why := fault.New("change", fault.CutOff, "nobody answers")
	c.look(why)
	if ctx.Err() != nil {
		t.Fatal("let go while the cluster was there")
	}
	cut.Store(true)
	c.look(why)
	<-ctx.Done()
	if err := because(ctx, ctx.Err()); !errors.Is(err, why) {
		t.Fatalf("let go with %v", err)
	}
	if _, _, err := c.within(context.Background()); !errors.Is(err, why) {
		t.Fatalf("a new change: %v", err)
	}
	cut.Store(false)
	later, end, err := c.within(context.Background())
	if err != nil || later.Err() != nil {
		t.Fatalf("the cluster is back: %v, %v", err, later.Err())
	}
	end()
	if err := because(later, fault.Timeout); !errors.Is(err, fault.Timeout) {
		t.Fatalf("another failure became %v", err)
	}
}
