package admin

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Bounds of every server of ours: connections at once, and the time to ask a question and to be idle after it.
const (
	connsMax  = 128
	askWithin = 5 * time.Second
	idleMax   = 30 * time.Second
)

// Bound bounds a server in connections, and in the time to ask and to be idle. Where there are too many connections, the
// oldest that is not being answered is closed, so that whoever asks gets through, however many just sit there.
func Bound(s *http.Server) { BoundTo(s, connsMax) }

// BoundTo is Bound with another number of connections.
func BoundTo(s *http.Server, conns int) {
	c := &crowd{max: conns}
	s.ConnState = c.state
	s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes = askWithin, idleMax, 16<<10
}

// crowd is the connections that wait for a question, oldest first, and the number of the others.
type crowd struct {
	max     int
	mu      sync.Mutex
	waiting []net.Conn
	asking  map[net.Conn]bool
}

func (c *crowd) state(conn net.Conn, s http.ConnState) {
	if out := c.move(conn, s); out != nil {
		out.Close()
	}
}

// move notes conn's new state and returns the connection that has to go for it, which may be conn.
func (c *crowd) move(conn net.Conn, s http.ConnState) (out net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking == nil {
		c.asking = map[net.Conn]bool{}
	}
	if i := slices.Index(c.waiting, conn); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	delete(c.asking, conn)
	switch s {
	case http.StateActive:
		c.asking[conn] = true
	case http.StateNew, http.StateIdle:
		c.waiting = append(c.waiting, conn)
		if len(c.waiting)+len(c.asking) > c.max {
			out = c.waiting[0]
			c.waiting = c.waiting[1:]
		}
	}
	return out
}

// Hurry wraps a handler of a server that bounds no answer in time: a question must have come whole within a few seconds, whatever path
// it is for. A handler that takes its time calls Asked once it has read the question.
func Hurry(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(askWithin)) // fails only where there are no deadlines
		h.ServeHTTP(w, r)
	})
}

// Asked ends the hurry: the question is read.
func Asked(w http.ResponseWriter) { _ = http.NewResponseController(w).SetReadDeadline(time.Time{}) }
