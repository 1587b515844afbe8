package vfs

import (
	"context"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Refs counts which inodes a kernel knows, or is about to. An inode is added before the state is read that tells the kernel of
// it: whoever changes that state afterwards then waits until the kernel can be made to forget it. An answer's inode
// comes with one reference added; all others have been dropped again.
type Refs interface {
	Add(ino meta.Ino)
	Drop(ino meta.Ino)
}

func add(r Refs, ino meta.Ino) {
	if r != nil && ino != 0 {
		r.Add(ino)
	}
}

func drop(r Refs, ino meta.Ino) {
	if r != nil && ino != 0 {
		r.Drop(ino)
	}
}

// Left turns the moment at which an answer ends to be valid into a duration. Ask for it last of all.
func (f *FS) Left(until time.Duration) time.Duration {
	if until == 0 {
		return 0
	}
	return max(0, until-f.o.Boot())
}

// atOnce is the context of a read that fails with fault.Timeout where it would have to wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// read is Coherence.Read with a validity that time does not stretch: the moment at which it ends, 0 for none.
func (f *FS) read(ctx context.Context, obj coherence.Object, fn func(meta.View) error) (until time.Duration, err error) {
	var begun time.Duration // no later than when the validity was measured
	valid, err := f.coh.Read(ctx, obj, func(v meta.View) error {
		begun = f.o.Boot()
		return fn(v)
	})
	if valid <= 0 {
		return 0, err
	}
	return begun + valid, err
}
