package peer

import (
	"bufio"
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// outgoing is one frame on its way into a connection.
type outgoing struct {
	header  wire.Header
	frame   []byte // header and fields
	payload [][]byte
	bytes   int64
	state   atomic.Int32
	done    chan struct{} // closed when the payload is not read any more; nil without payload
}

// States of an outgoing frame: whoever moves it from queued owns its payload.
const (
	queued    int32 = iota
	taken           // by the writer
	abandoned       // by the caller
)

// encode makes a frame, or fails with TooBig.
func (n *Net) encode(h wire.Header, m wire.Message) (*outgoing, error) {
	return n.encodeAfter(nil, h, m)
}

// encodeAfter makes a frame behind those of before, which has no payload or is nil.
func (n *Net) encodeAfter(before *outgoing, h wire.Header, m wire.Message) (*outgoing, error) {
	o := before
	if o == nil {
		o = &outgoing{header: h, frame: make([]byte, 0, 192)}
	}
	frame, payload, err := wire.Encode(o.frame, h, m, n.o.Limits.For(h.Type, h.Kind))
	if err != nil {
		return nil, err
	}
	o.frame, o.payload, o.bytes = frame, payload, int64(len(frame))
	for _, p := range payload {
		o.bytes += int64(len(p))
	}
	if len(payload) > 0 {
		o.done = make(chan struct{})
	}
	return o, nil
}

// send is post that waits for room where it must. A small payload costs less to copy than to wait for.
func (c *conn) send(ctx context.Context, o *outgoing) error {
	if len(o.payload) > 0 && o.bytes <= promptMax {
		o.frame = slices.Concat(append([][]byte{o.frame}, o.payload...)...)
		o.payload, o.done = nil, nil
	}
	if c.post(o) {
		return nil
	}
	return c.enqueue(ctx, o)
}

// enqueue hands o to the writer, waiting for room until ctx or the connection ends.
func (c *conn) enqueue(ctx context.Context, o *outgoing) error {
	if c.room.TryAcquire(o.bytes) || c.waitForRoom(ctx, o.bytes) {
		select {
		case <-c.ctx.Done():
		default:
			c.waiting.Add(1)
			select {
			case c.out <- o:
				return nil
			case <-c.ctx.Done():
			case <-ctx.Done():
			}
			c.waiting.Add(-1)
		}
		c.room.Release(o.bytes)
	}
	if c.ctx.Err() != nil {
		return c.broken(context.Cause(c.ctx))
	}
	return contextError(ctx)
}

func (c *conn) waitForRoom(ctx context.Context, bytes int64) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	return c.room.Acquire(ctx, bytes) == nil
}

// offer is enqueue without waiting. It reports whether there was room.
func (c *conn) offer(o *outgoing) bool {
	if c.ctx.Err() != nil || !c.room.TryAcquire(o.bytes) {
		return false
	}
	c.waiting.Add(1)
	select {
	case c.out <- o:
		return true
	default:
		c.waiting.Add(-1)
		c.room.Release(o.bytes)
		return false
	}
}

// post is offer that writes a small frame itself if none waits before it: the change of goroutines costs more than
// the writing. It waits for nothing: what the system does not take at once is left to the writer.
func (c *conn) post(o *outgoing) bool {
	if o.bytes > promptMax || len(o.payload) > 0 || !c.wire.prompt() || c.waiting.Load() > 0 || !c.turn.TryLock() {
		return c.offer(o)
	}
	defer c.turn.Unlock()
	if c.waiting.Load() > 0 || c.ctx.Err() != nil {
		return c.offer(o)
	}
	left, err := c.wire.now(func() error {
		_, err := c.tls.Write(o.frame)
		return err
	})
	if err != nil {
		c.close(err)
		return false
	}
	if left {
		c.offer(&outgoing{}) // there is room: nothing else was waiting
	}
	return true
}

// reclaim returns when nobody reads o's payload any more. A transfer that is under way is given a moment, then the
// connection is cut: the caller's memory is worth more than the link.
func (c *conn) reclaim(o *outgoing) {
	if o.done == nil || o.state.CompareAndSwap(queued, abandoned) {
		return
	}
	timer := time.NewTimer(reclaimTime)
	defer timer.Stop()
	select {
	case <-o.done:
		return
	case <-timer.C:
	}
	c.close(fault.New("link", fault.Timeout, "a payload did not leave in time"))
	<-o.done
}

// write sends what is queued and flushes when nothing is, until the connection ends.
func (c *conn) write() {
	w := bufio.NewWriterSize(c.tls, bufferBytes)
	err := c.writeLoop(w)
	c.close(err)
	for {
		select {
		case o := <-c.out:
			c.finish(o)
		default:
			// A sender may still be between its look at ctx and the queue: it finds room there, and nobody
			// reads what it left. Only payloads matter to anyone, and their callers reclaim them.
			return
		}
	}
}

func (c *conn) writeLoop(w *bufio.Writer) error {
	var held int64 // frames that are not known to have left
	flush := func() error {
		if err := w.Flush(); err != nil {
			return err
		}
		if err := c.wire.drain(); err != nil {
			return err
		}
		c.writing.Store(0)
		c.waiting.Add(-held)
		held = 0
		return nil
	}
	for {
		var o *outgoing
		select {
		case o = <-c.out:
		default:
			// Whoever is about to send shares the flush: a third more small calls a second for a yield.
			if runtime.Gosched(); len(c.out) > 0 {
				continue
			}
			if held > 0 {
				if err := flush(); err != nil {
					return err
				}
				c.turn.Unlock()
			}
			select {
			case o = <-c.out:
			case <-c.ctx.Done():
				return context.Cause(c.ctx)
			}
		}
		if held++; held == 1 {
			c.turn.Lock() // until it has left: nobody overtakes it
		}
		if !o.state.CompareAndSwap(queued, taken) {
			c.room.Release(o.bytes)
			continue
		}
		c.writing.Store(c.net.clock())
		err := c.writeFrame(w, o)
		c.finish(o)
		if err != nil {
			return err
		}
	}
}

func (c *conn) writeFrame(w *bufio.Writer, o *outgoing) error {
	if _, err := w.Write(o.frame); err != nil {
		return err
	}
	for _, p := range o.payload {
		if len(p) <= copyMax {
			if _, err := w.Write(p); err != nil {
				return err
			}
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if _, err := c.tls.Write(p); err != nil {
			return err
		}
		c.progress.Store(c.net.clock())
	}
	return nil
}

// finish gives o's room and payload back.
func (c *conn) finish(o *outgoing) {
	c.room.Release(o.bytes)
	if o.done != nil {
		close(o.done)
	}
}
