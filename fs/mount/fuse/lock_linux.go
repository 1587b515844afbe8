package fuse

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/fs/lock"
	"dfs/fs/vfs"
)

// The kernel keeps no locks of its own for us: it asks for each, and names the owner by a number, which is that of the
// process's table of files for POSIX locks and of the open file for all others. Their ends reach us so:
//
//	close(2) of a descriptor         FLUSH, with the table's number: its POSIX locks on the file end. No FLUSH comes where the
//	                                 open was answered with NOFLUSH (vfs.Opened.Quiet)
//	end of the last descriptor       RELEASE: flocks and open file description locks of this open end, and what was
//	                                 locked through it at all. Nobody waits for RELEASE: a lock ends a moment after the close
//
// NOFLUSH is worth its rule: opening, reading and closing a small file in the kernel's cache costs 67 us of processor time in all, 80
// with a FLUSH (2026-11-29, 3 times 10,000 by a Python program, this process's share included).
//
// A signal makes the kernel send INTERRUPT for a request that waits. It is answered with EINTR, out of which the kernel makes a
// restart where the program asked for that (SA_RESTART): then the request comes again, and queues anew.

// lockOf turns a request into the lock it is about.
func lockOf(in *fuse.LkIn) (l lock.Lock, ok bool) {
	l = lock.Lock{
		Owner: lock.Owner{ID: in.Owner}, PID: in.Lk.Pid,
		Whole: in.LkFlags&fuse.FUSE_LK_FLOCK != 0, Write: in.Lk.Typ == syscall.F_WRLCK,
		From: in.Lk.Start, End: in.Lk.End + 1,
	}
	if l.Whole {
		l.From, l.End = 0, lock.EndOfAll
	}
	return l, l.Valid()
}

func (r *raw) GetLk(_ <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	l, ok := lockOf(in)
	if !ok {
		return fuse.EINVAL
	}
	held, locked, err := r.fs.Locked(ctx, vfs.Handle(in.Fh), l)
	switch {
	case err != nil:
		return status(err)
	case !locked:
		out.Lk = in.Lk
		out.Lk.Typ = syscall.F_UNLCK
	default:
		out.Lk = fuse.FileLock{Start: held.From, End: held.End - 1, Typ: syscall.F_RDLCK, Pid: held.PID}
		if held.Write {
			out.Lk.Typ = syscall.F_WRLCK
		}
	}
	return fuse.OK
}

func (r *raw) SetLk(_ <-chan struct{}, in *fuse.LkIn) fuse.Status { return r.setLock(in, false, nil) }

func (r *raw) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	return r.setLock(in, true, cancel)
}

func (r *raw) setLock(in *fuse.LkIn, wait bool, interrupt <-chan struct{}) fuse.Status {
	ctx := r.call(&in.InHeader)
	defer ctx.end()
	l, ok := lockOf(in)
	switch {
	case !ok:
		return fuse.EINVAL
	case in.Lk.Typ == syscall.F_UNLCK:
		return status(r.fs.Unlock(ctx, vfs.Handle(in.Fh), l))
	}
	return status(r.fs.Lock(ctx, vfs.Handle(in.Fh), l, wait, interrupt))
}

// closed is close(2) of a descriptor, after its bytes were handed in: what owner has locked ends, whatever became of those.
func (r *raw) closed(ctx context.Context, in *fuse.FlushIn, flushed error) error {
	if err := r.fs.Closed(ctx, vfs.Handle(in.Fh), in.LockOwner); flushed == nil {
		return err
	}
	return flushed
}
