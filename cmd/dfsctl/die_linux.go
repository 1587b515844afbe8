package main

import (
	"os/exec"
	"syscall"
)

// dieWith has a command end with dfsctl, also if that is killed: what it runs under is given back then.
func dieWith(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
