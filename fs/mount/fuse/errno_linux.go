package fuse

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"dfs/cluster/fault"
)

// errnos says what a program sees of each kind of failure. Kinds that are not here are EIO.
var errnos = map[fault.Kind]syscall.Errno{
	fault.Invalid:      syscall.EINVAL,
	fault.NotExist:     syscall.ENOENT,
	fault.Exist:        syscall.EEXIST,
	fault.NotDir:       syscall.ENOTDIR,
	fault.IsDir:        syscall.EISDIR,
	fault.NotEmpty:     syscall.ENOTEMPTY,
	fault.NameTooLong:  syscall.ENAMETOOLONG,
	fault.TooBig:       syscall.EFBIG,
	fault.NoSpace:      syscall.ENOSPC,
	fault.Permission:   syscall.EACCES,
	fault.ReadOnly:     syscall.EROFS,
	fault.Stale:        syscall.ESTALE,
	fault.Busy:         syscall.EBUSY,
	fault.Unsupported:  syscall.EOPNOTSUPP,
	fault.Canceled:     syscall.EINTR,
	fault.Quota:        syscall.EDQUOT,
	fault.TooManyLinks: syscall.EMLINK,
	fault.Cross:        syscall.EXDEV,
	fault.Loop:         syscall.EINVAL, // rename(2): a directory below itself
	fault.Refused:      syscall.EPERM,
	fault.Locked:       syscall.EAGAIN,
	fault.Deadlock:     syscall.EDEADLK,
	fault.TooManyLocks: syscall.ENOLCK,
}

// status turns an error into what the kernel is told.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if no, ok := errnos[fault.KindOf(err)]; ok {
		return fuse.Status(no)
	}
	return fuse.EIO
}
