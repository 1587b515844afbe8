package repair

import (
	"context"
	"slices"

	"dfs/cluster"
	"dfs/fs/meta"
)

// Word is what one peer last said of itself to the leader of this term.
type Word struct {
	Peer    cluster.PeerID
	Session uint64
	Taken   uint64 // its kernel has taken in all changes up to here
	Synced  uint64 // its store has synced what it was given for commits up to here
	Dropped uint64 // its store has dropped what was freed up to here
	Held    []meta.Ino
}

// Settle proposes that commits are stable, as far as the peers have synced them, and forgets what they dropped. Peers
// in absent are not waited for.
func (k *Keeper) Settle(ctx context.Context, words []Word, absent []cluster.PeerID) error {
	v, err := k.o.View()
	if err != nil {
		return err
	}
	defer v.Close()
	op := meta.Stable{Absent: absent}
	for _, w := range words {
		op.Marks = append(op.Marks, meta.Mark{Peer: w.Peer, Index: w.Synced})
	}
	// An op that settles nothing would be a log entry, after which every peer has something to sync again.
	if ripe, err := v.Settles(op); err != nil {
		return err
	} else if ripe {
		if err := k.repeat(ctx, op); err != nil {
			return err
		}
	}
	for _, w := range words {
		freed, err := v.FreedFor(w.Peer, 0, 1)
		if err != nil {
			return err
		}
		if len(freed) > 0 && freed[0].Index <= w.Dropped {
			if err := k.repeat(ctx, meta.Confirm{Peer: w.Peer, Index: w.Dropped}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Bury reaps the orphans that no mount holds, and trims what truncations left. Sessions are those of all peers that
// may have files open. An orphan seen in one pass is reaped in a later one, when every session's word is newer than
// the state it was seen in and none holds it.
func (k *Keeper) Bury(ctx context.Context, words []Word, sessions []uint64) error {
	v, err := k.o.View()
	if err != nil {
		return err
	}
	defer v.Close()
	if held, all := holders(words, sessions, k.orphansAt); all && len(k.orphans) > 0 {
		free := slices.DeleteFunc(k.orphans, func(ino meta.Ino) bool { return held[ino] })
		k.orphans = nil
		if len(free) > 0 {
			if err := k.repeat(ctx, meta.Reap{Inos: free}); err != nil {
				return err
			}
		}
	}
	if len(k.orphans) == 0 {
		if k.orphans, err = k.nextOrphans(v); err != nil {
			return err
		}
		k.orphansAt = v.Index()
	}
	pending, err := v.TrimPending(0, listMax)
	for _, ino := range pending {
		if err == nil {
			err = k.repeat(ctx, meta.Trim{Ino: ino})
		}
	}
	return err
}

const listMax = 512 // inodes dealt with in one pass

// nextOrphans returns the next orphans to look at, beginning again after the last, so that held ones do not stand
// in front of the others.
func (k *Keeper) nextOrphans(v *meta.Image) ([]meta.Ino, error) {
	list, err := v.Orphans(k.lastOrphan, listMax)
	if err != nil || len(list) == 0 {
		k.lastOrphan = 0
		return nil, err
	}
	k.lastOrphan = list[len(list)-1]
	return list, nil
}

// holders returns what the sessions hold, and whether all of them have said so after index.
func holders(words []Word, sessions []uint64, index uint64) (held map[meta.Ino]bool, all bool) {
	held = map[meta.Ino]bool{}
	for _, s := range sessions {
		i := slices.IndexFunc(words, func(w Word) bool { return w.Session == s })
		if i < 0 || words[i].Taken < index {
			return nil, false
		}
		for _, ino := range words[i].Held {
			held[ino] = true
		}
	}
	return held, true
}

// EndGrants ends the grants of sessions whose mounts are gone: nobody else need wait for them.
func (k *Keeper) EndGrants(ctx context.Context, sessions []uint64) error {
	v, err := k.o.View()
	if err != nil {
		return err
	}
	defer v.Close()
	for _, s := range sessions {
		granted, err := v.GrantsOf(s, 0, 1)
		if err != nil {
			return err
		}
		if len(granted) > 0 {
			if err := k.repeat(ctx, meta.EndGrant{Session: s}); err != nil {
				return err
			}
		}
	}
	return nil
}

// EndLocks takes away the locks of sessions that have ended, as far as their end has not.
func (k *Keeper) EndLocks(ctx context.Context, sessions []uint64) error {
	for _, s := range sessions {
		if err := k.repeat(ctx, meta.EndLocks{Session: s}); err != nil {
			return err
		}
	}
	return nil
}

const roundsMax = 64 // of one op in one pass

// repeat proposes a bounded op until it has nothing left to do, or has had its share of this pass: the next one sees
// what is left.
func (k *Keeper) repeat(ctx context.Context, op meta.Op) error {
	for range roundsMax {
		r, err := k.o.Propose(ctx, op)
		if err != nil || !r.More {
			return err
		}
	}
	return nil
}
