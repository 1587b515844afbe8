package cli

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// Mounts lists our mounts on this machine, in this process's mount namespace.
func Mounts() ([]Mount, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fault.Because("mounts", fault.Other, err)
	}
	return ParseMounts(table), nil
}

// Detach takes a mount out of the tree at once, whoever still uses it and whether or not its daemon lives.
func Detach(point string) error {
	err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil {
		return nil
	}
	if exec.Command("fusermount3", "-u", "-z", "--", point).Run() == nil {
		return nil
	}
	return fault.Because("unmount "+point, fault.Other, err)
}
