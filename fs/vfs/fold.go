package vfs

import (
	"context"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Spelling returns how a directory spells name where case does not matter: as asked if it has that, else one that differs in case
// only. fault.NotExist (no such name, or directory), NotDir.
func (f *FS) Spelling(ctx context.Context, dir meta.Ino, name string) (real string, err error) {
	_, err = f.read(ctx, coherence.List(dir), func(v meta.View) (err error) {
		_, real, err = v.LookupFold(dir, name)
		return err
	})
	return real, err
}

// Writable returns why nothing can be changed now, nil if it can: for fronts whose systems tell nobody when a change fails.
func (f *FS) Writable() error { return f.o.CutOff() }
