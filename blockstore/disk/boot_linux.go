package disk

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// BootID returns the kernel's random id of this boot, and which mount of a file system dir lies on; or "". A disk that
// was unplugged, or a file system that stopped, loses what was not synced although the kernel lives on: it comes back as
// another mount. (A mount namespace of one's own is another mount as well; that costs a replay.)
func BootID(dir string) string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID_UNIQUE, &x); err != nil {
		return ""
	}
	id := strings.TrimSpace(string(b))
	if x.Mask&(unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE) == 0 {
		return id // before Linux 5.8
	}
	return fmt.Sprintf("%s mount %d", id, x.Mnt_id)
}
