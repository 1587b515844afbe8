package vfs

import (
	"context"
	"errors"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

const (
	copyMost  = 1 << 30 // bytes in one CopyRange
	copyBytes = 4 << 20 // of those, that are moved where naming the same blocks is not possible
	cloneMax  = 1000    // records of both files that one op may meet
)

// CopyRange makes [toOff, toOff+size) of the file that to has open what [fromOff, fromOff+size) of from's is, and returns how many bytes it
// copied: fewer where that file ends, or where it pleases. Whole blocks are not moved: the files share them. The ends of a range, ranges at
// other places within their blocks, small ones, and files of other layouts are copied byte by byte, and become visible like written
// bytes. Shared blocks are visible on every mount when it returns.
//
// fault.Invalid: a handle that cannot read, or write, or appends; ranges of one file that overlap. TooBig. Errors are those of Write besides.
func (f *FS) CopyRange(ctx context.Context, from Handle, fromOff int64, to Handle, toOff, size int64, killPriv bool) (int64, error) {
	src, dst, err := f.ends(from, to)
	if err != nil {
		return 0, err
	}
	size = min(size, copyMost)
	switch {
	case fromOff < 0 || toOff < 0 || size < 0:
		return 0, fault.New("vfs copy", fault.Invalid, "%d bytes from %d to %d", size, fromOff, toOff)
	case toOff > meta.SizeMax-size:
		return 0, fault.New("vfs copy", fault.TooBig, "%d bytes to %d", size, toOff)
	case src.n == dst.n && max(fromOff-toOff, toOff-fromOff) < size:
		return 0, fault.New("vfs copy", fault.Invalid, "the ranges overlap")
	}
	a, err := f.Getattr(ctx, src.n.ino)
	if err != nil {
		return 0, err
	}
	if size = min(size, a.Inode.Size-fromOff); size <= 0 {
		return 0, nil
	}
	if err := f.o.CutOff(); err != nil {
		return 0, err
	}
	c := copying{f: f, from: from, to: to, src: src.n, dst: dst.n, killPriv: killPriv}
	n, err := c.copy(ctx, fromOff, toOff, size)
	if n == 0 {
		return 0, err
	}
	if err != nil { // who goes on is told
		f.o.Log.Debug("a copy ended early", "ino", dst.n.ino, "bytes", n, "err", err)
	}
	if dst.mode.Sync {
		if err := f.Fsync(ctx, to); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (f *FS) ends(from, to Handle) (src, dst *handle, err error) {
	if src, err = f.handle(from); err != nil {
		return nil, nil, err
	}
	if dst, err = f.handle(to); err != nil {
		return nil, nil, err
	}
	if src.n == nil || dst.n == nil || !src.mode.Read || !dst.mode.Write || dst.mode.Append {
		return nil, nil, fault.New("vfs copy", fault.Invalid, "handles %d and %d do not read and write", from, to)
	}
	return src, dst, nil
}

// copying is one CopyRange.
type copying struct {
	f        *FS
	from, to Handle
	src, dst *node
	killPriv bool
}

// copy copies what it can of a range that lies within src.
func (c *copying) copy(ctx context.Context, fromOff, toOff, size int64) (int64, error) {
	head := up(fromOff) - fromOff
	alike, err := c.alike()
	if err != nil {
		return 0, err
	}
	if !alike || size < c.f.o.CloneMin+blockstore.Size || (fromOff-toOff)%blockstore.Size != 0 {
		return c.move(ctx, fromOff, toOff, min(size, copyBytes))
	}
	done, err := c.move(ctx, fromOff, toOff, head)
	if done < head || err != nil {
		return done, err
	}
	n, err := c.clone(ctx, fromOff+head, toOff+head, size-head)
	done += n
	switch {
	case errors.Is(err, fault.Unsupported) && n == 0:
		n, err = c.move(ctx, fromOff+done, toOff+done, min(size-done, copyBytes))
		return done + n, err
	case err == nil && size-done < blockstore.Size: // what dst goes on behind
		n, err = c.move(ctx, fromOff+done, toOff+done, size-done)
		done += n
	}
	return done, err
}

// alike reports whether both files have the same layout.
func (c *copying) alike() (yes bool, err error) {
	err = c.f.newest(func(v meta.View) error {
		src, err := v.Stat(c.src.ino)
		if err != nil {
			return err
		}
		dst, err := v.Stat(c.dst.ino)
		yes = meta.SameLayout(src, dst)
		return err
	})
	return yes, stale(err)
}

// move copies bytes through memory.
func (c *copying) move(ctx context.Context, fromOff, toOff, size int64) (done int64, err error) {
	buf := make([]byte, min(size, 1<<20))
	for done < size {
		n, err := c.f.Read(ctx, c.from, fromOff+done, buf[:min(size-done, int64(len(buf)))])
		if err == nil && n > 0 {
			n, err = c.f.Write(ctx, c.to, toOff+done, buf[:n], c.killPriv)
		}
		if err != nil || n == 0 {
			return done, err
		}
		done += int64(n)
	}
	return done, nil
}

// clone has dst share src's blocks from fromOff on, which is at a border of them, and returns how many bytes it now has of them: at least
// those of all whole blocks, or an error says why not.
func (c *copying) clone(ctx context.Context, fromOff, toOff, size int64) (done int64, err error) {
	if err := c.f.killPriv(ctx, c.dst, c.killPriv); err != nil {
		return 0, err
	}
	if err := c.flushBoth(ctx); err != nil {
		return 0, err
	}
	for try := 0; done < size; {
		op, at, err := c.next(fromOff+done, toOff+done, size-done)
		if err != nil || op.N == 0 {
			return done, err
		}
		res, err := c.f.store.Apply(ctx, op)
		switch {
		case err == nil:
			c.cloned(res.Inode.Size, at)
			done += op.N
			try = 0
			continue
		case errors.Is(err, fault.Conflict) || errors.Is(err, fault.TooBig): // somebody writes to them, or cuts them: look again
			if try++; try < triesMax {
				continue
			}
		case errors.Is(err, fault.TooManyLinks):
			err = fault.Because("vfs copy", fault.Unsupported, err)
		}
		return done, stale(err)
	}
	return done, nil
}

// flushBoth puts what both files hold in the log, and on disk what is to take the place of bytes that were cut off a moment ago.
func (c *copying) flushBoth(ctx context.Context) error {
	f := c.f
	if err := f.flush(ctx, c.src, how{early: true}); err != nil {
		return err
	}
	c.dst.mu.Lock()
	replaced := c.dst.replaced
	c.dst.mu.Unlock()
	if replaced {
		if err := f.syncAll(ctx, c.src); err != nil {
			return err
		}
	}
	return f.flush(ctx, c.dst, how{early: true})
}

// next returns the next op, N being 0 where less than a block is left that must be moved, and where what it names lies as far as that
// is not known to be on disk.
func (c *copying) next(fromOff, toOff, size int64) (op meta.Clone, at []placement.Layout, err error) {
	now := c.f.now()
	op = meta.Clone{Src: c.src.ino, Dst: c.dst.ino, SrcOff: fromOff, DstOff: toOff, Mtime: now, Time: now}
	err = c.f.newest(func(v meta.View) error {
		src, err := v.Stat(op.Src)
		if err != nil {
			return err
		}
		dst, err := v.Stat(op.Dst)
		if err != nil {
			return err
		}
		op.N = min(size, src.Size-fromOff)
		if dst.Size > toOff+op.N {
			op.N = down(op.N)
		}
		if op.N <= 0 {
			op.N = 0
			return nil
		}
		op.N, at, err = fitting(v, op)
		return err
	})
	return op, at, stale(err)
}

// fitting returns how much of op's range one op can clone, and where what it names lies, unless that is known to be on disk.
func fitting(v meta.View, op meta.Clone) (size int64, at []placement.Layout, err error) {
	volatile := true
	if i, ok := v.(volatiles); ok {
		on, err := i.Volatile(op.Src)
		if err != nil {
			return 0, nil, err
		}
		volatile = len(on) > 0
	}
	met := 0
	for step := int64(windowBytes); size < op.N; {
		n := min(step, op.N-size)
		src, err := v.Extents(op.Src, op.SrcOff+size, n)
		if err != nil {
			return 0, nil, err
		}
		dst, err := v.Extents(op.Dst, op.DstOff+size, n)
		if err != nil {
			return 0, nil, err
		}
		if met += len(src) + len(dst); met > cloneMax && size > 0 {
			break
		} else if met > cloneMax && step > blockstore.Size {
			step, met = down(step/2), 0
			continue
		}
		if size += n; volatile {
			at = union(at, layouts([]*part{{extents: src}}))
		}
	}
	return size, at, nil
}

// cloned takes note of an op that was applied, and after which dst ends at size.
func (c *copying) cloned(size int64, at []placement.Layout) {
	c.dst.mu.Lock()
	if c.dst.granted {
		c.dst.base = max(c.dst.base, size)
	}
	c.dst.mu.Unlock()
	c.f.recent.note(c.dst.ino, at, c.f.o.Now())
}
