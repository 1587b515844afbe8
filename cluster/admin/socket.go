package admin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"dfs/cluster/fault"
)

// SocketName is the control socket's name in the data directory.
const SocketName = "control.sock"

// ListenSocket opens the control socket of data, mode 0600. A socket that a killed daemon left is replaced: the
// caller holds the data directory's lock, so nobody serves it.
func ListenSocket(data string) (net.Listener, error) { return Listen(data, SocketName) }

// Listen opens a unix socket called name in dir, mode 0600, however long dir's path is.
func Listen(dir, name string) (net.Listener, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Because("control socket", fault.Permission, err)
	}
	short, done, err := shorten(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", short)
	if err != nil {
		return nil, fault.Because("control socket", fault.Other, err)
	}
	// The directory is 0700; the mode is set before anything is accepted.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fault.Because("control socket", fault.Permission, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by its short name it could be another's
	return &socket{Listener: l, path: path}, nil
}

// socket removes its file when closed.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Close() error {
	os.Remove(s.path)
	return s.Listener.Close()
}

// Dial connects to the unix socket called name in dir. fault.NotExist: nobody has made it; fault.Unreachable:
// nobody serves it; fault.Permission.
func Dial(ctx context.Context, dir, name string) (net.Conn, error) {
	short, done, err := shorten(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "unix", short)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New("control socket", fault.NotExist, "no daemon runs on %s", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fault.New("control socket", fault.Permission, "%s belongs to another user", dir)
	}
	return nil, fault.New("control socket", fault.Unreachable, "no daemon answers on %s", dir)
}
