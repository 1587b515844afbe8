package vfs

import (
	"context"
	"slices"
	"sync"
	"time"

	"dfs/cluster/placement"
	"dfs/fs/meta"
)

const (
	recentMax  = 4096            // files remembered; beyond it the oldest knowledge is dropped by syncing nothing less than all
	recentLife = 5 * time.Second // peers sync by themselves within a second
)

// recent remembers which files were committed lately without being synced, and where: rename over an existing
// file syncs them first.
type recent struct {
	mu    sync.Mutex
	files map[meta.Ino]volatileAt
	all   volatileAt // of files that did not fit
}

type volatileAt struct {
	layouts []placement.Layout
	until   time.Time
}

func (r *recent) note(ino meta.Ino, at []placement.Layout, now time.Time) {
	if len(at) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := volatileAt{at, now.Add(recentLife)}
	if old := r.files[ino]; old.until.After(now) {
		v.layouts = union(old.layouts, at)
	}
	if len(r.files) >= recentMax {
		r.sweepLocked(now)
	}
	if len(r.files) < recentMax {
		r.files[ino] = v
		return
	}
	r.all = volatileAt{union(r.all.layouts, at), v.until}
}

func (r *recent) sweepLocked(now time.Time) {
	for ino, v := range r.files {
		if !v.until.After(now) {
			delete(r.files, ino)
		}
	}
}

// of returns where bytes of ino may be in memory only.
func (r *recent) of(ino meta.Ino, now time.Time) (at []placement.Layout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.files[ino]; v.until.After(now) {
		at = v.layouts
	}
	if r.all.until.After(now) {
		at = union(at, r.all.layouts)
	}
	return at
}

func union(a, b []placement.Layout) []placement.Layout {
	out := slices.Clone(a)
	for _, l := range b {
		out = withLayout(out, l)
	}
	return out
}

// harden puts what this mount wrote to ino lately on disk.
func (f *FS) harden(ctx context.Context, ino meta.Ino) error {
	if n := f.known(ino); n != nil {
		defer f.unpin(n)
		n.mu.Lock()
		dirty := n.unflushedLocked()
		n.mu.Unlock()
		if dirty {
			if err := f.flush(ctx, n, how{sync: true}); err != nil {
				return err
			}
		}
	}
	if at := f.recent.of(ino, f.o.Now()); len(at) > 0 {
		_, err := f.blocks.Sync(ctx, at)
		return err
	}
	return nil
}
