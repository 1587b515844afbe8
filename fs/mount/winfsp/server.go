//go:build windows || (linux && cgo && fuse3)

package winfsp

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/winfsp/cgofuse/fuse"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/meta"
	"dfs/fs/mount"
	"dfs/fs/vfs"
)

// Server is one mount.
type Server struct {
	point  string
	o      Options
	fuse   *fuse.FileSystemHost
	tree   *tree
	teller *teller
	giveUp context.CancelFunc // ends the requests that wait

	ended chan struct{} // closed when cgofuse has returned
	err   error         // set before

	mu   sync.RWMutex // held while cgofuse is told something, so that the mount does not end meanwhile
	live bool
}

var _ coherence.Kernel = (*Server)(nil)

// Mount makes fs appear at point, a place that mount.Check passes, and answers requests from then on; cgofuse cannot do the one without
// the other. Run must follow: it is what ends it. fault.Unsupported where WinFsp is missing, with what to do.
func Mount(ctx context.Context, point string, fs *vfs.FS, o Options) (*Server, error) {
	o.setDefaults()
	if err := mount.Ready(); err != nil { // cgofuse would panic
		return nil, err
	}
	if err := mount.Check(point); err != nil {
		return nil, err
	}
	requests, giveUp := context.WithCancel(context.Background())
	s := &Server{point: point, o: o, tree: newTree(requests, fs, o.Windows), giveUp: giveUp, ended: make(chan struct{})}
	s.teller = newTeller(s.tree, s.tell)
	up := make(chan struct{})
	h := &host{
		tree: s.tree,
		up: func() {
			s.alive(true)
			close(up)
		},
		down: func() { s.alive(false) },
	}
	s.fuse = fuse.NewFileSystemHost(h)
	s.fuse.SetCapCaseInsensitive(o.Windows)
	s.fuse.SetCapReaddirPlus(true)
	s.fuse.SetCapDeleteAccess(true)
	s.fuse.SetCapOpenTrunc(true)
	s.fuse.SetUseIno(true)
	go s.serve() // Run waits for its end
	select {
	case <-up:
		return s, nil
	case <-s.ended:
	case <-ctx.Done():
		select {
		case <-up: // before that there is nothing to unmount
			_ = s.Unmount()
			<-s.ended
		case <-s.ended:
		}
	}
	giveUp()
	if s.err == nil {
		s.err = fault.Because("mount "+point, fault.Canceled, ctx.Err())
	}
	return nil, s.err
}

// serve mounts, answers requests, and returns when the file system is unmounted.
func (s *Server) serve() {
	defer close(s.ended)
	defer func() { // cgofuse panics where the library it loads lacks something
		if r := recover(); r != nil {
			s.err = fault.New("mount "+s.point, fault.Unsupported, "%v", r)
		}
	}()
	if !s.fuse.Mount(s.point, s.o.arguments(runtime.GOOS == "windows")) {
		s.err = fault.Advise(fault.New("mount "+s.point, fault.Other, "the file system was refused"), refused)
	}
}

func (s *Server) alive(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = is
}

// How long requests that wait may go on once the file system is being unmounted.
const leaveWait = 2 * time.Second

// Run tells Windows of changes until the file system is unmounted, by ctx's end or by anybody, and returns when the last request
// has been answered.
func (s *Server) Run(ctx context.Context) error {
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tells sync.WaitGroup
	tells.Go(func() { s.teller.run(telling) })
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.leave()
	}
	stop()
	s.giveUp()
	tells.Wait()
	return s.err
}

// leave unmounts, and ends the requests that keep the mount up: they wait for a cluster that cannot be reached.
func (s *Server) leave() {
	_ = s.Unmount()
	late := time.NewTimer(leaveWait)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		s.o.Log.Warn("requests are still waiting: given up", "point", s.point)
		s.giveUp()
		<-s.ended
	}
}

// Unmount takes the mount out of sight and ends Run. Unmounted already is no error.
func (s *Server) Unmount() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.live && !s.fuse.Unmount() {
		return fault.New("unmount "+s.point, fault.Busy, "it was refused")
	}
	return nil
}

// Point returns where the file system is mounted.
func (s *Server) Point() string { return s.point }

// Epoch says that all names can be forgotten at once: the Windows kernel keeps none.
func (s *Server) Epoch() bool { return true }

// Guard says that nothing outlasts a lease here, for the kernel keeps nothing.
func (s *Server) Guard() coherence.Guard { return nil }

// Inodes returns how many inodes are known by a path.
func (s *Server) Inodes() int { return s.tree.seen.len() }

// Has implements coherence.Kernel: the inodes somebody may want to hear of.
func (s *Server) Has(ino meta.Ino) bool {
	_, ok := s.tree.seen.path(ino)
	return ok
}

// InvalAttrNow implements coherence.Kernel. There is nothing to invalidate, and nobody waits for those who are told.
func (s *Server) InvalAttrNow(ino meta.Ino) bool {
	s.teller.hear(event{ino: ino})
	return true
}

// InvalInode implements coherence.Kernel. Bytes change together with attributes.
func (s *Server) InvalInode(meta.Ino, int64, int64) error { return nil }

// InvalEntry implements coherence.Kernel.
func (s *Server) InvalEntry(dir meta.Ino, name string) error {
	s.teller.hear(event{ino: dir, name: name})
	return nil
}

// ExpireEpoch implements coherence.Kernel.
func (s *Server) ExpireEpoch() error { return nil }

// Remembered implements coherence.Kernel: the kernel holds nothing.
func (s *Server) Remembered() []meta.Ino { return nil }

// actions is what programs are told.
var actions = map[sort]uint32{
	changed: fuse.NOTIFY_UTIME | fuse.NOTIFY_TRUNCATE | fuse.NOTIFY_CHFLAGS, fileMade: fuse.NOTIFY_CREATE, dirMade: fuse.NOTIFY_MKDIR,
	fileGone: fuse.NOTIFY_UNLINK, dirGone: fuse.NOTIFY_RMDIR,
}

func (s *Server) tell(path string, what sort) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.live {
		s.fuse.Notify(path, actions[what])
	}
}
