package fuse

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A request may wait for minutes while this peer is cut off. The kernel interrupts it at any signal, also one that the
// program only takes note of and for which no call of it may fail; and it lets a program that is being killed wait for the
// answer all the same. So a request ends early only when whoever made it is dying, and that is looked up: a killing signal is
// pending, or the process is closing its files on its way out.

// lookEvery is the time between two looks at the programs that wait.
const lookEvery = 200 * time.Millisecond

// call is the context of one request: it ends when the thread that made it is dying. Until somebody waits with it, it is
// nothing but a number.
type call struct {
	calls *calls
	pid   uint32 // of the thread; 0 where the kernel does not say

	mu   sync.Mutex
	ctx  context.Context // nil until somebody waits
	stop context.CancelFunc
}

var _ context.Context = (*call)(nil)

// calls are the requests that somebody waits in.
type calls struct {
	mu   sync.Mutex
	wait map[*call]struct{}
}

// call begins a request. End it.
func (r *raw) call(h *fuse.InHeader) *call { return &call{calls: &r.calls, pid: h.Pid} }

// end says that the request is being answered.
func (c *call) end() {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	c.calls.mu.Lock()
	delete(c.calls.wait, c)
	c.calls.mu.Unlock()
}

// Done implements context.Context.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.stop = context.WithCancel(background)
		c.calls.mu.Lock()
		if c.calls.wait == nil {
			c.calls.wait = map[*call]struct{}{}
		}
		c.calls.wait[c] = struct{}{}
		c.calls.mu.Unlock()
	}
	return c.ctx.Done()
}

// inner is the context behind it; nobody who has not waited can see it end.
func (c *call) inner() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		return background
	}
	return c.ctx
}

// Err implements context.Context.
func (c *call) Err() error { return c.inner().Err() }

// Value implements context.Context.
func (c *call) Value(key any) any { return c.inner().Value(key) }

// Deadline implements context.Context.
func (c *call) Deadline() (time.Time, bool) { return time.Time{}, false }

// run ends the requests of the dying until ctx ends.
func (cs *calls) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var before []*call // those that were there at the last look: most requests never see two
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := cs.all()
		for _, c := range now {
			if slices.Contains(before, c) && dying(c.pid) {
				c.stop()
			}
		}
		before = now
	}
}

func (cs *calls) all() []*call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	out := make([]*call, 0, len(cs.wait))
	for c := range cs.wait {
		out = append(out, c)
	}
	return out
}

// dying reports whether the thread has a killing signal pending or is on its way out. One that is not to be seen is not.
func dying(pid uint32) bool {
	if pid == 0 {
		return false
	}
	// Not its stat: that waits for a program which is being started, and that may wait for us.
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	return err == nil && dyingStatus(string(text))
}

// dyingStatus reads a proc_pid_status(5). A thread that has given up its memory, and is none of the kernel's, is closing its files.
func dyingStatus(text string) bool {
	var pending uint64
	memory, kernel := false, false
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "SigPnd", "ShdPnd":
			n, _ := strconv.ParseUint(value, 16, 64)
			pending |= n
		case "VmSize":
			memory = true
		case "PPid":
			kernel = kernel || value == "2" || value == "0"
		case "Kthread":
			kernel = kernel || value == "1"
		}
	}
	return pending&(1<<(uint(unix.SIGKILL)-1)) != 0 || !memory && !kernel && text != ""
}
