package meta

import (
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/state"
)

// Part is the file system's metadata behind the log: a state.Part under state.TagMeta. Its changes are of type
// *Change.
type Part struct{}

var _ state.Part = Part{}

type txn = state.Tx

// Apply carries out one op.
func (Part) Apply(tx state.Tx, c state.Context, body []byte) ([]byte, any, error) {
	op, err := decodeOp(body)
	if err != nil {
		return nil, nil, err
	}
	if b, ok := op.(Batch); ok {
		return applyBatch(tx, c, b)
	}
	r, ch, err := applyOne(tx, c, op)
	if err != nil {
		return nil, nil, err
	}
	return appendResult(nil, r), ch.orNil(), nil
}

// applyOne carries out one op. After an error its writes are to be dropped.
func applyOne(tx state.Tx, c state.Context, op Op) (Result, *Change, error) {
	a := newApply(tx, c)
	r, err := a.carry(op)
	if err == nil {
		err = a.finish()
	}
	if err != nil {
		return Result{}, nil, err
	}
	r.Index = c.Index
	if a.subject != nil {
		r.Inode = a.subject.Inode
	}
	a.ch.Local = a.foreign == 0
	return r, &a.ch, nil
}

// Event follows the facts: grants and locks end with their session, and the members decide what is below its target.
func (Part) Event(tx state.Tx, c state.Context, e state.Event) (any, error) {
	a := newApply(tx, c)
	var err error
	switch e := e.(type) {
	case state.SessionEnded:
		if _, err = a.endGrant(EndGrant{Session: e.Session}); err == nil {
			_, err = a.endLocks(EndLocks{Session: e.Session})
		}
	case state.MembersChanged:
		err = a.membersChanged(e.Members)
	}
	if err == nil {
		err = a.finish()
	}
	if err != nil {
		return nil, err
	}
	return a.ch.orNil(), nil
}

// apply is one op being carried out. Inodes are loaded once and written once, at the end, so that an op that meets
// one in two roles changes one.
type apply struct {
	tx      txn
	c       state.Context
	ch      Change
	nodes   []*node
	subject *node // what the result tells of
	count   counting
	freed   map[cluster.PeerID][]blockstore.Span
	shares  map[blockstore.ID][]*share
	members []cluster.PeerID
	known   bool // members are loaded
	foreign int  // inodes met that the session has not to itself
}

// node is an inode in the hands of an op.
type node struct {
	Inode
	dirty bool
	gone  bool
}

func newApply(tx txn, c state.Context) *apply {
	return &apply{tx: tx, c: c, ch: Change{Index: c.Index, Session: c.Session}}
}

func (a *apply) carry(op Op) (Result, error) {
	switch op := op.(type) {
	case Format:
		return Result{}, a.format(op)
	case Create:
		return Result{}, a.create(op)
	case Link:
		return Result{}, a.link(op)
	case Unlink:
		return Result{}, a.unlink(op)
	case Rmdir:
		return Result{}, a.rmdir(op)
	case Rename:
		return Result{}, a.rename(op)
	case SetAttr:
		return Result{}, a.setAttr(op)
	case Commit:
		return Result{}, a.commit(op)
	case EndGrant:
		return a.endGrant(op)
	case Reap:
		return a.reap(op)
	case Trim:
		return a.trim(op)
	case Stable:
		return a.stable(op)
	case Replace:
		return Result{}, a.replace(op)
	case Confirm:
		return a.confirm(op)
	case Reserve:
		return a.reserve(op)
	case Punch:
		return a.punch(op)
	case Accessed:
		return Result{}, a.accessed(op)
	case SetXattr:
		return Result{}, a.setXattr(op)
	case RemoveXattr:
		return Result{}, a.removeXattr(op)
	case Lock:
		return a.lock(op)
	case Unlock:
		return a.unlock(op)
	case EndLocks:
		return a.endLocks(op)
	case Clone:
		return Result{}, a.clone(op)
	}
	return Result{}, fault.New("apply", fault.Invalid, "op %T", op)
}

// orNil returns the change as followers are told of it: nil if there is none.
func (c *Change) orNil() any {
	if len(c.Attrs)+len(c.Data)+len(c.Names)+len(c.Orphaned)+len(c.Gone)+len(c.Granted)+len(c.Ended)+len(c.Freed)+len(c.Added)+len(c.Locked) == 0 && !c.Members {
		return nil
	}
	return c
}

// finish writes what was gathered: inodes, counters, freed spans.
func (a *apply) finish() error {
	for _, n := range a.nodes {
		var err error
		switch {
		case n.gone:
			err = a.tx.Delete(inodeKey(n.Ino))
		case n.dirty:
			err = a.tx.Set(inodeKey(n.Ino), appendInode(nil, n.Inode))
		}
		if err != nil {
			return err
		}
	}
	if err := a.writeShares(); err != nil {
		return err
	}
	if err := a.count.write(a.tx); err != nil {
		return err
	}
	return a.writeFreed()
}

// node returns an inode, or nil if there is none.
func (a *apply) node(ino Ino) (*node, error) {
	for _, n := range a.nodes {
		if n.Ino == ino {
			if n.gone {
				return nil, nil
			}
			return n, nil
		}
	}
	in, ok, err := getInode(a.tx, ino)
	if err != nil || !ok {
		return nil, err
	}
	n := &node{Inode: in}
	a.nodes = append(a.nodes, n)
	if n.Grant == 0 || n.Grant != a.c.Session {
		a.foreign++
	}
	return n, nil
}

// file returns the inode that an op names by number. fault.Stale when it is gone.
func (a *apply) file(ino Ino) (*node, error) {
	n, err := a.node(ino)
	if err == nil && n == nil {
		err = fault.New("inode", fault.Stale, "%d is gone", ino)
	}
	return n, err
}

// dir returns a directory that may have entries. fault.NotExist, NotDir.
func (a *apply) dir(ino Ino) (*node, error) {
	n, err := a.node(ino)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, fault.New("directory", fault.NotExist, "inode %d", ino)
	case n.Type != Dir:
		return nil, fault.New("directory", fault.NotDir, "inode %d", ino)
	case n.Nlink == 0:
		return nil, fault.New("directory", fault.NotExist, "inode %d was removed", ino)
	}
	return n, nil
}

// touch marks attributes as changed by this op.
func (a *apply) touch(n *node) {
	n.dirty = true
	n.Changed = a.c.Index
	if !slices.Contains(a.ch.Attrs, n.Ino) {
		a.ch.Attrs = append(a.ch.Attrs, n.Ino)
	}
}

func (a *apply) counters() (*counters, error) {
	if !a.count.loaded {
		c, err := readCounters(a.tx)
		if err != nil {
			return nil, err
		}
		a.count.now, a.count.loaded = c, true
	}
	a.count.changed = true
	return &a.count.now, nil
}

func (a *apply) membership() ([]cluster.PeerID, error) {
	if !a.known {
		m, err := readMembers(a.tx)
		if err != nil {
			return nil, err
		}
		a.members, a.known = m, true
	}
	return a.members, nil
}
