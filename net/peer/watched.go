package peer

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// watched is the raw connection. It notes when bytes came last, and can write without waiting: what the system does
// not take then it keeps, at most one record, for drain.
type watched struct {
	net.Conn
	net   *Net
	raw   syscall.RawConn // nil: there is no writing without waiting
	heard atomic.Int64    // clock
	hurry atomic.Bool     // write without waiting

	mu   sync.Mutex // held while writing
	rest []byte
}

func (n *Net) watched(raw net.Conn) *watched {
	w := &watched{Conn: raw, net: n}
	if s, ok := raw.(syscall.Conn); ok && canWriteNow {
		w.raw, _ = s.SyscallConn()
	}
	w.heard.Store(n.clock())
	return w
}

// Read implements net.Conn.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(w.net.clock())
	}
	return n, err
}

// Write implements net.Conn.
func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hurry.Load() {
		n := 0
		if len(w.rest) == 0 {
			var err error
			if n, err = writeNow(w.raw, p); err != nil {
				return n, err
			}
		}
		w.rest = append(w.rest, p[n:]...)
		return len(p), nil
	}
	if err := w.drainLocked(); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// prompt reports whether now may be called.
func (w *watched) prompt() bool { return w.raw != nil }

// now runs write, in which no Write waits, and reports whether something is left for drain.
func (w *watched) now(write func() error) (left bool, err error) {
	w.hurry.Store(true)
	err = write()
	w.hurry.Store(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rest) > 0, err
}

// drain writes what was left.
func (w *watched) drain() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drainLocked()
}

func (w *watched) drainLocked() error {
	rest := w.rest
	w.rest = nil
	if len(rest) == 0 {
		return nil
	}
	_, err := w.Conn.Write(rest)
	return err
}
