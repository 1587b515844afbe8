package meta

import (
	"dfs/cluster/fault"
)

// Modes that the machine itself looks at.
const (
	modeBits = 07777
	setuid   = 04000
	setgid   = 02000
	groupX   = 00010
)

func (a *apply) format(op Format) error {
	if n, err := a.node(Root); err != nil {
		return err
	} else if n != nil {
		return fault.New("format", fault.Exist, "the drive has a root")
	}
	n := &node{Inode: Inode{Ino: Root, Type: Dir, Mode: op.Mode & modeBits, UID: op.UID, GID: op.GID, Nlink: 2, Parent: Root, folded: true,
		Atime: op.Time, Mtime: op.Time, Ctime: op.Time, Btime: op.Time}}
	return a.born(n)
}

// born adds a new inode to the state.
func (a *apply) born(n *node) error {
	c, err := a.counters()
	if err != nil {
		return err
	}
	c.inodes++
	a.nodes = append(a.nodes, n)
	a.subject = n
	a.touch(n)
	return nil
}

func (a *apply) create(op Create) error {
	dir, err := a.dir(op.Dir)
	if err != nil {
		return err
	}
	nameless := op.Name == Nameless && op.Type == File
	var e dent
	if !nameless {
		if e, err = a.vacant(dir, op.Name); err != nil {
			return err
		}
	}
	if op.Type < File || op.Type > BlockDev {
		return fault.New("create", fault.Invalid, "type %d", op.Type)
	}
	if len(op.Target) > TargetMax {
		return fault.New("create", fault.NameTooLong, "a target of %d bytes", len(op.Target))
	}
	if (op.Type == Symlink) != (op.Target != "") {
		return fault.New("create", fault.Invalid, "a symlink has a target, and nothing else has")
	}
	c, err := a.counters()
	if err != nil {
		return err
	}
	ino := op.Ino
	if ino == 0 {
		ino = c.next
		c.next++
	} else if err := a.unborn(ino, c.next); err != nil {
		return err
	}
	n := &node{Inode: Inode{Ino: ino, Type: op.Type, Mode: op.Mode & modeBits &^ (op.Umask & 0o777), UID: op.UID, GID: op.GID, Nlink: 1, Rdev: op.Rdev,
		Size: int64(len(op.Target)), Target: op.Target, Atime: op.Time, Mtime: op.Time, Ctime: op.Time, Btime: op.Time, Wish: dir.Wish}}
	if n.Type != CharDev && n.Type != BlockDev {
		n.Rdev = 0
	}
	if dir.Mode&setgid != 0 {
		n.GID = dir.GID
		if n.Type == Dir {
			n.Mode |= setgid
		}
	}
	if n.Type == Dir {
		n.Nlink, n.Parent, n.folded = 2, dir.Ino, true
		dir.Nlink++
	}
	if err := a.inheritACL(dir, n, op.Mode); err != nil {
		return err
	}
	if op.Grant && a.c.Session != 0 && (n.Type != Dir || !n.Wish.CommitClose) {
		n.Grant = a.c.Session
		a.ch.Granted = append(a.ch.Granted, n.Ino)
		if err := a.tx.Set(grantKey(n.Grant, n.Ino), nil); err != nil {
			return err
		}
	}
	if nameless {
		n.Nlink, n.Parent = 0, dir.Ino
	}
	if err := a.born(n); err != nil {
		return err
	}
	if nameless {
		return a.orphan(n)
	}
	e.ino, e.typ = n.Ino, n.Type
	return a.enter(dir, e, op.Time)
}

// unborn returns fault.Invalid unless ino was reserved and no inode has it.
func (a *apply) unborn(ino, next Ino) error {
	if ino <= Root || ino >= next {
		return fault.New("create", fault.Invalid, "inode %d is not reserved", ino)
	}
	if _, there, err := getInode(a.tx, ino); err != nil || !there {
		return err
	}
	return fault.New("create", fault.Invalid, "inode %d is there", ino)
}

func (a *apply) reserve(op Reserve) (Result, error) {
	if op.Count == 0 || op.Count > ReserveMax {
		return Result{}, fault.New("reserve", fault.Invalid, "%d inodes", op.Count)
	}
	c, err := a.counters()
	if err != nil {
		return Result{}, err
	}
	first := c.next
	c.next += Ino(op.Count)
	return Result{Inode: Inode{Ino: first, Type: File}}, nil
}

func (a *apply) link(op Link) error {
	n, err := a.node(op.Ino)
	switch {
	case err != nil:
		return err
	case n == nil || n.Nlink == 0 && (n.Type == Dir || n.Parent == 0):
		return fault.New("link", fault.NotExist, "inode %d", op.Ino)
	case n.Type == Dir:
		return fault.New("link", fault.IsDir, "inode %d", op.Ino)
	}
	dir, err := a.dir(op.Dir)
	if err != nil {
		return err
	}
	e, err := a.vacant(dir, op.Name)
	if err != nil {
		return err
	}
	if n.Nlink >= LinkMax {
		return fault.New("link", fault.TooManyLinks, "%d", n.Nlink)
	}
	if n.Nlink == 0 {
		n.Parent = 0
		if err := a.tx.Delete(orphanKey(n.Ino)); err != nil {
			return err
		}
	}
	n.Nlink++
	n.Ctime = op.Time
	a.touch(n)
	a.subject = n
	e.ino, e.typ = n.Ino, n.Type
	return a.enter(dir, e, op.Time)
}

func (a *apply) unlink(op Unlink) error {
	dir, e, n, err := a.named(op.Dir, op.Name, op.Ino)
	if err != nil {
		return err
	}
	if n.Type == Dir {
		return fault.New("unlink", fault.IsDir, "%q", op.Name)
	}
	a.subject = n
	if err := a.leave(dir, e, op.Time); err != nil {
		return err
	}
	return a.unname(n, op.Time)
}

func (a *apply) rmdir(op Rmdir) error {
	dir, e, n, err := a.named(op.Dir, op.Name, op.Ino)
	if err != nil {
		return err
	}
	if err := a.emptyDir(n); err != nil {
		return err
	}
	a.subject = n
	dir.Nlink--
	if err := a.leave(dir, e, op.Time); err != nil {
		return err
	}
	return a.unname(n, op.Time)
}

// emptyDir returns fault.NotDir or NotEmpty for what rmdir and rename may not remove.
func (a *apply) emptyDir(n *node) error {
	if n.Type != Dir {
		return fault.New("directory", fault.NotDir, "inode %d", n.Ino)
	}
	if n.Size != 0 {
		return fault.New("directory", fault.NotEmpty, "inode %d has %d entries", n.Ino, n.Size)
	}
	return nil
}

// vacant returns the place for a new name. fault.Exist.
func (a *apply) vacant(dir *node, name string) (dent, error) {
	if err := checkName(name); err != nil {
		return dent{}, err
	}
	e, ok, err := findDent(a.tx, &dir.Inode, name)
	if err == nil && ok {
		err = fault.New("name", fault.Exist, "%q", name)
	}
	return e, err
}

// named returns a directory, an entry of it and the entry's inode, which must be want if that is not 0. fault.NotExist.
func (a *apply) named(dir Ino, name string, want Ino) (*node, dent, *node, error) {
	d, err := a.dir(dir)
	if err != nil {
		return nil, dent{}, nil, err
	}
	if err := checkName(name); err != nil {
		return nil, dent{}, nil, err
	}
	e, ok, err := findDent(a.tx, &d.Inode, name)
	if err != nil {
		return nil, dent{}, nil, err
	}
	if !ok || want != 0 && e.ino != want {
		return nil, dent{}, nil, fault.New("name", fault.NotExist, "%q", name)
	}
	n, err := a.node(e.ino)
	if err == nil && n == nil {
		err = fault.New("name", fault.NotExist, "%q: its inode %d is missing", name, e.ino)
	}
	return d, e, n, err
}

// enter adds an entry to dir.
func (a *apply) enter(dir *node, e dent, at Time) error {
	dir.Size++
	return a.setDent(dir, e, e.ino, at)
}

// setDent writes an entry. was is what its name meant before, or what it means now if it is new.
func (a *apply) setDent(dir *node, e dent, was Ino, at Time) error {
	a.stamp(dir, at)
	a.ch.Names = append(a.ch.Names, Name{Dir: dir.Ino, Name: e.name, Child: was})
	return a.tx.Set(dentKey(dir.Ino, e.at), e.encode())
}

// leave takes an entry out of dir, and with it the empty places before it that nothing needs any more.
func (a *apply) leave(dir *node, e dent, at Time) error {
	dir.Size--
	a.stamp(dir, at)
	a.ch.Names = append(a.ch.Names, Name{Dir: dir.Ino, Name: e.name, Child: e.ino})
	if e.at&0xff != 0xff {
		if _, more, err := a.tx.Get(dentKey(dir.Ino, e.at+1)); err != nil {
			return err
		} else if more {
			return a.tx.Set(dentKey(dir.Ino, e.at), nil)
		}
	}
	for {
		if err := a.tx.Delete(dentKey(dir.Ino, e.at)); err != nil || e.at&0xff == 0 {
			return err
		}
		e.at--
		if b, _, err := a.tx.Get(dentKey(dir.Ino, e.at)); err != nil || len(b) != 0 {
			return err
		}
	}
}

// stamp moves a directory's times; mtime strictly increases.
func (a *apply) stamp(dir *node, at Time) {
	dir.Mtime = max(at, dir.Mtime+1)
	dir.Ctime = max(at, dir.Ctime+1)
	a.touch(dir)
}

// unname takes one name from n. With the last it becomes an orphan; a directory has only one.
func (a *apply) unname(n *node, at Time) error {
	n.Ctime = at
	n.Nlink--
	if n.Type == Dir {
		n.Nlink = 0
	}
	a.touch(n)
	if n.Nlink > 0 {
		return nil
	}
	return a.orphan(n)
}

// orphan notes that no name leads to n.
func (a *apply) orphan(n *node) error {
	a.ch.Orphaned = append(a.ch.Orphaned, n.Ino)
	return a.tx.Set(orphanKey(n.Ino), be(nil, a.c.Index))
}
