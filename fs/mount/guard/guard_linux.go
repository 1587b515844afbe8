package guard

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
)

// Descriptors of the guard's process, besides the usual three.
const (
	pageFD   = 3 // the shared page
	lifeFD   = 4 // the socket whose end is the daemon's
	deviceFD = 5 // the mount's
)

const (
	pageBytes = 4096
	detached  = "--detached"     // the second of the two processes a start takes
	name      = "dfs-guard"      // as ps shows it
	startMax  = 10 * time.Second // for the guard's first word
)

// Guard is a mount's guard, as its daemon sees it.
type Guard struct {
	page  []byte
	lease *atomic.Int64 // in page: when the lease ends, by CLOCK_BOOTTIME
	gone  chan struct{}

	mu   sync.Mutex
	life *os.File // nil: closed
}

var _ coherence.Guard = (*Guard)(nil)

// Start starts a guard for the FUSE device that is open as fd, which remains the caller's. program is the command that calls Main. It returns
// when the guard is at work. Close it.
func Start(fd int, program ...string) (*Guard, error) {
	g, err := start(fd, program)
	return g, fault.Wrap("start guard", err)
}

func start(fd int, program []string) (*Guard, error) {
	memory, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	shared := os.NewFile(uintptr(memory), "page")
	defer shared.Close()
	if err := shared.Truncate(pageBytes); err != nil {
		return nil, err
	}
	page, err := unix.Mmap(memory, 0, pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	g := &Guard{page: page, lease: leaseIn(page), gone: make(chan struct{})}
	if err := g.launch(shared, fd, program); err != nil {
		return nil, errors.Join(err, unix.Munmap(page))
	}
	return g, nil
}

// launch starts the process and waits for its first word.
func (g *Guard) launch(page *os.File, device int, program []string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "life"), os.NewFile(uintptr(pair[1]), "life")
	defer theirs.Close()
	dup, err := unix.FcntlInt(uintptr(device), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		ours.Close()
		return err
	}
	dev := os.NewFile(uintptr(dup), "device")
	defer dev.Close()
	cmd := process(program, page, theirs, dev)
	if err := cmd.Run(); err != nil {
		ours.Close()
		return err
	}
	theirs.Close() // or its end would never be seen here
	var word [1]byte
	if err := errors.Join(ours.SetReadDeadline(time.Now().Add(startMax)), read(ours, word[:])); err != nil {
		ours.Close()
		return err
	}
	if err := ours.SetReadDeadline(time.Time{}); err != nil {
		ours.Close()
		return err
	}
	g.life = ours
	go func() { // ends with the guard, or with Close
		defer close(g.gone)
		_ = read(ours, word[:])
	}()
	return nil
}

func read(f *os.File, p []byte) error {
	_, err := f.Read(p)
	return err
}

// process is a command that gets the guard's descriptors. One thread is enough for it.
func process(program []string, files ...*os.File) *exec.Cmd {
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Args[0] = name
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func leaseIn(page []byte) *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(unsafe.SliceData(page))) // a page begins at a page's boundary
}

// Watch implements coherence.Guard.
func (g *Guard) Watch(lease time.Duration) { g.lease.Store(int64(lease)) }

// Gone implements coherence.Guard.
func (g *Guard) Gone() <-chan struct{} { return g.gone }

// Close ends the guard. The page stays mapped, for a Watch that comes late.
func (g *Guard) Close() error {
	g.mu.Lock()
	life := g.life
	g.life = nil
	g.mu.Unlock()
	if life == nil {
		return nil
	}
	err := life.Close()
	<-g.gone
	return err
}

// Main is the guard's process, given what follows the program in its command line. It returns when the daemon has ended.
func Main(args []string) error {
	files := []*os.File{os.NewFile(pageFD, "page"), os.NewFile(lifeFD, "life"), os.NewFile(deviceFD, "device")}
	if len(args) == 0 || args[len(args)-1] != detached {
		cmd := process(append(append([]string{"/proc/self/exe"}, args...), detached), files...)
		return fault.Wrap("guard", cmd.Start()) // and leave it alone: nobody is its parent then
	}
	page, err := unix.Mmap(pageFD, 0, pageBytes, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fault.Because("guard", fault.Invalid, err)
	}
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0) // for people only
	// Who ends a service asks all of its processes to end. This one goes last.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	if _, err := unix.Write(lifeFD, []byte{1}); err != nil {
		return fault.Because("guard", fault.Invalid, err)
	}
	return fault.Wrap("guard", watch(leaseIn(page)))
}

// watch expires the mount's names when it is time to, until the mount has gone or the daemon has ended, and then once more: a kernel whose
// daemon is gone answers what it can all the same.
func watch(lease *atomic.Int64) error {
	for {
		now, err := boottime()
		if err != nil {
			return err
		}
		expire, wait := coherence.GuardDue(now, time.Duration(lease.Load()))
		if expire {
			if err := expireEpoch(); err == unix.ENODEV || err == unix.ENOTCONN {
				return nil
			} else if err != nil {
				return err
			}
		}
		over, err := sleep(wait)
		if err != nil {
			return err
		}
		if over {
			_ = expireEpoch() // fails where the mount has gone
			return nil
		}
	}
}

func boottime() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano()), err
}

// sleep reports whether the daemon has ended meanwhile.
func sleep(d time.Duration) (over bool, err error) {
	ts := unix.NsecToTimespec(int64(d))
	n, err := unix.Ppoll([]unix.PollFd{{Fd: lifeFD, Events: unix.POLLIN}}, &ts, nil)
	if err == unix.EINTR {
		return false, nil
	}
	return n > 0, err
}

// expireEpoch writes FUSE_NOTIFY_INC_EPOCH: a bare header, whose code has no request's number beside it.
func expireEpoch() error {
	const notifyIncEpoch = 8
	var msg [16]byte
	binary.NativeEndian.PutUint32(msg[0:], uint32(len(msg)))
	binary.NativeEndian.PutUint32(msg[4:], notifyIncEpoch)
	_, err := unix.Write(deviceFD, msg[:])
	return err
}
