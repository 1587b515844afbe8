package mount

import (
	"errors"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// Ready says whether this process could mount a drive anywhere. fault.Unsupported and Permission, with advice.
func Ready() error {
	const op, device = "mount", "/dev/fuse"
	const load = "modprobe fuse (in a container: start it with --device /dev/fuse --cap-add SYS_ADMIN), or --no-mount"
	var st unix.Stat_t
	err := unix.Stat(device, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fault.Advise(fault.New(op, fault.Unsupported, "there is no %s: this system has no FUSE", device), load)
	case err != nil:
		return fault.Advise(fault.Because(op, fault.Unsupported, err), load)
	case st.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(st.Rdev) != 10 || unix.Minor(st.Rdev) != 229:
		return fault.Advise(fault.New(op, fault.Unsupported, "%s is not the FUSE device", device), load)
	}
	if os.Geteuid() != 0 { // the helper opens the device by its own right
		if _, err := exec.LookPath("fusermount3"); err != nil {
			return fault.Advise(fault.New(op, fault.Unsupported, "only root can mount without fusermount3"), "apt-get install fuse3, or --no-mount")
		}
		return nil
	}
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.Advise(fault.New(op, fault.Unsupported, "%s does not open: %v", device, err), load)
	}
	unix.Close(fd)
	return nil
}
