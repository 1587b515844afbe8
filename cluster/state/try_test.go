package state

import (
	"errors"
	"testing"

	"dfs/blockstore/kv/mem"
)

func TestTryKeepsWritesOnlyOfSuccess(t *testing.T) {
	txn := mem.New().Begin(1)
	defer txn.Close()
	tx := newOverlay(txn)
	failed := errors.New("failed")
	put := func(end func() error) func(Tx) error {
		return func(tx Tx) error {
			if err := tx.Set([]byte("k"), []byte("v")); err != nil {
				return err
			}
			return end()
		}
	}
	if err := Try(tx, put(func() error { return failed })); err != failed {
		t.Fatal(err)
	}
	var p *Panic
	if err := Try(tx, put(func() error { panic("bug") })); !errors.As(err, &p) || p.Value != "bug" || len(p.Stack) == 0 {
		t.Fatal(err)
	}
	if _, ok, _ := tx.Get([]byte("k")); ok || len(tx.writes) > 0 {
		t.Fatal("what failed is kept")
	}
	if err := Try(tx, put(func() error { return nil })); err != nil {
		t.Fatal(err)
	}
	if v, ok, _ := tx.Get([]byte("k")); !ok || string(v) != "v" {
		t.Fatal("what succeeded is lost")
	}
}
