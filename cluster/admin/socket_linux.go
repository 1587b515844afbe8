package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
)

// socketPathMax is the longest path the kernel takes for a unix socket, its ending zero left out.
const socketPathMax = 107

// shorten returns a name for dir/name that fits into a socket address, valid until done is called.
func shorten(dir, name string) (short string, done func(), err error) {
	path := filepath.Join(dir, name)
	if len(path) <= socketPathMax {
		return path, func() {}, nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fault.New("control socket", fault.NotExist, "there is no directory %s", dir)
	}
	if err != nil {
		return "", nil, fault.Because("control socket", fault.Other, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", fd, name), func() { unix.Close(fd) }, nil
}
