package peer

import (
	"bytes"
	"context"
	"math"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Call sends req and waits for its answer. Messages of block kinds, and those that have payloads, go by a bulk
// connection. A call before Run waits for Run.
func (n *Net) Call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.o.CallTimeout)
		defer cancel()
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	select {
	case <-n.begun:
	case <-ctx.Done():
		return contextError(ctx)
	}
	var a answer
	if to == n.self {
		a = n.askSelf(ctx, req)
	} else {
		c, err := n.link(to).pipe(isBulk(req)).get(ctx)
		if err != nil {
			return err
		}
		a = c.ask(ctx, req)
	}
	switch {
	case a.err != nil:
		return a.err
	case reply == nil:
		return nil
	case a.kind != reply.Kind():
		return fault.New("call", fault.Invalid, "answer of kind %v where %v was expected", a.kind, reply.Kind())
	}
	return a.body.Into(reply)
}

// Send sends notices on the control connection, at once where nothing waits before them. They are dropped when there is
// none yet, which starts a dial, or when the connection's queue is full.
func (n *Net) Send(to cluster.PeerID, ms ...wire.Message) {
	if to == n.self {
		for _, m := range ms {
			n.sendSelf(wire.Header{Type: wire.Notice, Kind: m.Kind()}, m)
		}
		return
	}
	c := n.link(to).control.peek()
	if c == nil {
		return
	}
	var piece *outgoing // small ones that go together
	flush := func() {
		if piece != nil && !c.post(piece) {
			n.o.Log.Debug("notice dropped", "peer", to.Short(), "kind", piece.header.Kind)
		}
		piece = nil
	}
	for _, m := range ms {
		h := wire.Header{Type: wire.Notice, Kind: m.Kind()}
		o, err := n.encodeAfter(piece, h, m)
		if err != nil {
			n.o.Log.Error("notice dropped", "peer", to.Short(), "err", err)
			continue
		}
		if len(o.payload) > 0 {
			o.payload = [][]byte{bytes.Join(o.payload, nil)}
		}
		piece = o
		if len(o.payload) > 0 || o.bytes > promptMax {
			flush()
		}
	}
	flush()
}

func isBulk(m wire.Message) bool {
	if k := m.Kind(); k >= wire.KindBlock && k < wire.KindRecall {
		return true
	}
	b, ok := m.(wire.Bulk)
	return ok && len(b.Payload()) > 0
}

// ask sends a request on this connection and waits.
func (c *conn) ask(ctx context.Context, req wire.Message) answer {
	done := make(chan answer, 1)
	c.mu.Lock()
	if c.calls == nil {
		c.mu.Unlock()
		return answer{err: c.broken(context.Cause(c.ctx))}
	}
	c.lastID++
	id := c.lastID
	c.calls[id] = done
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}

	o, err := c.net.encode(wire.Header{Type: wire.Request, Kind: req.Kind(), ID: id, Wait: waitOf(ctx)}, req)
	if err == nil {
		err = c.send(ctx, o)
	}
	if err != nil {
		forget()
		return answer{err: err}
	}
	select {
	case a := <-done:
		c.reclaim(o)
		return a
	case <-ctx.Done():
	}
	forget()
	if cancel, err := c.net.encode(wire.Header{Type: wire.Notice, Kind: kindCancel, ID: id}, nil); err == nil {
		c.offer(cancel)
	}
	c.reclaim(o)
	return answer{err: contextError(ctx)}
}

// waitOf returns the milliseconds that ctx leaves, rounded up.
func waitOf(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := (time.Until(deadline) + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(left, 1), math.MaxUint32))
}

// contextError is the error of a call whose context has ended.
func contextError(ctx context.Context) error {
	return fault.Because("call", wire.FaultOf(ctx.Err()), ctx.Err())
}

// handle finds the handler of a request and calls it.
func (n *Net) handle(ctx context.Context, from cluster.PeerID, r note) (wire.Message, error) {
	h := n.handler(r.kind)
	if h == nil {
		return nil, unserved(r.kind)
	}
	return h(ctx, from, r.kind, r.body)
}

// notify handles a notice. Nobody hears its error but the log.
func (n *Net) notify(ctx context.Context, from cluster.PeerID, r note) {
	if _, err := n.handle(ctx, from, r); err != nil {
		n.o.Log.Debug("notice failed", "peer", from.Short(), "kind", r.kind, "err", err)
	}
}
