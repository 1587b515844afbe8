package main

import (
	"os"
	"syscall"
)

// dieWithParent gives a process a group of its own, so that Ctrl-C reaches it through its parent and in order, and has
// the kernel kill it when its parent is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// endWithParent is dieWithParent for processes that must clean up: they are told to end.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func tellToEnd(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
