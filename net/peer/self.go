package peer

import (
	"bytes"
	"context"

	"dfs/net/wire"
)

// askSelf is ask without a network: the message is still encoded, checked against its limits and decoded, so that
// self is a peer like any other.
func (n *Net) askSelf(ctx context.Context, req wire.Message) answer {
	if _, err := n.running(); err != nil {
		return answer{err: err}
	}
	o, err := n.encode(wire.Header{Type: wire.Request, Kind: req.Kind()}, req)
	if err != nil {
		return answer{err: err}
	}
	r := o.received(req.Kind())
	done := make(chan answer, 1)
	if !n.own(func() { done <- n.serveCall(ctx, r) }) {
		_, err := n.running()
		return answer{err: err}
	}
	select {
	case a := <-done:
		return a
	case <-ctx.Done():
	}
	return answer{err: contextError(ctx)}
}

// serveCall does for a call to self what serve does for others'.
func (n *Net) serveCall(ctx context.Context, r note) answer {
	run, err := n.running()
	if err != nil {
		return answer{err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(run, cancel)
	defer stop()
	reply, err := n.handle(ctx, n.self, r)
	o, err := n.encodeAnswer(wire.Header{Kind: r.kind}, reply, err)
	if err != nil {
		return answer{err: err}
	}
	if o.header.Type == wire.Failure {
		var f wire.Failed
		if err := f.Decode(o.frame[wire.HeaderBytes:]); err != nil {
			return answer{err: err}
		}
		return answer{err: f.Err}
	}
	a := o.received(o.header.Kind)
	return answer{kind: a.kind, body: a.body}
}

// received returns what the other side of a network would have got, payload copied.
func (o *outgoing) received(kind wire.Kind) note {
	return note{kind: kind, body: wire.Body{Fields: o.frame[wire.HeaderBytes:], Payload: bytes.Join(o.payload, nil)}}
}

// sendSelf queues a notice to self; where too many wait it is dropped.
func (n *Net) sendSelf(h wire.Header, m wire.Message) {
	o, err := n.encode(h, m)
	if err != nil {
		n.o.Log.Error("notice dropped", "err", err)
		return
	}
	select {
	case n.toSelf <- o.received(h.Kind):
	default:
		n.o.Log.Debug("notice dropped", "kind", h.Kind)
	}
}

// serveSelf handles notices to self, in order.
func (n *Net) serveSelf(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-n.toSelf:
			n.notify(ctx, n.self, r)
		}
	}
}
