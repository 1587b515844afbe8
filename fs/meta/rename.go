package meta

import "dfs/cluster/fault"

// depthMax bounds the walk from a directory to the root.
const depthMax = 1 << 16

func (a *apply) rename(op Rename) error {
	if op.Flags&^(RenameNoReplace|RenameExchange) != 0 || op.Flags == RenameNoReplace|RenameExchange {
		return fault.New("rename", fault.Invalid, "flags %#x", op.Flags)
	}
	oldDir, old, n, err := a.named(op.OldDir, op.OldName, op.Ino)
	if err != nil {
		return err
	}
	newDir, err := a.dir(op.NewDir)
	if err != nil {
		return err
	}
	if err := checkName(op.NewName); err != nil {
		return err
	}
	place, there, err := findDent(a.tx, &newDir.Inode, op.NewName)
	if err != nil {
		return err
	}
	if op.Over != 0 && op.Over != Nothing && (!there || place.ino != op.Over) || op.Over == Nothing && there {
		return fault.New("rename", fault.Conflict, "%q is another by now", op.NewName)
	}
	if there && op.Flags == RenameNoReplace {
		return fault.New("rename", fault.Exist, "%q", op.NewName)
	}
	if !there && op.Flags == RenameExchange {
		return fault.New("rename", fault.NotExist, "%q", op.NewName)
	}
	var target *node
	if there {
		if target, err = a.node(place.ino); err != nil {
			return err
		}
		if target == nil {
			return fault.New("rename", fault.NotExist, "%q: its inode %d is missing", op.NewName, place.ino)
		}
	}
	a.subject = n
	if err := a.noLoop(n, newDir); err != nil {
		return err
	}
	if op.Flags == RenameExchange {
		if err := a.noLoop(target, oldDir); err != nil {
			return err
		}
	}
	switch {
	case target == n:
		return nil // two names of one inode, or one name twice
	case op.Flags == RenameExchange:
		return a.exchange(op, oldDir, newDir, old, place, n, target)
	case target != nil:
		if err := a.replaceable(n, target); err != nil {
			return err
		}
	}
	return a.move(op, oldDir, newDir, old, place, n, target)
}

// replaceable applies the rules for what a rename may put away.
func (a *apply) replaceable(n, target *node) error {
	if n.Type == Dir {
		return a.emptyDir(target)
	}
	if target.Type == Dir {
		return fault.New("rename", fault.IsDir, "inode %d", target.Ino)
	}
	return nil
}

func (a *apply) move(op Rename, oldDir, newDir *node, old, place dent, n, target *node) error {
	if err := a.leave(oldDir, old, op.Time); err != nil {
		return err
	}
	if target == nil {
		// Leaving may have made room before the place that was found, where both names have one hash.
		var err error
		if place, _, err = findDent(a.tx, &newDir.Inode, op.NewName); err != nil {
			return err
		}
	}
	was := n.Ino
	place.ino, place.typ = n.Ino, n.Type
	if target != nil {
		was = target.Ino
		if target.Type == Dir {
			newDir.Nlink--
		}
		if err := a.unname(target, op.Time); err != nil {
			return err
		}
	} else {
		newDir.Size++
	}
	a.moved(n, oldDir, newDir, op.Time)
	return a.setDent(newDir, place, was, op.Time)
}

func (a *apply) exchange(op Rename, oldDir, newDir *node, old, place dent, n, target *node) error {
	old.ino, old.typ = target.Ino, target.Type
	place.ino, place.typ = n.Ino, n.Type
	a.moved(n, oldDir, newDir, op.Time)
	a.moved(target, newDir, oldDir, op.Time)
	if err := a.setDent(oldDir, old, n.Ino, op.Time); err != nil {
		return err
	}
	return a.setDent(newDir, place, target.Ino, op.Time)
}

// moved keeps parents and link counts of directories right.
func (a *apply) moved(n, from, to *node, at Time) {
	n.Ctime = at
	a.touch(n)
	if n.Type == Dir && from != to {
		n.Parent = to.Ino
		from.Nlink--
		to.Nlink++
	}
}

// noLoop returns fault.Loop if n is dir or above it.
func (a *apply) noLoop(n, dir *node) error {
	if n.Type != Dir {
		return nil
	}
	at := dir.Inode
	for range depthMax {
		if at.Ino == n.Ino {
			return fault.New("rename", fault.Loop, "inode %d would be below itself", n.Ino)
		}
		if at.Ino == Root {
			return nil
		}
		up, ok, err := getInode(a.tx, at.Parent)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New("rename", fault.Corrupt, "directory %d has no parent", at.Ino)
		}
		at = up
	}
	return fault.New("rename", fault.Loop, "more than %d directories deep", depthMax)
}
