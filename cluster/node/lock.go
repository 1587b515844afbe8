package node

import (
	"context"
	"errors"
	"fmt"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/fs/lock"
	"dfs/fs/meta"
)

// Locks implements admin.Locking.
func (n *Node) Locks(ctx context.Context, path string) (doc admin.Locks, err error) {
	doc.Files = []admin.LockedFile{}
	if path == "" {
		return n.allLocks(doc)
	}
	err = n.at(ctx, path, func(v *meta.Image, i meta.Inode) error {
		if i.Type == meta.Dir {
			return fault.New(path, fault.IsDir, "say which file in it, or none for all")
		}
		f, err := n.locksOf(v, i.Ino)
		f.Path = path
		doc.Files = append(doc.Files, f)
		return err
	})
	return doc, err
}

func (n *Node) allLocks(doc admin.Locks) (admin.Locks, error) {
	v, err := n.store.newest()
	if err != nil {
		return doc, err
	}
	defer v.Close()
	inos, err := v.Locked(0, admin.LockedMax+1)
	if err != nil {
		return doc, err
	}
	if doc.More = len(inos) > admin.LockedMax; doc.More {
		inos = inos[:admin.LockedMax]
	}
	for _, ino := range inos {
		f, err := n.locksOf(v, ino)
		if err != nil {
			return doc, err
		}
		doc.Files = append(doc.Files, f)
	}
	return doc, nil
}

func (n *Node) locksOf(v *meta.Image, ino meta.Ino) (f admin.LockedFile, err error) {
	f = admin.LockedFile{Ino: uint64(ino), Held: []admin.Lock{}, Waiting: []admin.Lock{}}
	t, err := v.Locks(ino)
	if err != nil {
		return f, err
	}
	err = n.store.facts(func(facts state.View) error {
		for _, l := range t.Held {
			x, err := lockOf(facts, l)
			if err != nil {
				return err
			}
			f.Held = append(f.Held, x)
		}
		for _, w := range t.Waits {
			x, err := lockOf(facts, w.Lock)
			if err != nil {
				return err
			}
			f.Waiting = append(f.Waiting, x)
		}
		return nil
	})
	return f, err
}

// sessionText is a session's number for people.
func sessionText(id uint64) string { return fmt.Sprintf("%x", id) }

func lockOf(facts state.View, l lock.Lock) (admin.Lock, error) {
	x := admin.Lock{Kind: admin.LockRange, Mode: admin.LockShared, Offset: l.From, PID: l.PID, Session: sessionText(l.Owner.Session)}
	if l.Whole {
		x.Kind = admin.LockWhole
	}
	if l.Write {
		x.Mode = admin.LockExcl
	}
	if l.End != lock.EndOfAll {
		x.Length = l.End - l.From
	}
	s, err := facts.Session(l.Owner.Session)
	switch {
	case err == nil:
		x.Peer = s.Peer.String()
	case errors.Is(err, fault.NotExist):
		err = nil
	}
	return x, err
}
