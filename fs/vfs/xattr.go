package vfs

import (
	"context"
	"strings"

	"dfs/cluster/fault"
	"dfs/fs/acl"
	"dfs/fs/meta"
)

// Extended attributes are part of an inode's attributes: read by the same rules, and absent at the price of a stat, for an inode
// knows whether it has any. They are set by ops of their own, which a mount carries out by itself where it is alone.

// Layout is the attribute of a directory that is its layout, in the words of dfsctl layout. It is not listed, so that what copies a
// directory with its attributes does not copy that.
const Layout = meta.ReservedXattrs + "layout"

// Getxattr returns an extended attribute. fault.NotExist (there is none), Stale (there is no inode), those of meta.CheckXattr.
func (f *FS) Getxattr(ctx context.Context, ino meta.Ino, name string) ([]byte, error) {
	if err := meta.CheckXattr(name); err != nil {
		return nil, err
	}
	var value []byte
	var missing error
	a, err := f.stat(ctx, ino, nil, func(v meta.View) { value, missing = v.Xattr(ino, name) })
	if err != nil {
		return nil, err
	}
	if meta.IsACL(name) && a.Until == 0 && f.doubt != nil {
		f.doubt.Doubt(ino) // the kernel keeps ACLs, however old, until it is told
	}
	switch {
	case name == Layout && a.Inode.Type == meta.Dir:
		return []byte(a.Inode.Wish.String()), nil
	case missing != nil || name != meta.AccessACL:
		return value, missing
	}
	list, err := acl.Parse(value)
	if err != nil {
		return nil, err
	}
	return list.Chmod(a.Inode.Mode).Append(nil), nil // with a mode that is not committed yet
}

// Listxattr returns the names of an inode's extended attributes that c may see. fault.Stale.
func (f *FS) Listxattr(ctx context.Context, c Caller, ino meta.Ino) ([]string, error) {
	var names []string
	var failed error
	if _, err := f.stat(ctx, ino, nil, func(v meta.View) { names, failed = v.Xattrs(ino) }); err != nil || failed != nil {
		return nil, firstOf(err, failed)
	}
	var seen []string
	for _, name := range names {
		if c.UID == 0 || !strings.HasPrefix(name, "trusted.") {
			seen = append(seen, name)
		}
	}
	return seen, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Setxattr sets an extended attribute; op.Ino and op.Time are set here. When it returns every mount sees it. Errors are those of
// meta.SetXattr. Of reserved names there is one that can be set: Layout, by the directory's owner.
func (f *FS) Setxattr(ctx context.Context, c Caller, ino meta.Ino, op meta.SetXattr) error {
	if op.Name == Layout {
		return f.setLayout(ctx, c, ino, string(op.Value))
	}
	op.Ino, op.Time = ino, f.now()
	return f.changeXattr(ctx, ino, op.Name, op.Time, op)
}

// Removexattr removes an extended attribute. fault.NotExist, those of meta.RemoveXattr.
func (f *FS) Removexattr(ctx context.Context, ino meta.Ino, name string) error {
	if meta.IsACL(name) { // what copies a directory removes its copy's default ACL, there or not
		if a, err := f.Getattr(ctx, ino); err != nil || a.Inode.Xattrs == 0 && a.Inode.Type != meta.Symlink {
			return err
		}
	}
	now := f.now()
	return f.changeXattr(ctx, ino, name, now, meta.RemoveXattr{Ino: ino, Name: name, Time: now})
}

func (f *FS) changeXattr(ctx context.Context, ino meta.Ino, name string, now meta.Time, op meta.Op) error {
	if err := f.o.CutOff(); err != nil {
		return err
	}
	defer f.coh.Hold(true, ino)() // a directory's lock is held meanwhile; for files this means nothing
	n := f.pin(ino)
	defer f.unpin(n)
	if set, ok := op.(meta.SetXattr); ok && f.setModeHere(n, set) {
		return nil
	}
	if name == meta.AccessACL || name == meta.Capability { // modes and owners that were set before must not come after
		if err := f.sendPending(ctx, n); err != nil {
			return err
		}
	}
	if _, err := f.store.Apply(ctx, op); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending.Mask != 0 {
		n.pending.Time = max(n.pending.Time, now) // the ctime that comes with it
	}
	return nil
}

// setModeHere keeps an ACL that a mode can say for the commit of a granted file: cp sets one on all that it copies.
func (f *FS) setModeHere(n *node, op meta.SetXattr) bool {
	if op.Name != meta.AccessACL || op.Flags != 0 {
		return false
	}
	list, err := acl.Parse(op.Value)
	if err != nil || !list.Trivial() {
		return false
	}
	a, err := f.own(n)
	if err != nil || a.Special&meta.HasAccessACL != 0 {
		return false
	}
	mode := a.Mode&^0o777 | list.Mode()
	if op.KillSetgid {
		mode &^= 0o2000
	}
	return f.setHere(n, meta.SetAttr{Ino: n.ino, Mask: meta.SetMode, Mode: mode, Time: op.Time})
}

// own returns the newest attributes of n, with what is not committed.
func (f *FS) own(n *node) (st meta.Inode, err error) {
	for {
		var at uint64
		here := f.here.of(n.ino)
		err = f.newest(func(v meta.View) (err error) {
			at = v.Index()
			st, err = v.Stat(n.ino)
			return err
		})
		if err != nil {
			return st, err
		}
		n.mu.Lock()
		n.overlayLocked(&st, at)
		n.mu.Unlock()
		if here == f.here.of(n.ino) {
			return st, nil
		}
	}
}

// sendPending brings attributes that wait for a file's commit into the log before it.
func (f *FS) sendPending(ctx context.Context, n *node) error {
	if err := n.take(ctx); err != nil {
		return err
	}
	defer n.give()
	if err := n.drain(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	s := n.pending
	n.mu.Unlock()
	if s.Mask == 0 {
		return nil
	}
	if _, err := f.store.Apply(ctx, s); err != nil {
		return stale(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending == s {
		n.pending = meta.SetAttr{}
	}
	f.rekeepLocked(n)
	return nil
}

// setLayout sets a directory's layout, for what is made in it from now on.
func (f *FS) setLayout(ctx context.Context, c Caller, ino meta.Ino, text string) error {
	a, err := f.Getattr(ctx, ino)
	switch {
	case err != nil:
		return err
	case a.Inode.Type != meta.Dir:
		return fault.New("layout", fault.NotDir, "inode %d: a layout is a directory's", ino)
	case c.UID != 0 && c.UID != a.Inode.UID:
		return fault.New("layout", fault.Refused, "inode %d is not of user %d", ino, c.UID)
	}
	w, err := a.Inode.Wish.With(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	if w.Data > 1 || w.Parity > 0 {
		return fault.New("layout", fault.Unsupported, "erasure coding is not there yet; say copies=N")
	}
	if err := f.o.CutOff(); err != nil {
		return err
	}
	defer f.coh.Hold(true, ino)()
	if err := f.giveUp(ctx, ino); err != nil { // with commit=close it is nobody's alone
		return err
	}
	_, err = f.store.Apply(ctx, meta.SetAttr{Ino: ino, Mask: meta.SetWish, Wish: w, Time: f.now()})
	return stale(err)
}
