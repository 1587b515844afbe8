package vfs

import (
	"context"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Alone is the Coherence of a mount that shares its metadata with nobody and lets its kernel keep nothing: it reads
// the newest state and waits for no one.
type Alone struct{ Store meta.Store }

var _ Coherence = Alone{}

// Read runs fn on the newest state. valid is 0.
func (a Alone) Read(_ context.Context, _ coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	v, err := a.Store.At(0)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	return 0, fn(v)
}

// Hold does nothing.
func (Alone) Hold(bool, ...meta.Ino) func() { return func() {} }

// Clean is always true: there is nothing to wait for.
func (Alone) Clean(coherence.Object) bool { return true }
