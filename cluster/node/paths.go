package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

// linksMax is how many symlinks one path may lead through.
const linksMax = 40

// askAgain is between looks at what another mount is asked for.
const askAgain = 10 * time.Millisecond

// walk finds what a path of the drive leads to. It stops at an inode that is one mount's alone, unless through says that it may
// be passed.
func walk(v meta.View, path string, through func(meta.Inode) bool) (meta.Inode, error) {
	at, err := v.Stat(meta.Root)
	if err != nil {
		return at, err
	}
	trail := []meta.Inode{at}
	rest := strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(trail) > 1 {
				trail = trail[:len(trail)-1]
			}
			continue
		}
		next, err := v.Lookup(trail[len(trail)-1].Ino, name)
		if err != nil {
			return next, notThere(path, name, err)
		}
		if next.Grant != 0 && !through(next) {
			return next, nil
		}
		if next.Type != meta.Symlink || len(rest) == 0 {
			trail = append(trail, next)
			continue
		}
		if links++; links > linksMax || strings.HasPrefix(next.Target, "/") {
			return next, fault.New(path, fault.Loop, "the symlink %s leads out of the drive, or round and round", name)
		}
		rest = append(strings.Split(next.Target, "/"), rest...)
	}
	return trail[len(trail)-1], nil
}

// notThere is the error of a path whose element name is not there.
func notThere(path, name string, err error) error {
	if errors.Is(err, fault.NotExist) {
		if strings.HasSuffix(path, name) {
			return fault.New("path", fault.NotExist, "%q", path)
		}
		return fault.New("path", fault.NotExist, "%q: there is no %q", path, name)
	}
	return fault.Wrap(path, err)
}

// at runs fn on the newest state and what path means in it. What a mount on the way has to itself is asked for first.
func (n *Node) at(ctx context.Context, path string, fn func(*meta.Image, meta.Inode) error) error {
	for {
		if n.alone != nil {
			if err := n.alone.Settle(ctx); err != nil {
				return err
			}
		}
		v, err := n.store.newest()
		if err != nil {
			return err
		}
		ino, err := walk(v, path, n.ours)
		if err == nil && (ino.Grant == 0 || n.ours(ino)) {
			err = fn(v, ino)
			v.Close()
			return err
		}
		v.Close()
		if err == nil {
			err = n.ask(ctx, ino)
		}
		if err != nil {
			return err
		}
	}
}

// ours reports whether an inode is this daemon's mount's alone, with nothing but its bytes to wait for.
func (n *Node) ours(i meta.Inode) bool { return n.fs != nil && i.Grant == n.session.id.Load() }

// ask makes the mount that has an inode to itself give it up. When it returns nil it is worth looking again.
func (n *Node) ask(ctx context.Context, i meta.Inode) error {
	_ = n.recall(ctx, i.Grant, i.Ino) // a dead mount's grants end with its lease
	select {
	case <-time.After(askAgain):
		return nil
	case <-ctx.Done():
		return fault.Because("look at inode", fault.Timeout, ctx.Err())
	}
}

// Stat implements admin.Node.
func (n *Node) Stat(ctx context.Context, path string) (s admin.FileStat, err error) {
	err = n.at(ctx, path, func(v *meta.Image, i meta.Inode) error {
		extents, err := v.CountOf(i.Ino)
		if err != nil {
			return err
		}
		s = admin.FileStat{
			Extents: extents,
			Path:    path, Ino: uint64(i.Ino), Type: typeText[i.Type], Mode: fmt.Sprintf("%04o", i.Mode),
			UID: i.UID, GID: i.GID, Nlink: i.Nlink, Size: i.Size, Blocks: i.Blocks,
			Mtime: time.Unix(0, int64(i.Mtime)).UTC(), Ctime: time.Unix(0, int64(i.Ctime)).UTC(),
			Changed: i.Changed, Written: i.Written, Layout: n.layoutOf(i.Wish),
		}
		return nil
	})
	return s, err
}

var typeText = map[meta.Type]string{
	meta.File: "file", meta.Dir: "directory", meta.Symlink: "symlink", meta.Fifo: "fifo",
	meta.Socket: "socket", meta.CharDev: "character device", meta.BlockDev: "block device",
}

// layoutOf is a wish as it is meant at the present number of members.
func (n *Node) layoutOf(w placement.Wish) admin.Layout {
	return admin.Layout{
		Note:       n.unfulfilled(w),
		Copies:     placement.Target(w, len(n.roster.ids())),
		UnitBlocks: int(w.Unit()),
		Policy:     string(w.PolicyName()),
		Zones:      int(w.Zones),
		Data:       max(int(w.Data), 1),
		Parity:     int(w.Parity),
		Text:       w.String(),
	}
}

// unfulfilled says what of a wish the members of now cannot give, "" if nothing. It is accepted all the same: they may
// become more.
func (n *Node) unfulfilled(w placement.Wish) string {
	members := n.roster.view()
	all, _ := standing(&members, nil)
	var notes []string
	if want := int(w.Copies); want > all {
		notes = append(notes, fmt.Sprintf("%s can hold %d of %d copies: what is written stays degraded until more join", peerCount(all), all, want))
	}
	zones := map[string]bool{}
	for _, p := range members.Peers {
		if p.State != cluster.Lost {
			zones[p.Zone] = true
		}
	}
	if want := int(w.Zones); want > len(zones) {
		notes = append(notes, fmt.Sprintf("the peers lie in %d of %d zones: copies share zones until others join", len(zones), want))
	}
	return strings.Join(notes, "; ")
}

func peerCount(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}

// Layout implements admin.Node.
func (n *Node) Layout(ctx context.Context, path string) (l admin.Layout, err error) {
	err = n.at(ctx, path, func(_ *meta.Image, i meta.Inode) error {
		l = n.layoutOf(i.Wish)
		return nil
	})
	return l, err
}

// SetLayout implements admin.Node. A directory's layout is inherited by what is made in it from now on.
func (n *Node) SetLayout(ctx context.Context, path, text string) (admin.Layout, error) {
	var set meta.SetAttr
	err := n.at(ctx, path, func(_ *meta.Image, i meta.Inode) (err error) {
		if i.Type != meta.Dir {
			return fault.New(path, fault.NotDir, "a layout is a directory's, for the files that are made in it from then on")
		}
		set = meta.SetAttr{Ino: i.Ino, Mask: meta.SetWish, Time: meta.Time(time.Now().UnixNano())}
		set.Wish, err = i.Wish.With(text)
		return err
	})
	if err != nil {
		return admin.Layout{}, err
	}
	if set.Wish.Data > 1 || set.Wish.Parity > 0 {
		return admin.Layout{}, fault.New("layout", fault.Unsupported, "erasure coding is not there yet; say copies=N")
	}
	if n.alone == nil {
		r, err := n.store.Apply(ctx, set)
		return n.layoutOf(r.Inode.Wish), err
	}
	if err := n.alone.GiveUp(ctx, set.Ino); err != nil { // with commit=close it is nobody's alone
		return admin.Layout{}, err
	}
	r, err := n.alone.Apply(ctx, set)
	return n.layoutOf(r.Inode.Wish), err
}

// Where implements admin.Node: it has every peer read its replicas of every extent.
func (n *Node) Where(ctx context.Context, path string) (admin.Where, error) {
	return admin.AllOf(func(from int64) (admin.Where, error) { return n.WhereFrom(ctx, path, from) })
}

// Bounds of one page of Where.
const (
	wherePage  = 16 << 10               // extents
	whereAsked = 16                     // replicas read at once
	whereTries = 5                      // to have one read
	whereAgain = 200 * time.Millisecond // between them: a link that broke is being made again
)

// WhereFrom implements admin.Pager.
func (n *Node) WhereFrom(ctx context.Context, path string, from int64) (w admin.Where, err error) {
	err = n.at(ctx, path, func(v *meta.Image, i meta.Inode) error {
		if i.Type == meta.Dir {
			return fault.New(path, fault.IsDir, "say which file in it")
		}
		w = admin.Where{Path: path, Ino: uint64(i.Ino), Size: i.Size, Layout: n.layoutOf(i.Wish), Extents: []admin.Extent{}}
		m, err := v.ExtentsFrom(i.Ino, from, wherePage+1)
		if err != nil {
			return err
		}
		if len(m) > wherePage {
			w.Next = m[wherePage].Off
			m = m[:wherePage]
		}
		var asked errgroup.Group
		asked.SetLimit(whereAsked)
		var silent sync.Map // peers that did not answer, however often they were asked
		for _, e := range m {
			x := admin.Extent{Offset: e.Off, Blocks: int(e.Span.Count), ID: e.Span.Extent.String(), Replicas: make([]admin.Replica, len(e.Layout.Peers))}
			for k, p := range e.Layout.Peers {
				asked.Go(func() error {
					x.Replicas[k] = admin.Replica{Peer: p.String(), State: n.replicaState(ctx, p, e.Span, &silent)}
					return ctx.Err()
				})
			}
			w.Extents = append(w.Extents, x)
		}
		return asked.Wait()
	})
	return w, err
}

// replicaState asks a store to look at the blocks themselves, again where a peer that is alive was too busy to answer. One that does not answer has
// nothing to show.
func (n *Node) replicaState(ctx context.Context, p cluster.PeerID, span blockstore.Span, silent *sync.Map) string {
	has, err := n.holds(ctx, p, examine{Extent: span.Extent})
	for again := 1; err != nil && again < whereTries && ctx.Err() == nil; again++ {
		if _, is := silent.Load(p); is || !n.hears(p) {
			break
		}
		pause(ctx, whereAgain)
		has, err = n.holds(ctx, p, examine{Extent: span.Extent})
	}
	if err != nil {
		silent.Store(p, true)
		return "missing"
	}
	want := runs.Of(span.First, span.Count)
	switch {
	case len(want.And(has.Bad)) > 0:
		return "rotten"
	case len(want.Minus(has.Live)) > 0:
		return "missing"
	}
	return "ok"
}

// hears reports whether a peer may be alive, as far as this one knows.
func (n *Node) hears(id cluster.PeerID) bool {
	v := n.roster.view()
	p := v.Find(id)
	return p != nil && (p.Seen == cluster.Alive || p.Seen == cluster.Suspect)
}

// pause lets time pass, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// goneIsFine forgives that a name went while it was being looked at.
func goneIsFine(err error) error {
	if fault.KindOf(err) == fault.NotExist {
		return nil
	}
	return err
}

// Durable implements admin.Node.
func (n *Node) Durable(ctx context.Context, path string) (ok bool, err error) {
	err = n.at(ctx, path, func(v *meta.Image, i meta.Inode) error {
		ok, err = n.durable(ctx, v, i)
		return err
	})
	return ok, err
}

func (n *Node) durable(ctx context.Context, v *meta.Image, i meta.Inode) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fault.Because("durable", fault.Timeout, err)
	}
	if i.Grant != 0 && !n.ours(i) {
		return false, n.ask(ctx, i)
	}
	if i.Type == meta.Dir {
		for after := meta.Cursor(0); ; {
			list, err := v.List(i.Ino, after, 256)
			if err != nil || len(list) == 0 {
				return err == nil, err
			}
			for _, d := range list {
				if ok, err := n.durable(ctx, v, d.Inode); err != nil || !ok {
					return false, err
				}
			}
			after = list[len(list)-1].Cursor
		}
	}
	if n.fs != nil && n.fs.Unflushed(i.Ino) {
		return false, nil
	}
	volatile, err := v.Volatile(i.Ino)
	if err != nil || len(volatile) > 0 || i.Size == 0 {
		return err == nil && len(volatile) == 0, err
	}
	m, err := v.Extents(i.Ino, 0, i.Size)
	if err != nil {
		return false, err
	}
	members := n.roster.view()
	all, _ := standing(&members, nil)
	want := placement.Target(i.Wish, all)
	for _, e := range m {
		if _, have := standing(&members, e.Layout.Peers); have < want {
			return false, nil
		}
	}
	return true, nil
}

// standing returns how many members are not lost, and how many of those are among ids.
func standing(v *cluster.View, ids []cluster.PeerID) (all, among int) {
	for _, p := range v.Peers {
		if p.State == cluster.Lost {
			continue
		}
		all++
		if slices.Contains(ids, p.ID) {
			among++
		}
	}
	return all, among
}
