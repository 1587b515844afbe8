package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// Options of Attach.
type Options struct {
	Source     string // what the table shows: the data directory
	Subtype    string // "dfs": the table's type is then fuse.dfs
	AllowOther bool   // other users may look; root's default elsewhere
	MaxRead    int    // bytes of the largest READ
}

// Attach mounts a new FUSE device at point and returns its descriptor, which is close-on-exec: with mount(2) where
// the caller may, else through the setuid helper fusermount3. The kernel's INIT is waiting on it.
func Attach(point string, o Options) (fd int, err error) {
	if os.Geteuid() == 0 {
		return attachRoot(point, o)
	}
	return attachHelper(point, o)
}

func attachRoot(point string, o Options) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fault.Because("open /dev/fuse", fault.Unsupported, err)
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,max_read=%d", fd, o.MaxRead)
	if o.AllowOther {
		opts += ",allow_other"
	}
	if err := unix.Mount(o.Source, point, "fuse."+o.Subtype, unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		unix.Close(fd)
		return -1, fault.Because("mount "+point, kindOf(err), err)
	}
	return fd, nil
}

// attachHelper follows the protocol of fusermount3: the helper opens the device, mounts it, and passes the
// descriptor back over the socket that _FUSE_COMMFD names.
func attachHelper(point string, o Options) (int, error) {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		return -1, fault.New("mount "+point, fault.Unsupported, "only root can mount without fusermount3; install fuse3")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fault.Because("mount "+point, fault.Other, err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "fusermount3")
	opts := []string{"default_permissions", "fsname=" + escape(o.Source), "subtype=" + o.Subtype, fmt.Sprintf("max_read=%d", o.MaxRead)}
	if o.AllowOther {
		opts = append(opts, "allow_other")
	}
	cmd := exec.Command(bin, "-o", strings.Join(opts, ","), "--", point)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.CombinedOutput()
	theirs.Close()
	if err != nil {
		return -1, fault.New("mount "+point, fault.Permission, "fusermount3: %s", strings.TrimSpace(string(out)))
	}
	return receiveFD(pair[0])
}

func receiveFD(sock int) (int, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fault.Because("receive the device", fault.Other, err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return -1, fault.New("receive the device", fault.Other, "no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fault.New("receive the device", fault.Other, "no descriptor came")
	}
	return fds[0], nil
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

// Detach unmounts point. Where it is busy, with force the connection is cut, so that whoever is inside gets errors, and the
// name is free at once; without, fault.Busy. No mount there is no error.
func Detach(point string, force bool) error {
	if at, err := At(point); err != nil || at == nil {
		return err
	}
	if os.Geteuid() != 0 {
		return detachHelper(point, force)
	}
	err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) && force {
		// A forced unmount aborts the connection even if it then finds the mount busy still.
		_ = unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_FORCE)
		err = unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fault.Because("unmount "+point, kindOf(err), err)
	}
	return nil
}

// detachHelper is Detach for users. With force the name is free at once; the connection ends with its last user, or with
// this process.
func detachHelper(point string, force bool) error {
	args := []string{"-u", "--", point}
	if force {
		args = []string{"-u", "-z", "--", point}
	}
	if out, err := exec.Command("fusermount3", args...).CombinedOutput(); err != nil {
		return fault.New("unmount "+point, fault.Busy, "fusermount3: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// CleanStale unmounts what a daemon that is gone left at point: a mount of type fuse.subtype whose root no
// longer answers. A mount that answers, or one of another type, is left alone. The look at the root is given up after
// a second: then somebody serves it, if slowly.
func CleanStale(point, subtype string) (cleaned bool, err error) {
	at, err := At(point)
	if err != nil || at == nil || at.Type != "fuse."+subtype {
		return false, err
	}
	dead := make(chan bool, 1)
	// The one goroutine that may outlive its call: the kernel may keep a statfs as long as a daemon keeps silent.
	go func() {
		var st unix.Statfs_t
		err := unix.Statfs(point, &st)
		dead <- errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
	}()
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	select {
	case is := <-dead:
		if !is {
			return false, nil
		}
	case <-wait.C:
		return false, nil
	}
	return true, detachLazily(point)
}

func detachLazily(point string) error {
	if os.Geteuid() != 0 {
		return detachHelper(point, true)
	}
	if err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
		return fault.Because("unmount "+point, kindOf(err), err)
	}
	return nil
}

// Readahead raises the kernel's read-ahead on device to bytes; only root may. 128 KiB, the default, means one
// small request in flight.
func Readahead(device string, bytes int) error {
	name := "/sys/class/bdi/" + device + "/read_ahead_kb"
	if err := os.WriteFile(name, fmt.Appendf(nil, "%d", bytes>>10), 0o644); err != nil {
		return fault.Because("raise readahead", fault.Unsupported, err)
	}
	return nil
}

func kindOf(err error) fault.Kind {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fault.Permission
	case errors.Is(err, unix.ENOENT):
		return fault.NotExist
	case errors.Is(err, unix.ENOTDIR):
		return fault.NotDir
	case errors.Is(err, unix.EBUSY):
		return fault.Busy
	case errors.Is(err, unix.ENODEV):
		return fault.Unsupported
	}
	return fault.Other
}
