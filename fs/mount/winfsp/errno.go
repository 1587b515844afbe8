package winfsp

import "dfs/cluster/fault"

// errno is an error number as each system's front wants it: WinFsp the numbers of Microsoft's C library, which it turns
// into an NTSTATUS (errno.i in its source; what it does not know there becomes "access denied"), libfuse those of Linux.
type errno struct{ ucrt, linux int }

var (
	eio    = errno{5, 5} // STATUS_IO_DEVICE_ERROR
	errnos = map[fault.Kind]errno{
		fault.Other:        eio,
		fault.Invalid:      {22, 22},  // EINVAL: STATUS_INVALID_PARAMETER
		fault.NotExist:     {2, 2},    // ENOENT: STATUS_OBJECT_NAME_NOT_FOUND
		fault.Exist:        {17, 17},  // EEXIST: STATUS_OBJECT_NAME_COLLISION
		fault.NotDir:       {20, 20},  // ENOTDIR: STATUS_NOT_A_DIRECTORY
		fault.IsDir:        {21, 21},  // EISDIR: STATUS_FILE_IS_A_DIRECTORY
		fault.NotEmpty:     {41, 39},  // ENOTEMPTY: STATUS_DIRECTORY_NOT_EMPTY
		fault.NameTooLong:  {38, 36},  // ENAMETOOLONG: STATUS_NAME_TOO_LONG
		fault.TooBig:       {27, 27},  // EFBIG: STATUS_DISK_FULL
		fault.NoSpace:      {28, 28},  // ENOSPC: STATUS_DISK_FULL
		fault.Permission:   {13, 13},  // EACCES: STATUS_ACCESS_DENIED
		fault.ReadOnly:     {30, 30},  // EROFS: STATUS_MEDIA_WRITE_PROTECTED
		fault.Corrupt:      eio,       //
		fault.Unreachable:  {110, 5},  // EHOSTUNREACH: STATUS_HOST_UNREACHABLE; EIO on Linux, as on its own front
		fault.Timeout:      {138, 5},  // ETIMEDOUT: STATUS_TRANSACTION_TIMED_OUT
		fault.Conflict:     eio,       //
		fault.Stale:        {2, 116},  // no ESTALE on Windows: what is gone is not found
		fault.Busy:         {16, 16},  // EBUSY: STATUS_DEVICE_BUSY
		fault.Unsupported:  {40, 95},  // ENOSYS: STATUS_INVALID_DEVICE_REQUEST, which WinFsp lets pass where it is no matter; EOPNOTSUPP
		fault.Canceled:     {4, 4},    // EINTR: STATUS_CANCELLED
		fault.CutOff:       {110, 5},  // EHOSTUNREACH
		fault.Closed:       {126, 5},  // ENOTCONN: STATUS_CONNECTION_INVALID
		fault.NotLeader:    eio,       //
		fault.Quota:        {28, 122}, // no EDQUOT on Windows
		fault.TooManyLinks: {31, 31},  // EMLINK: STATUS_TOO_MANY_LINKS
		fault.Cross:        {18, 18},  // EXDEV: STATUS_NOT_SAME_DEVICE
		fault.Loop:         {22, 22},  // rename(2): a directory below itself
		fault.Refused:      {1, 1},    // EPERM: STATUS_ACCESS_DENIED
		fault.Damaged:      eio,       //
		fault.Locked:       {39, 11},  // ENOLCK: STATUS_LOCK_NOT_GRANTED; EAGAIN
		fault.Deadlock:     {36, 35},  // EDEADLK: STATUS_POSSIBLE_DEADLOCK
		fault.TooManyLocks: {39, 37},  // ENOLCK
		fault.Ended:        eio,       //
	}
)

// number returns what a front on Windows, or on Linux, is told of err: the number, not its negative. Kinds that are not
// in the table are EIO.
func number(err error, windows bool) int {
	if err == nil {
		return 0
	}
	no, ok := errnos[fault.KindOf(err)]
	if !ok {
		no = eio
	}
	if windows {
		return no.ucrt
	}
	return no.linux
}
