package control

import (
	"bytes"
	"fmt"
	"os"
)

// started names one start of a process: pids are used again. "gone" if it has ended, be it that nobody has taken note.
func started(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	var rest []byte // behind the name, which may hold anything
	if i := bytes.LastIndex(stat, []byte(") ")); i >= 0 {
		rest = stat[i+2:]
	}
	fields := bytes.Fields(rest)
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return "gone"
	}
	return string(fields[19])
}
