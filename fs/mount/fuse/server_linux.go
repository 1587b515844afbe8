package fuse

import (
	"context"
	"encoding/binary"
	"log"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/mount/guard"
	"dfs/fs/vfs"
)

// extraCaps is what go-fuse does not ask the kernel for by itself.
const extraCaps = fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ASYNC_DIO | fuse.CAP_DIRECT_IO_ALLOW_MMAP |
	fuse.CAP_POSIX_ACL | fuse.CAP_DONT_MASK | fuse.CAP_SETXATTR_EXT

// Server is one mount.
type Server struct {
	point  string
	device string // "major:minor"
	o      Options
	raw    *raw
	fuse   *fuse.Server
	epoch  bool
	guard  *guard.Guard // nil: there is none

	mu  sync.Mutex
	dup int // our own descriptor of the device; -1 closed
}

var _ coherence.Kernel = (*Server)(nil)

// Mount makes fs appear at point, which must pass mount.Check, after what a crashed daemon left there has been cleared.
// Requests are answered from when Run is called; until then they wait.
func Mount(_ context.Context, point string, fs *vfs.FS, o Options) (*Server, error) {
	o.setDefaults()
	if cleaned, err := mount.CleanStale(point, Subtype); err != nil {
		return nil, err
	} else if cleaned {
		o.Log.Info("cleared a stale mount", "point", point)
	}
	if err := mount.Check(point); err != nil {
		return nil, err
	}
	root := os.Geteuid() == 0
	fd, err := mount.Attach(point, mount.Options{
		Source: o.Source, Subtype: Subtype, AllowOther: o.AllowOther || root, MaxRead: requestBytes,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{point: point, o: o, raw: newRaw(fs)}
	if s.dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		s.fuse, err = fuse.NewServer(s.raw, "/dev/fd/"+strconv.Itoa(fd), s.options())
	}
	if err != nil {
		unix.Close(s.dup)
		_ = mount.Detach(point, true)
		return nil, fault.Because("mount "+point, fault.Other, err)
	}
	s.raw.setxattrExt = s.fuse.KernelSettings().Flags64()&fuse.CAP_SETXATTR_EXT != 0
	s.epoch = !o.NoEpoch && s.fuse.KernelSettings().Minor >= epochMinor
	if at, err := mount.At(point); err == nil && at != nil {
		s.device = at.Device
	}
	if s.epoch && len(o.Guard) > 0 {
		if s.guard, err = guard.Start(s.dup, o.Guard...); err != nil {
			o.Log.Warn("the mount has no guard: its kernel keeps names and attributes for a lease's length only", "err", err)
		}
	}
	if root && s.device != "" {
		if err := mount.Readahead(s.device, o.Readahead); err != nil {
			o.Log.Warn("the kernel reads ahead 128 KiB only", "err", err)
		}
	}
	return s, nil
}

func (s *Server) options() *fuse.MountOptions {
	return &fuse.MountOptions{
		Name:              Subtype,
		FsName:            s.o.Source,
		MaxWrite:          requestBytes,
		MaxBackground:     s.o.Background,
		DisableSplice:     true, // bytes come from memory: a pipe would only cost
		EnableLocks:       true,
		ExtraCapabilities: extraCaps,
		Debug:             s.o.Debug,
		Logger:            log.New(lines{s.o.Log}, "", 0),
	}
}

// lines turns go-fuse's log lines into records.
type lines struct{ log *slog.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Debug("fuse", "line", string(p))
	return len(p), nil
}

// Run answers requests until the file system is unmounted, by ctx's end or by anybody, and returns when the last request has
// been answered.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.fuse.Serve()
	}()
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	var looks sync.WaitGroup
	looks.Go(func() { s.raw.calls.run(looking) })
	var err error
	select {
	case <-served:
	case <-ctx.Done():
		err = s.leave(served)
	}
	stop()
	looks.Wait()
	if s.epoch { // who stays inside a mount that was cut off is told what its kernel knows, lease or not
		if err := s.ExpireEpoch(); err != nil {
			s.o.Log.Warn("names may be answered for a while after the mount's end", "err", err)
		}
	}
	if s.guard != nil {
		s.guard.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Close(s.dup)
	s.dup = -1
	return err
}

const (
	busyWait  = 2 * time.Second // how long users of the mount are asked to leave
	forceWait = 2 * time.Second // how long a cut connection may take to end
)

// leave unmounts: kindly while nobody is inside, and by cutting the connection when somebody stays.
func (s *Server) leave(served <-chan struct{}) error {
	try := time.NewTicker(50 * time.Millisecond)
	defer try.Stop()
	end := time.NewTimer(busyWait)
	defer end.Stop()
	for s.unmount(false) != nil {
		select {
		case <-served:
			return nil
		case <-try.C:
			continue
		case <-end.C:
		}
		s.o.Log.Warn("mount is in use; cutting it off", "point", s.point)
		if err := s.unmount(true); err != nil {
			return err
		}
		break
	}
	t := time.NewTimer(forceWait)
	defer t.Stop()
	select {
	case <-served:
		return nil
	case <-t.C:
		return fault.New("unmount "+s.point, fault.Busy, "somebody is still inside; the connection ends with this process")
	}
}

// Unmount takes the mount out of sight and ends Run; whoever is inside gets errors. Unmounted already is no error.
func (s *Server) Unmount() error { return s.unmount(true) }

func (s *Server) unmount(force bool) error {
	at, err := mount.At(s.point)
	if err != nil || at == nil || at.Device != s.device {
		return err
	}
	return mount.Detach(s.point, force)
}

// Point returns where the file system is mounted.
func (s *Server) Point() string { return s.point }

// Epoch reports whether ExpireEpoch works here.
func (s *Server) Epoch() bool { return s.epoch }

// Guard returns the mount's guard; nil if it has none.
func (s *Server) Guard() coherence.Guard {
	if s.guard == nil {
		return nil
	}
	return s.guard
}

// Inodes returns how many inodes the kernel has references to, the root not counted.
func (s *Server) Inodes() int { return s.raw.refs.len() }

// Remembered returns the inodes the kernel has references to, for when all of them must be invalidated.
func (s *Server) Remembered() []meta.Ino { return s.raw.refs.all() }

// Has implements coherence.Kernel.
func (s *Server) Has(ino meta.Ino) bool { return s.raw.refs.has(ino) }

// InvalAttrNow implements coherence.Kernel.
func (s *Server) InvalAttrNow(ino meta.Ino) bool {
	counted := s.raw.refs.has(ino)
	switch st := s.fuse.InodeNotify(uint64(ino), -1, 0); st {
	case fuse.ENOENT:
		return !counted
	default:
		return notified("invalidate inode", st) == nil
	}
}

// installMax bounds the wait for a reply that is on its way to install an inode. Between the reading of a state and the kernel's
// taking it nothing waits, so only a stalled machine needs so long; after it, the mount loses its lease rather than that the change is said to be
// taken in.
const installMax = 500 * time.Millisecond

// InvalInode implements coherence.Kernel. While we have given the kernel a reference and it says it does not know the inode, our answer is
// still on its way: then it is told again.
func (s *Server) InvalInode(ino meta.Ino, off, n int64) error {
	waited, pause := time.Duration(0), time.Duration(0)
	for {
		// Asked before the kernel is: what is counted later is read later.
		counted := s.raw.refs.has(ino)
		st := s.fuse.InodeNotify(uint64(ino), off, n)
		if st != fuse.ENOENT {
			return notified("invalidate inode", st)
		}
		if !counted {
			return nil
		}
		if waited >= installMax {
			return fault.New("invalidate inode", fault.Timeout, "the kernel was given inode %d and does not know it", ino)
		}
		time.Sleep(pause)
		waited += pause
		pause = min(max(2*pause, 10*time.Microsecond), time.Millisecond)
	}
}

// InvalEntry implements coherence.Kernel.
func (s *Server) InvalEntry(dir meta.Ino, name string) error {
	// A directory or name the kernel does not have needs no telling again: a reply with the name on its way holds
	// the directory's lock, for which the notify has waited.
	st := s.fuse.EntryNotify(uint64(dir), name)
	if st == fuse.ENOENT {
		return nil
	}
	return notified("invalidate name", st)
}

// notified turns the kernel's word on a notify into an error. A file system that is gone keeps nothing.
func notified(op string, st fuse.Status) error {
	switch st {
	case fuse.OK, fuse.ENODEV, fuse.EBADF, fuse.Status(unix.ENOTCONN), fuse.Status(unix.ENOTEMPTY):
		return nil
	}
	return fault.New(op, fault.Other, "%v", st)
}

// ExpireEpoch implements coherence.Kernel. go-fuse does not know this notify: it is a bare header, written to our own descriptor.
func (s *Server) ExpireEpoch() error {
	if !s.epoch {
		return fault.New("expire epoch", fault.Unsupported, "needs Linux 6.16")
	}
	const notifyIncEpoch = 8
	var msg [16]byte
	binary.NativeEndian.PutUint32(msg[0:], uint32(len(msg)))
	binary.NativeEndian.PutUint32(msg[4:], notifyIncEpoch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dup < 0 {
		return nil
	}
	// Under the lock, which only the end of Run takes besides: the kernel answers in microseconds.
	if _, err := unix.Write(s.dup, msg[:]); err != nil && err != unix.ENODEV && err != unix.ENOTCONN {
		return fault.Because("expire epoch", fault.Other, err)
	}
	return nil
}
