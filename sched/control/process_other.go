//go:build !linux

package control

import (
	"os"
	"runtime"
	"syscall"
)

// started says whether a process is there; which start of it, this system is not asked.
func started(pid int) string {
	p, err := os.FindProcess(pid)
	if err != nil {
		return "gone"
	}
	defer p.Release()
	if runtime.GOOS != "windows" && p.Signal(syscall.Signal(0)) != nil {
		return "gone"
	}
	return "there"
}
