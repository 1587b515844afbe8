package mount

import (
	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// SetReadOnly marks the mount at point read-only, or not: the kernel then refuses whatever would write, and statfs(2) and the table say
// so. Nothing is asked of the file system itself. fault.Busy while somebody has a file there open for writing,
// fault.Permission for who is not root.
func SetReadOnly(point string, on bool) error {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if on {
		attr = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, point, 0, &attr); err != nil {
		return fault.Because("mark "+point, kindOf(err), err)
	}
	return nil
}
