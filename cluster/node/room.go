package node

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// What a full disk still allows, by the bytes it has left. Each line is far enough from the next for what comes in
// between: deletes, and what the log and the state write behind everybody's back.
const (
	diskReserve  = 256 << 20 // no extents below it
	growReserve  = 160 << 20 // no new names, where that is true of so many voters that the drive depends on it
	startReserve = 128 << 20 // a peer that has stopped starts again
	stateReserve = 96 << 20  // the replica of log and state stops: badger's maps of files must never meet a full disk
)

// left returns the bytes that the disk of one of the data directory's parts has left.
func (n *Node) left(part string) (int64, error) {
	if free, err := freeSpace(n.dir(part)); err == nil {
		return free, nil
	}
	return freeSpace(n.cfg.Data)
}

// hasRoom refuses to start on a disk that is so full that the peer would stop at once.
func (n *Node) hasRoom() error {
	for _, part := range []string{"state", "log"} {
		free, err := n.left(part)
		if err != nil {
			return fault.Wrap("free space", err)
		}
		if free < startReserve {
			return fault.New("start", fault.NoSpace, "the disk of %s has %d MiB left, and log and state need %d MiB: make room",
				n.dir(part), free>>20, startReserve>>20)
		}
	}
	return nil
}

// roomOfState returns what the disks of log and state have left, the lesser of the two; 0 unknown.
func (n *Node) roomOfState() int64 {
	state, err := n.left("state")
	log, lerr := n.left("log")
	if err != nil || lerr != nil {
		return 0
	}
	return max(1, min(state, log))
}

// scarce reports whether this peer's log should be as short as it can.
func (n *Node) scarce() bool {
	free := n.roomOfState()
	return free > 0 && free < diskReserve
}

// cramped reports whether the disks of so many voters are nearly full that the rest could not go on without them.
func cramped(voters []cluster.PeerID, free func(cluster.PeerID) int64) bool {
	ample := 0
	for _, id := range voters {
		if f := free(id); f == 0 || f >= growReserve {
			ample++
		}
	}
	return len(voters) > 0 && ample < len(voters)/2+1
}

// grows refuses an op that needs room for ever, while the disks that every op needs are nearly full: what is left there is
// for deletes. Bytes are refused by the block stores, earlier.
func (s *store) grows(op meta.Op) error {
	if !s.cramped.Load() {
		return nil
	}
	switch op.(type) {
	case meta.Create, meta.Link, meta.SetXattr, meta.Clone:
		return fault.New("meta", fault.NoSpace, "the disks of log and state are nearly full: delete something")
	}
	return nil
}

// trouble says in words what is wrong with this peer; "" nothing.
func (n *Node) trouble() string {
	if err := n.blocks.Failed(); err != nil {
		return "its block store has stopped: " + cause(err)
	}
	if free := n.roomOfState(); free > 0 && free < growReserve {
		return fmt.Sprintf("its disk is nearly full: %d MiB left", free>>20)
	}
	return ""
}

// cause returns the words of the innermost error.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// diskFailed gives the error that ends a peer its kind: a disk that fails is ReadOnly, and nothing is gained by starting again.
func (n *Node) diskFailed(err error) error {
	for _, errno := range []error{syscall.EIO, syscall.EROFS, syscall.ENXIO} {
		if errors.Is(err, errno) && !errors.Is(err, fault.ReadOnly) {
			return &fault.Error{Op: "disk", Kind: fault.ReadOnly, Detail: "the disk of " + n.cfg.Data + " has failed", Err: err}
		}
	}
	return err
}

// unsynced is a store that has lost everything, as far as anybody may count on it.
type unsynced struct{ blockstore.Store }

// Get finds nothing.
func (unsynced) Get(_ context.Context, s blockstore.Span, _ []byte) error {
	return fault.New("get", fault.Corrupt, "%v was never synced", s)
}

// disown takes a block store that has stopped out of the layouts of what it had not synced, as far as others have it: the rest
// can still be read from it, and is lost with the machine. It reports whether nothing is left that it would have to sync.
func (n *Node) disown(ctx context.Context) bool {
	v := repair.Verifier{Self: n.id.ID(), View: n.store.newest, Store: unsynced{n.blocks}, Propose: n.store.Apply}
	others, alone, err := v.Run(ctx)
	if others > 0 || alone > 0 && !n.onlyHere.Swap(true) {
		n.log.Error("the block store has stopped; what it had not synced is left to other peers", "extents", others, "only here", alone)
	}
	return err == nil && alone == 0
}

// lookAtTheRest has everything read, once, that a block store which has stopped still holds: what its disk does not give back
// any more is made again elsewhere.
func (n *Node) lookAtTheRest() {
	if n.looked {
		return
	}
	n.looked = true
	if _, err := n.scrubHere(admin.ScrubStart); err != nil {
		n.log.Error("the stopped block store is not looked through", "err", err)
	}
}
