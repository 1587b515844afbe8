package main

import (
	"os"
	"syscall"
)

// dieWithParent gives a process a group of its own. It notices its parent's death by the end of its standard input.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func endWithParent() *syscall.SysProcAttr { return dieWithParent() }

// tellToEnd has nothing to send: the end of standard input is the message.
func tellToEnd(*os.Process) error { return nil }
