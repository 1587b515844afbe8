package winfsp

import (
	"syscall"
	"testing"

	"dfs/cluster/fault"
)

func TestNumbersOnLinux(t *testing.T) {
	for k, want := range map[fault.Kind]syscall.Errno{
		fault.Invalid: syscall.EINVAL, fault.NotExist: syscall.ENOENT, fault.Exist: syscall.EEXIST, fault.NotDir: syscall.ENOTDIR,
		fault.IsDir: syscall.EISDIR, fault.NotEmpty: syscall.ENOTEMPTY, fault.NameTooLong: syscall.ENAMETOOLONG,
		fault.TooBig: syscall.EFBIG, fault.NoSpace: syscall.ENOSPC, fault.Permission: syscall.EACCES, fault.ReadOnly: syscall.EROFS,
		fault.Stale: syscall.ESTALE, fault.Busy: syscall.EBUSY, fault.Unsupported: syscall.EOPNOTSUPP, fault.Canceled: syscall.EINTR,
		fault.Quota: syscall.EDQUOT, fault.TooManyLinks: syscall.EMLINK, fault.Cross: syscall.EXDEV, fault.Loop: syscall.EINVAL,
		fault.Locked: syscall.EAGAIN, fault.Deadlock: syscall.EDEADLK, fault.TooManyLocks: syscall.ENOLCK,
		fault.Refused: syscall.EPERM, fault.CutOff: syscall.EIO, fault.Unreachable: syscall.EIO, fault.Timeout: syscall.EIO,
	} {
		if got := number(k, false); got != int(want) {
			t.Errorf("%v: %d, want %d (%v)", k, got, int(want), want)
		}
	}
}
