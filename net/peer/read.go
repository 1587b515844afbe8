package peer

import (
	"bufio"
	"context"
	"time"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// read receives frames until the connection ends, and returns why.
func (c *conn) read() error {
	r := bufio.NewReaderSize(c.tls, bufferBytes)
	frames := wire.NewFrameReader(r, c.net.o.Limits)
	for {
		if r.Buffered() == 0 {
			c.reading.Store(0)
			if _, err := r.Peek(1); err != nil {
				return err
			}
		}
		c.reading.Store(c.net.clock())
		h, err := frames.Header()
		if err != nil {
			return err
		}
		switch {
		case h.Type == wire.Notice:
			err = c.readNotice(frames, h)
		case h.Type == wire.Request && !c.dialled:
			err = c.readRequest(frames, h)
		case h.Type != wire.Request && c.dialled:
			err = c.readAnswer(frames, h)
		default:
			err = fault.New("link", fault.Invalid, "%v from the wrong side", h.Type)
		}
		if err != nil {
			return err
		}
	}
}

// readAnswer hands a reply to the call that waits for it, if it still does.
func (c *conn) readAnswer(frames *wire.FrameReader, h wire.Header) error {
	body, err := frames.Body(h)
	if err != nil {
		return err
	}
	a := answer{kind: h.Kind, body: body}
	if h.Type == wire.Failure {
		var f wire.Failed
		if err := f.Decode(body.Fields); err != nil {
			return err
		}
		a.err = f.Err
	}
	if h.Kind == kindPing {
		if sent := c.pinged.Swap(0); sent != 0 && c.pong != nil {
			c.pong(sent)
		}
		return nil
	}
	c.mu.Lock()
	call := c.calls[h.ID]
	delete(c.calls, h.ID)
	c.mu.Unlock()
	if call != nil {
		call <- a // has room for one, and gets one
	}
	return nil
}

func (c *conn) readNotice(frames *wire.FrameReader, h wire.Header) error {
	body, err := frames.Body(h)
	if err != nil {
		return err
	}
	switch {
	case h.Kind == kindCancel && !c.dialled:
		c.mu.Lock()
		cancel := c.serving[h.ID]
		c.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	case h.Kind < wire.KindJoin: // busy, or of a newer version: that it came is all it says
	case c.dialled || c.bulk:
		return fault.New("link", fault.Invalid, "notice on the wrong connection")
	default:
		c.receive(note{kind: h.Kind, body: body})
	}
	return nil
}

// receive handles a notice, if it may be handled here and none waits before it; else it queues it, or drops it where too
// many wait.
func (c *conn) receive(n note) {
	if c.net.isPrompt(n.kind) && c.unhandled.Load() == 0 && c.first() {
		c.net.notify(c.ctx, c.peer, n)
		return
	}
	if !c.noticeRoom.TryAcquire(n.bytes()) {
		c.net.o.Log.Debug("notice dropped", "peer", c.peer.Short(), "kind", n.kind)
		return
	}
	c.unhandled.Add(1)
	select {
	case c.notices <- n:
	default:
		c.unhandled.Add(-1)
		c.noticeRoom.Release(n.bytes())
		c.net.o.Log.Debug("notice dropped", "peer", c.peer.Short(), "kind", n.kind)
	}
}

// first reports whether the notices of the connection before are all handled.
func (c *conn) first() bool {
	if c.after == nil {
		return true
	}
	select {
	case <-c.after:
		return true
	default:
		return false
	}
}

// handleNotices handles notices one by one, after those of the connection before.
func (c *conn) handleNotices() {
	if c.after != nil {
		<-c.after
	}
	for {
		select {
		case <-c.ctx.Done():
			return
		case n := <-c.notices:
			c.net.notify(c.ctx, c.peer, n)
			c.unhandled.Add(-1)
			c.noticeRoom.Release(n.bytes())
		}
	}
}

// readRequest starts a handler, as soon as there may be one more.
func (c *conn) readRequest(frames *wire.FrameReader, h wire.Header) error {
	if h.Kind == kindPing {
		if _, err := frames.Body(h); err != nil {
			return err
		}
		o, err := c.net.encode(wire.Header{Type: wire.Reply, Kind: kindPing, ID: h.ID}, nil)
		if err != nil {
			return err
		}
		return c.enqueue(c.ctx, o)
	}
	bytes := int64(h.Fields + h.Payload)
	if err := c.waitForTurn(bytes); err != nil {
		return err
	}
	body, err := frames.Body(h)
	if err != nil {
		c.endTurn(bytes)
		return err
	}
	if !c.net.own(func() { c.serve(h, body, bytes) }) {
		c.endTurn(bytes)
		return fault.New("link", fault.Closed, "transport stopped")
	}
	return nil
}

// waitForTurn waits until one more request of so many bytes may be handled. While it waits nothing is read, pings
// included, so it says now and then that this side is alive.
func (c *conn) waitForTurn(bytes int64) error {
	select {
	case c.handlers <- struct{}{}:
		if c.memory.TryAcquire(bytes) {
			return nil
		}
		<-c.handlers
	default:
	}
	c.reading.Store(0) // the delay is ours
	turn := make(chan error, 1)
	ctx, cancel := context.WithCancel(c.ctx)
	go func() {
		select {
		case c.handlers <- struct{}{}:
		case <-ctx.Done():
			turn <- context.Cause(c.ctx)
			return
		}
		err := c.memory.Acquire(ctx, bytes)
		if err != nil {
			<-c.handlers
		}
		turn <- err
	}()
	tick := time.NewTicker(c.net.o.Ping)
	defer tick.Stop()
	defer cancel()
	for {
		select {
		case err := <-turn: // always comes: the goroutine above ends with the connection
			c.reading.Store(c.net.clock())
			return err
		case <-tick.C:
			if o, err := c.net.encode(wire.Header{Type: wire.Notice, Kind: kindBusy}, nil); err == nil {
				c.offer(o)
			}
		}
	}
}

func (c *conn) endTurn(bytes int64) {
	c.memory.Release(bytes)
	<-c.handlers
}

// serve handles one request and answers it.
func (c *conn) serve(h wire.Header, body wire.Body, bytes int64) {
	defer c.endTurn(bytes)
	wait := time.Duration(h.Wait) * time.Millisecond
	if wait == 0 {
		wait = c.net.o.CallTimeout
	}
	ctx, cancel := context.WithTimeout(c.ctx, wait)
	defer cancel()
	c.mu.Lock()
	c.serving[h.ID] = cancel
	c.mu.Unlock()
	reply, err := c.net.handle(ctx, c.peer, note{kind: h.Kind, body: body})
	c.mu.Lock()
	delete(c.serving, h.ID)
	c.mu.Unlock()

	o, err := c.net.encodeAnswer(h, reply, err)
	if err == nil {
		err = c.send(c.ctx, o)
	}
	if err != nil && c.ctx.Err() == nil {
		c.close(err)
	}
}

// encodeAnswer makes the frame that answers h. A reply beyond its limit becomes an error that says so.
func (n *Net) encodeAnswer(h wire.Header, reply wire.Message, err error) (*outgoing, error) {
	if err == nil {
		kind := h.Kind
		if reply != nil {
			kind = reply.Kind()
		}
		var o *outgoing
		if o, err = n.encode(wire.Header{Type: wire.Reply, Kind: kind, ID: h.ID}, reply); err == nil {
			return o, nil
		}
	}
	return n.encode(wire.Header{Type: wire.Failure, Kind: h.Kind, ID: h.ID}, &wire.Failed{For: h.Kind, Err: err})
}

func unserved(k wire.Kind) error {
	return fault.New("serve", fault.Unsupported, "kind %v", k)
}
