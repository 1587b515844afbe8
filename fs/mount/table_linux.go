package mount

import (
	"os"

	"dfs/cluster/fault"
)

// Table returns this process's mounts, lower ones first.
func Table() ([]Info, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fault.Because("mount table", fault.Unsupported, err)
	}
	defer f.Close()
	return Parse(f)
}
