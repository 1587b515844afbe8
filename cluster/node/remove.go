package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/fs/meta"
)

// A membership ends in one of two ways. A peer that is there is declared Lost first: its replicas no longer count, so
// that repair makes others, and it gives its vote away; the leader removes it when nothing depends on it any more
// (see parting), whoever asked for it and whether that one still lives. A peer that is dead is removed at once: what it
// held is copied from elsewhere then.

const idLeast = 4 // characters of an id; fewer might be meant as a name

// member finds a member by its name, its id or the beginning of one. fault.NotExist, fault.Invalid.
func (n *Node) member(op, who string) (cluster.Peer, error) {
	var found []cluster.Peer
	for _, p := range n.roster.view().Peers {
		if p.Name == who {
			return p, nil
		}
		if len(who) >= idLeast && strings.HasPrefix(p.ID.String(), who) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return cluster.Peer{}, fault.Advise(fault.New(op, fault.NotExist, "no member is called %q", who), "dfsctl peer list")
	}
	return cluster.Peer{}, fault.Advise(fault.New(op, fault.Invalid, "%q begins %d ids; say more of it", who, len(found)), "dfsctl peer list")
}

// partingOf returns what it would mean to do without id: reckoned with the other members, and with those of them
// that are there now.
func (n *Node) partingOf(id cluster.PeerID) (all, there meta.Parting, err error) {
	v, err := n.store.newest()
	if err != nil {
		return all, there, err
	}
	defer v.Close()
	members := n.roster.view()
	stay, present := others(&members, id)
	if all, err = v.Without([]cluster.PeerID{id}, stay); err == nil {
		there, err = v.Without([]cluster.PeerID{id}, present)
	}
	return all, there, err
}

// others returns the members whose replicas count, without id, and those of them that are there.
func others(v *cluster.View, id cluster.PeerID) (stay, there []cluster.PeerID) {
	for _, p := range v.Peers {
		if p.ID == id || p.State == cluster.Lost {
			continue
		}
		stay = append(stay, p.ID)
		if p.Available() {
			there = append(there, p.ID)
		}
	}
	return stay, there
}

const lossPaths = 10 // files named in a refusal

// RemovePeer implements admin.Node.
func (n *Node) RemovePeer(ctx context.Context, ask admin.RemoveAsk) (r admin.Removal, err error) {
	const op = "peer remove"
	if err := n.upToDate(ctx); err != nil {
		return r, err
	}
	p, err := n.member(op, ask.Peer)
	if err != nil {
		return r, err
	}
	r.ID, r.Name, r.State = p.ID.String(), p.Name, stateOf(p).String()
	all, there, err := n.partingOf(p.ID)
	if err != nil {
		return r, err
	}
	r.HeldExtents, r.HeldBytes = all.Held.Extents, int64(all.Held.Blocks)*blockBytes
	r.LostExtents, r.LostBytes = there.Only.Extents, int64(there.Only.Blocks)*blockBytes
	live := p.Seen != cluster.Dead
	if !live && there.Only.Extents > 0 {
		if r.Files, err = n.homeless(p.ID, lossPaths); err != nil {
			return r, err
		}
	}
	switch {
	case ask.Cancel:
		return r, n.keep(ctx, p)
	case p.ID == n.id.ID():
		return r, fault.Advise(fault.New(op, fault.Refused, "%s is this peer", p.Name), "dfsd leave --data %s", n.cfg.Data)
	case ask.DryRun:
		return r, nil
	case live && !ask.Yes:
		return r, fault.Advise(fault.New(op, fault.Refused, "%s is %s: it would lose its mount and its place in the cluster", p.Name, stateOf(p)),
			"dfsd leave, on %s; or dfsctl peer remove %s --yes", p.Name, p.Name)
	case live:
		err = n.part(ctx, p.ID)
	case there.Only.Extents > 0 && !ask.ForceLost:
		return r, n.refuseLoss(p, all, there, r)
	default:
		n.log.Warn("a member is removed", "peer", p.ID.Short(), "name", p.Name, "lost extents", there.Only.Extents)
		_, err = n.store.propose(ctx, state.RemoveMember{ID: p.ID})
		if errors.Is(err, fault.NotExist) { // somebody else did
			err = nil
		}
	}
	r.Removed = err == nil
	return r, err
}

// refuseLoss says what would be lost with p.
func (n *Node) refuseLoss(p cluster.Peer, all, there meta.Parting, r admin.Removal) error {
	where := "only there"
	if all.Only.Extents < there.Only.Extents {
		where = "only there or on peers that are away too"
	}
	files := strings.Join(r.Files, ", ")
	if len(r.Files) >= lossPaths {
		files += ", ..."
	}
	if files != "" {
		files = ": " + files
	}
	return fault.Advise(fault.New("peer remove", fault.Refused, "%s holds %d extents (%s) that are %s%s",
		p.Name, there.Only.Extents, admin.Bytes(int64(there.Only.Blocks)*blockBytes), where, files),
		"bring %s back; or give that up: dfsctl peer remove %s --force-lost", p.Name, p.Name)
}

// upToDate waits until this replica knows everything that had happened when it was called.
func (n *Node) upToDate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	index, err := n.group.ReadIndex(ctx)
	if err == nil {
		err = n.reach(ctx, index)
	}
	if err != nil {
		return fault.Advise(fault.New("members", fault.CutOff, "a majority of the voters cannot be reached, and only they change the members"),
			"dfsctl status")
	}
	return nil
}

// homeless returns the paths of up to limit files of which something would be lost with id.
func (n *Node) homeless(id cluster.PeerID, limit int) (paths []string, err error) {
	v, err := n.store.newest()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	members := n.roster.view()
	_, there := others(&members, id)
	var inos []meta.Ino
	for at, done := (meta.Place{}), false; !done && len(inos) < limit; {
		var more []meta.Ino
		if more, at, done, err = v.Homeless(there, at, 1<<16, limit-len(inos)); err != nil {
			return nil, err
		}
		for _, ino := range more {
			if !slices.Contains(inos, ino) {
				inos = append(inos, ino)
			}
		}
	}
	return pathsTo(v, inos)
}

const pathsLook = 1 << 18 // names looked at to find where files are; beyond, their numbers must do

// pathsTo returns where files are in the tree; one that is not found, or has no name any more, by its number.
func pathsTo(v meta.View, inos []meta.Ino) ([]string, error) {
	found := map[meta.Ino]string{}
	type dir struct {
		ino  meta.Ino
		path string
	}
	looked := 0
	for todo := []dir{{meta.Root, "/"}}; len(todo) > 0 && len(found) < len(inos) && looked < pathsLook; todo = todo[1:] {
		for after, more := meta.Cursor(0), true; more; {
			list, err := v.List(todo[0].ino, after, 1024)
			if err != nil {
				return nil, err
			}
			more = len(list) == 1024
			looked += len(list)
			for _, e := range list {
				after = e.Cursor
				switch {
				case e.Inode.Type == meta.Dir:
					todo = append(todo, dir{e.Inode.Ino, todo[0].path + e.Name + "/"})
				case slices.Contains(inos, e.Inode.Ino):
					found[e.Inode.Ino] = todo[0].path + e.Name
				}
			}
		}
	}
	paths := make([]string, len(inos))
	for i, ino := range inos {
		if paths[i] = found[ino]; paths[i] == "" {
			paths[i] = fmt.Sprintf("inode %d", ino)
		}
	}
	return paths, nil
}

// Leave implements admin.Node: what only this peer holds is copied elsewhere, then its membership ends.
func (n *Node) Leave(ctx context.Context) error {
	members := n.roster.view()
	if _, there := others(&members, n.id.ID()); len(there) == 0 {
		return fault.New("leave", fault.Refused, "no other member is there to keep the data; delete the data directory to give it up")
	}
	n.leaving.Store(true)
	err := n.part(ctx, n.id.ID())
	n.leaving.Store(err == nil)
	if err == nil {
		err = n.markLeft()
	}
	return err
}

// part declares a member Lost and returns when the leader has removed it. If ctx ends before that, the member stays one.
func (n *Node) part(ctx context.Context, id cluster.PeerID) error {
	if err := n.declare(ctx, id, cluster.Lost); err != nil {
		return err
	}
	tick := time.NewTicker(choreEvery)
	defer tick.Stop()
	for {
		m, ok, err := n.fact(id)
		switch {
		case err != nil:
			return err
		case !ok:
			return nil
		case id == n.id.ID() && len(n.refusers()) > 0:
			return nil // they were quicker to close the door than to say so
		case m.State != cluster.Lost:
			return fault.New("leave", fault.Conflict, "somebody else decided that %s stays", m.Name)
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		all, _, err := n.partingOf(id)
		if derr := n.declare(back, id, cluster.Alive); derr != nil {
			return errors.Join(err, derr)
		}
		if all.Less.Extents > 0 {
			return fault.New("leave", fault.Refused,
				"%d extents could not be copied to others in time; add a peer or space, then try again", all.Less.Extents)
		}
		return fault.New("leave", fault.Refused, "no other peer could take over its vote in time; try again when all are there")
	}
}

// keep takes back that a member is to go.
func (n *Node) keep(ctx context.Context, p cluster.Peer) error {
	if p.State != cluster.Lost {
		return fault.New("peer remove", fault.Invalid, "%s is not being removed", p.Name)
	}
	return n.declare(ctx, p.ID, cluster.Alive)
}

func (n *Node) declare(ctx context.Context, id cluster.PeerID, s cluster.State) error {
	_, err := n.store.propose(ctx, state.SetMember{ID: id, Mask: state.SetState, State: s})
	return err
}

// fact returns what the state here says of a member, if it is one.
func (n *Node) fact(id cluster.PeerID) (m cluster.Member, ok bool, err error) {
	err = n.store.facts(func(v state.View) (err error) {
		m, err = v.Member(id)
		return err
	})
	if errors.Is(err, fault.NotExist) {
		return m, false, nil
	}
	return m, err == nil, err
}

// parting removes the Lost members on whom nothing depends any more; on the leader.
func (n *Node) parting(ctx context.Context) error {
	st := n.group.Status()
	for _, p := range n.roster.view().Peers {
		if p.State != cluster.Lost || slices.Contains(st.Voters, p.ID) || st.Joint {
			continue
		}
		all, _, err := n.partingOf(p.ID)
		if err != nil {
			return err
		}
		if all.Less.Extents > 0 {
			continue
		}
		n.log.Info("a member leaves", "peer", p.ID.Short(), "name", p.Name)
		if _, err := n.store.propose(ctx, state.RemoveMember{ID: p.ID}); err != nil && !errors.Is(err, fault.NotExist) {
			return err
		}
	}
	return nil
}
