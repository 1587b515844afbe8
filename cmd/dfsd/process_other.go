//go:build !linux && !windows

package main

import (
	"os"
	"syscall"
)

// dieWithParent gives a process a group of its own. It notices its parent's death by the end of its standard input.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func endWithParent() *syscall.SysProcAttr { return dieWithParent() }

func tellToEnd(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
