package node

import (
	"fmt"

	"dfs/blockstore/kv"
	"dfs/cluster"
	"dfs/cluster/state"
	"dfs/fs/meta"
	"dfs/sched/plane"
)

const (
	lockFiles = 1000   // files that the wait-for graph looks at
	lockEdges = 10_000 // of it
)

// fileLocks is the drive's part of the wait-for graph, from the same state as the rest: for each request that waits, the locks in
// its way. Processes are called as the sidecar calls those that hold semaphores, so that circles through both are seen.
func (p *planeEnd) fileLocks(r kv.Reader, at uint64) (locks []plane.Lock, err error) {
	v := meta.NewView(r, at) // closed with r
	inos, err := v.Locked(0, lockFiles)
	if err != nil || len(inos) == 0 {
		return nil, err
	}
	sessions, err := state.NewView(r).Sessions()
	if err != nil {
		return nil, err
	}
	peers := map[uint64]cluster.PeerID{}
	for _, s := range sessions {
		peers[s.ID] = s.Peer
	}
	process := func(session uint64, pid uint32) string {
		id := peers[session]
		name := id.Short()
		if m, ok := p.n.roster.member(id); ok {
			name = m.Name
		}
		return fmt.Sprintf("%s/%d", name, pid)
	}
	for _, ino := range inos {
		t, err := v.Locks(ino)
		if err != nil {
			return nil, err
		}
		for _, w := range t.Waits {
			waiter := process(w.Owner.Session, w.PID)
			for _, h := range t.Blockers(w.Lock) {
				if len(locks) >= lockEdges {
					return locks, nil
				}
				holder := process(h.Owner.Session, h.PID)
				over := fmt.Sprintf("lock of inode %d, %s before %s", ino, holder, waiter)
				locks = append(locks, plane.Lock{Process: holder, Resource: over}, plane.Lock{Process: waiter, Resource: over, Waits: true})
			}
		}
	}
	return locks, nil
}
