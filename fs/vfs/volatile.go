package vfs

import (
	"context"
	"sync"
	"time"

	"dfs/cluster"
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
	peers map[meta.Ino]volatileOn
	all   volatileOn // of files that did not fit
}

type volatileOn struct {
	peers []cluster.PeerID
	until time.Time
}

func (r *recent) note(ino meta.Ino, peers []cluster.PeerID, now time.Time) {
	if len(peers) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := volatileOn{peers, now.Add(recentLife)}
	if old := r.peers[ino]; old.until.After(now) {
		v.peers = union(old.peers, peers)
	}
	if len(r.peers) >= recentMax {
		r.sweepLocked(now)
	}
	if len(r.peers) < recentMax {
		r.peers[ino] = v
		return
	}
	r.all = volatileOn{union(r.all.peers, peers), v.until}
}

func (r *recent) sweepLocked(now time.Time) {
	for ino, v := range r.peers {
		if !v.until.After(now) {
			delete(r.peers, ino)
		}
	}
}

// of returns the peers that may hold bytes of ino in memory only.
func (r *recent) of(ino meta.Ino, now time.Time) (peers []cluster.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.peers[ino]; v.until.After(now) {
		peers = v.peers
	}
	if r.all.until.After(now) {
		peers = union(peers, r.all.peers)
	}
	return peers
}

func union(a, b []cluster.PeerID) []cluster.PeerID {
	out := append([]cluster.PeerID(nil), a...)
next:
	for _, p := range b {
		for _, q := range out {
			if p == q {
				continue next
			}
		}
		out = append(out, p)
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
	if peers := f.recent.of(ino, f.o.Now()); len(peers) > 0 {
		return f.blocks.Sync(ctx, peers)
	}
	return nil
}
