package vfs

import (
	"context"
	"errors"
	"slices"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// Lookup returns what name means in dir: two answers, each with its own validity. No such name is no error.
func (f *FS) Lookup(ctx context.Context, dir meta.Ino, name string, refs Refs) (Entry, error) {
	defer f.coh.Hold(false, dir)()
	return f.lookup(ctx, dir, name, refs)
}

func (f *FS) lookup(ctx context.Context, dir meta.Ino, name string, refs Refs) (Entry, error) {
	for try := 0; ; try++ {
		var st meta.Inode
		until, err := f.read(ctx, coherence.Entry(dir, name), func(v meta.View) (err error) {
			st, err = v.Lookup(dir, name)
			return err
		})
		if errors.Is(err, fault.NotExist) {
			return Entry{EntryUntil: until}, nil
		}
		if err != nil {
			return Entry{}, err
		}
		a, err := f.stat(ctx, st.Ino, refs, nil) // may wait: what is left of the name's validity is for Left to say
		if err == nil {
			return Entry{Inode: a.Inode, EntryUntil: until, AttrUntil: a.Until}, nil
		}
		if !errors.Is(err, fault.Stale) || try == triesMax { // else it was gone between the two answers
			return Entry{}, err
		}
	}
}

// made returns the entry for a new inode that is counted. The kernel takes such an answer's attributes as they are; but as long as the inode has no
// other name it has no other answer about it, and is told of a change until it knows the inode, so that both may be kept where nobody else is at them.
func (f *FS) made(dir meta.Ino, name string, st meta.Inode) Entry {
	e := f.named(dir, name, st)
	if e.EntryUntil == 0 {
		return e
	}
	until, err := f.read(atOnce, coherence.Attr(st.Ino), func(v meta.View) (err error) {
		st, err = v.Stat(st.Ino)
		return err
	})
	if err == nil {
		e.Inode = st
		if st.Type == meta.Dir || st.Nlink == 1 {
			e.AttrUntil = until
		}
	}
	return e
}

// named returns the entry for a name this mount has just given. The attributes in it may not be kept, the name may where nobody else is
// at it.
func (f *FS) named(dir meta.Ino, name string, st meta.Inode) Entry {
	e := Entry{Inode: st}
	obj := coherence.Entry(dir, name)
	if !f.coh.Clean(obj) {
		return e
	}
	until, err := f.read(atOnce, obj, func(v meta.View) error { // the inode is counted: see stat
		now, err := v.Lookup(dir, name)
		if err == nil && now.Ino != st.Ino {
			return fault.Conflict
		}
		return err
	})
	if err == nil {
		e.EntryUntil = until
	}
	return e
}

// Create makes a regular file and opens it. If the name is taken that file is opened, unless m.Excl: fault.Exist.
func (f *FS) Create(ctx context.Context, c Caller, dir meta.Ino, name string, perm uint32, m Mode, refs Refs) (Entry, Opened, error) {
	if name == meta.Nameless {
		return Entry{}, Opened{}, fault.New("vfs create", fault.Invalid, "%q", name)
	}
	defer f.coh.Hold(true, dir)()
	f.grants.beginCreate()
	res, err := f.store.Apply(ctx, meta.Create{
		Dir: dir, Name: name, Type: meta.File, Mode: perm, UID: c.UID, GID: c.GID, Umask: c.Umask, Time: f.now(), Grant: true,
	})
	if err != nil {
		f.grants.endCreate(0)
		if errors.Is(err, fault.Exist) && !m.Excl {
			return f.openExisting(ctx, dir, name, m, refs)
		}
		return Entry{}, Opened{}, err
	}
	o := f.openNew(res.Inode, m, refs)
	return f.made(dir, name, res.Inode), o, nil
}

// Tmpfile makes a regular file without a name in dir and opens it. It goes with its last handle, unless Link has given it a name.
func (f *FS) Tmpfile(ctx context.Context, c Caller, dir meta.Ino, perm uint32, m Mode, refs Refs) (Entry, Opened, error) {
	f.grants.beginCreate()
	res, err := f.store.Apply(ctx, meta.Create{
		Dir: dir, Name: meta.Nameless, Type: meta.File, Mode: perm, UID: c.UID, GID: c.GID, Umask: c.Umask, Time: f.now(), Grant: true,
	})
	if err != nil {
		f.grants.endCreate(0)
		return Entry{}, Opened{}, err
	}
	return Entry{Inode: res.Inode}, f.openNew(res.Inode, m, refs), nil
}

// openNew opens what this mount has just made. The caller has begun a create.
func (f *FS) openNew(st meta.Inode, m Mode, refs Refs) Opened {
	add(refs, st.Ino)
	n := f.pin(st.Ino)
	recalled := f.grants.endCreate(st.Ino)
	n.mu.Lock()
	n.granted = st.Grant != 0 && st.Grant == f.session.Load() && !recalled
	n.mu.Unlock()
	return f.opened(n, m)
}

func (f *FS) openExisting(ctx context.Context, dir meta.Ino, name string, m Mode, refs Refs) (_ Entry, _ Opened, err error) {
	e, err := f.lookup(ctx, dir, name, refs)
	if err != nil {
		return Entry{}, Opened{}, err
	}
	defer func() {
		if err != nil {
			drop(refs, e.Inode.Ino)
		}
	}()
	switch e.Inode.Type {
	case meta.File:
	case 0:
		return Entry{}, Opened{}, fault.New("vfs create", fault.NotExist, "%q was there and is gone", name)
	case meta.Dir:
		return Entry{}, Opened{}, fault.New("vfs create", fault.IsDir, "%q", name)
	default:
		return Entry{}, Opened{}, fault.New("vfs create", fault.Exist, "%q", name)
	}
	o, err := f.Open(ctx, e.Inode.Ino, m)
	e.AttrUntil = 0
	return e, o, err
}

// Mkdir makes a directory. fault.Exist.
func (f *FS) Mkdir(ctx context.Context, c Caller, dir meta.Ino, name string, perm uint32, refs Refs) (Entry, error) {
	return f.create(ctx, meta.Create{
		Dir: dir, Name: name, Type: meta.Dir, Mode: perm, UID: c.UID, GID: c.GID, Umask: c.Umask, Grant: f.alone != nil,
	}, refs)
}

// Mknod makes a file of any type but Dir and Symlink. fault.Exist.
func (f *FS) Mknod(ctx context.Context, c Caller, dir meta.Ino, name string, t meta.Type, perm, rdev uint32, refs Refs) (Entry, error) {
	return f.create(ctx, meta.Create{
		Dir: dir, Name: name, Type: t, Mode: perm, UID: c.UID, GID: c.GID, Umask: c.Umask, Rdev: rdev,
	}, refs)
}

// Symlink makes a symbolic link. fault.Exist, NameTooLong.
func (f *FS) Symlink(ctx context.Context, c Caller, dir meta.Ino, name, target string, refs Refs) (Entry, error) {
	if target == "" || len(target) > meta.TargetMax {
		return Entry{}, fault.New("vfs symlink", fault.NameTooLong, "target of %d bytes", len(target))
	}
	return f.create(ctx, meta.Create{
		Dir: dir, Name: name, Type: meta.Symlink, Mode: 0o777, UID: c.UID, GID: c.GID, Target: target,
	}, refs)
}

func (f *FS) create(ctx context.Context, op meta.Create, refs Refs) (Entry, error) {
	defer f.coh.Hold(true, op.Dir)()
	op.Time = f.now()
	res, err := f.store.Apply(ctx, op)
	if err != nil {
		return Entry{}, err
	}
	add(refs, res.Inode.Ino)
	return f.made(op.Dir, op.Name, res.Inode), nil
}

// Readlink returns a symbolic link's target. fault.Invalid for anything else.
func (f *FS) Readlink(ctx context.Context, ino meta.Ino) (string, error) {
	a, err := f.Getattr(ctx, ino)
	if err != nil {
		return "", err
	}
	if a.Inode.Type != meta.Symlink {
		return "", fault.New("vfs readlink", fault.Invalid, "inode %d is no symbolic link", ino)
	}
	f.noteAccess(&a.Inode)
	return a.Inode.Target, nil
}

// Link names ino once more. fault.Exist, IsDir, TooManyLinks.
func (f *FS) Link(ctx context.Context, ino, dir meta.Ino, name string, refs Refs) (Entry, error) {
	defer f.coh.Hold(true, dir)()
	add(refs, ino)
	res, err := f.store.Apply(ctx, meta.Link{Ino: ino, Dir: dir, Name: name, Time: f.now()})
	if err != nil {
		drop(refs, ino)
		return Entry{}, err
	}
	e := f.named(dir, name, res.Inode)
	e.Inode = f.overlay(Attr{Inode: e.Inode}, res.Index).Inode
	return e, nil
}

// Unlink removes the name of a file. fault.NotExist, IsDir.
func (f *FS) Unlink(ctx context.Context, dir meta.Ino, name string) error {
	defer f.coh.Hold(true, dir)()
	_, err := f.store.Apply(ctx, meta.Unlink{Dir: dir, Name: name, Time: f.now()})
	return err
}

// Rmdir removes an empty directory. fault.NotExist, NotDir, NotEmpty.
func (f *FS) Rmdir(ctx context.Context, dir meta.Ino, name string) error {
	held := []meta.Ino{dir}
	_ = f.newest(func(v meta.View) error {
		st, err := v.Lookup(dir, name)
		held = alsoDir(held, st)
		return err
	})
	defer f.coh.Hold(true, held...)()
	_, err := f.store.Apply(ctx, meta.Rmdir{Dir: dir, Name: name, Time: f.now()})
	return err
}

// Rename moves a name, by meta.Rename's rules and flags. Where it replaces a file, the bytes of the new one that this mount
// wrote are on disk first: after a power cut either the old or the new one is there.
func (f *FS) Rename(ctx context.Context, oldDir meta.Ino, oldName string, newDir meta.Ino, newName string, flags uint32) error {
	// What is seen here is not released and decides nothing: whether the names exist is for the op to say.
	held := []meta.Ino{oldDir}
	if newDir != oldDir {
		held = append(held, newDir)
	}
	var source, target meta.Inode
	_ = f.newest(func(v meta.View) (err error) {
		if source, err = v.Lookup(oldDir, oldName); err == nil {
			target, err = v.Lookup(newDir, newName)
		}
		return err
	})
	held = alsoDir(alsoDir(held, source), target)
	defer f.coh.Hold(true, held...)()
	if err := f.o.CutOff(); err != nil {
		return err
	}
	if target.Ino != 0 && source.Type == meta.File {
		if err := f.harden(ctx, source.Ino); err != nil {
			return err
		}
	}
	_, err := f.store.Apply(ctx, meta.Rename{
		OldDir: oldDir, OldName: oldName, NewDir: newDir, NewName: newName, Flags: flags, Time: f.now(),
	})
	return err
}

// alsoDir adds st to the directories whose locks a request holds, if it is one: a directory that is moved or removed is
// locked like those that name it.
func alsoDir(held []meta.Ino, st meta.Inode) []meta.Ino {
	if st.Type != meta.Dir || slices.Contains(held, st.Ino) {
		return held
	}
	return append(held, st.Ino)
}
