package peer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// watch looks at every connection at each tick: it pings, and ends what is dead, stuck or forgotten.
func (n *Net) watch(ctx context.Context) {
	tick := time.NewTicker(n.o.Ping)
	defer tick.Stop()
	var conns []*conn
	last := n.clock()
	for round := uint64(1); ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		conns = conns[:0]
		for c := range n.conns {
			conns = append(conns, c)
		}
		n.mu.Unlock()
		now := n.clock()
		// Whoever was stopped himself has heard nobody, and learns nothing from it.
		stopped := time.Duration(now-last) > n.o.Silence/2+n.o.Ping
		last = now
		n.looked.Store(now)
		for _, c := range conns {
			if stopped {
				c.excuse(now)
			}
			if err := c.judge(now); err != nil {
				n.o.Log.Info("link given up", "peer", c.peer.Short(), "bulk", c.bulk, "err", err)
				c.close(err)
			} else if c.dialled && (!c.bulk || round%bulkPingEvery == 0) {
				c.ping()
			}
		}
	}
}

// Silent reports whether a peer that was asked for a sign of life owes one for longer than Options.Quiet, or cannot be
// reached at all: whoever can do without it need not wait for it. It is a guess that costs the peer nothing: its link is given up
// only after Options.Silence. A peer that nothing was wanted from yet is not silent.
func (n *Net) Silent(id cluster.PeerID) bool {
	l := n.known(id)
	if l == nil || id == n.self {
		return false
	}
	p := &l.control
	p.mu.Lock()
	c, fails := p.conn, p.fails
	now := n.clock()
	slow := p.dial != nil && time.Duration(now-p.began) > n.o.Quiet
	p.mu.Unlock()
	stopped := time.Duration(now-n.looked.Load()) > n.o.Quiet/2+n.o.Ping // it is this process that was
	if c == nil || c.ctx.Err() != nil {
		p.peek() // or it would be taken for silent until somebody wants something of it
		return fails > 0 || slow && !stopped
	}
	if stopped {
		return false
	}
	pinged := c.pinged.Load()
	return pinged != 0 && time.Duration(now-max(pinged, c.wire.heard.Load(), c.progress.Load())) > n.o.Quiet
}

// ping asks for a sign of life, unless the last ping has had no answer yet.
func (c *conn) ping() {
	if !c.pinged.CompareAndSwap(0, c.net.clock()) {
		return
	}
	if o, err := c.net.encode(wire.Header{Type: wire.Request, Kind: kindPing}, nil); err == nil {
		c.offer(o) // where the queue is full, no answer within the time says as much
	}
}

// excuse starts the times anew that judge measures.
func (c *conn) excuse(now int64) {
	for _, t := range []*atomic.Int64{&c.pinged, &c.reading, &c.writing} {
		if old := t.Load(); old != 0 {
			t.CompareAndSwap(old, now)
		}
	}
	c.wire.heard.Store(now)
}

// errSilent is why a link is given up whose other side does not answer.
var errSilent = fault.New("link", fault.Timeout, "no sign of life")

func silent(err error) bool { return errors.Is(err, errSilent) }

// judge returns why c must end now, or nil.
func (c *conn) judge(now int64) error {
	since := func(t int64) time.Duration {
		if t == 0 {
			return 0
		}
		return time.Duration(now - t)
	}
	o := &c.net.o
	heard := c.wire.heard.Load()
	switch {
	case since(c.reading.Load()) > o.FrameTime:
		return fault.New("link", fault.Timeout, "a frame did not arrive in time")
	case since(c.writing.Load()) > o.FrameTime:
		return fault.New("link", fault.Timeout, "a frame did not leave in time")
	case !c.dialled && since(heard) > o.Idle:
		return fault.New("link", fault.Timeout, "idle")
	}
	if pinged := c.pinged.Load(); c.dialled && pinged != 0 {
		limit := o.Silence
		if c.bulk {
			limit = o.FrameTime
		}
		if since(max(pinged, heard, c.progress.Load())) > limit {
			return errSilent
		}
	}
	return nil
}
