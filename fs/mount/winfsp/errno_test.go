package winfsp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dfs/cluster/fault"
)

// kinds returns every kind there is.
func kinds() (all []fault.Kind) {
	for k := fault.Kind(0); !strings.HasPrefix(k.String(), "fault kind"); k++ {
		all = append(all, k)
	}
	return all
}

func TestEveryKindHasANumber(t *testing.T) {
	for _, k := range kinds() {
		if _, ok := errnos[k]; !ok {
			t.Errorf("%v has none", k)
		}
	}
	if n := len(kinds()); n != len(errnos) {
		t.Errorf("%d kinds, %d numbers", n, len(errnos))
	}
}

// ucrt is errno.h of Microsoft's C library.
var ucrt = map[string]int{
	"EPERM": 1, "ENOENT": 2, "EINTR": 4, "EIO": 5, "EACCES": 13, "EBUSY": 16, "EEXIST": 17, "EXDEV": 18, "ENOTDIR": 20,
	"EISDIR": 21, "EINVAL": 22, "EFBIG": 27, "ENOSPC": 28, "EROFS": 30, "EMLINK": 31, "EDEADLK": 36, "ENAMETOOLONG": 38,
	"ENOLCK": 39, "ENOSYS": 40,
	"ENOTEMPTY": 41, "EHOSTUNREACH": 110, "ENOTCONN": 126, "ETIMEDOUT": 138,
}

func TestNumbersOnWindows(t *testing.T) {
	for k, name := range map[fault.Kind]string{
		fault.Invalid: "EINVAL", fault.NotExist: "ENOENT", fault.Exist: "EEXIST", fault.NotDir: "ENOTDIR", fault.IsDir: "EISDIR",
		fault.NotEmpty: "ENOTEMPTY", fault.NameTooLong: "ENAMETOOLONG", fault.TooBig: "EFBIG", fault.NoSpace: "ENOSPC",
		fault.Permission: "EACCES", fault.ReadOnly: "EROFS", fault.Unreachable: "EHOSTUNREACH", fault.Timeout: "ETIMEDOUT",
		fault.Stale: "ENOENT", fault.Busy: "EBUSY", fault.Unsupported: "ENOSYS", fault.Canceled: "EINTR", fault.CutOff: "EHOSTUNREACH",
		fault.Closed: "ENOTCONN", fault.Quota: "ENOSPC", fault.TooManyLinks: "EMLINK", fault.Cross: "EXDEV", fault.Loop: "EINVAL",
		fault.Refused: "EPERM", fault.Other: "EIO", fault.Corrupt: "EIO", fault.Damaged: "EIO", fault.Conflict: "EIO",
		fault.NotLeader: "EIO", fault.Ended: "EIO", fault.Locked: "ENOLCK", fault.Deadlock: "EDEADLK", fault.TooManyLocks: "ENOLCK",
	} {
		if got := number(k, true); got != ucrt[name] {
			t.Errorf("%v: %d, want %s, %d", k, got, name, ucrt[name])
		}
	}
}

func TestNumberOfAnyError(t *testing.T) {
	for _, windows := range []bool{false, true} {
		if got := number(nil, windows); got != 0 {
			t.Errorf("no error: %d", got)
		}
		if got := number(errors.New("boom"), windows); got != 5 {
			t.Errorf("an error without a kind: %d", got)
		}
		if got := number(fmt.Errorf("wrapped: %w", fault.New("x", fault.Exist, "y")), windows); got != 17 {
			t.Errorf("a wrapped error: %d", got)
		}
	}
}
