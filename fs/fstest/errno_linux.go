package fstest

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName returns the name of a system call's error.
func errnoName(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return unix.ErrnoName(no)
	}
	return fmt.Sprint(err)
}
