package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// The link's own messages. They have no fields.
const (
	kindPing   = wire.KindLink     // request: are you there
	kindCancel = wire.KindLink + 1 // notice: the asker of the request with this frame's id has given up
	kindBusy   = wire.KindLink + 2 // notice: alive, but reading nothing until a handler ends
)

// conn is one connection with one peer. The side that dialled asks, the other answers.
type conn struct {
	net     *Net
	tls     *tls.Conn
	wire    *watched
	peer    cluster.PeerID
	bulk    bool
	dialled bool
	number  uint64

	ctx  context.Context // ends with the connection; its cause says why
	end  context.CancelCauseFunc
	out  chan *outgoing
	room *semaphore.Weighted // bytes in out

	turn    sync.Mutex       // of writing to tls: the writer's while it has frames that have not left
	waiting atomic.Int64     // frames in out, or with the writer
	pong    func(sent int64) // dialled: gets the time a ping was sent when its answer comes

	// The accepting side's.
	handlers    chan struct{} // a token for each running handler
	memory      *semaphore.Weighted
	notices     chan note
	unhandled   atomic.Int64 // in notices, or with their handler
	noticeRoom  *semaphore.Weighted
	after       <-chan struct{} // closed when the notices of the connection before this one are done; may be nil
	noticesDone chan struct{}

	// For the watch, in clock time; 0 is none.
	reading  atomic.Int64 // begin of the frame that is arriving
	writing  atomic.Int64 // begin of the frame that is leaving
	progress atomic.Int64 // the newest large write that went out
	pinged   atomic.Int64 // begin of the ping that has no answer yet

	mu      sync.Mutex
	lastID  uint64
	calls   map[uint64]chan answer        // dialled: waiting for answers; nil when closed
	serving map[uint64]context.CancelFunc // accepted: requests being handled
}

// answer is what a call waits for.
type answer struct {
	kind wire.Kind
	body wire.Body
	err  error
}

// note is a received notice.
type note struct {
	kind wire.Kind
	body wire.Body
}

func (n note) bytes() int64 { return int64(len(n.body.Fields) + len(n.body.Payload)) }

func newConn(n *Net, t *tls.Conn, w *watched, peer cluster.PeerID, bulk, dialled bool) *conn {
	c := &conn{
		net: n, tls: t, wire: w, peer: peer, bulk: bulk, dialled: dialled,
		out: make(chan *outgoing, outFrames), room: semaphore.NewWeighted(outBytes),
		noticesDone: make(chan struct{}),
	}
	if dialled {
		c.calls = map[uint64]chan answer{}
		close(c.noticesDone)
	} else {
		c.handlers = make(chan struct{}, n.o.Handlers)
		c.memory = semaphore.NewWeighted(inBytes)
		c.notices = make(chan note, noticeFrames)
		c.noticeRoom = semaphore.NewWeighted(noticeBytes)
		c.serving = map[uint64]context.CancelFunc{}
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}

// close ends the connection because of err, without waiting. The first cause stays.
func (c *conn) close(err error) {
	c.end(err)
	if t, ok := c.wire.Conn.(*net.TCPConn); ok && silent(err) {
		_ = t.SetLinger(0) // what was not delivered must not be when the other side is reached again: it was given up
	}
	c.wire.Conn.Close()
}

// run serves the connection until it ends, and returns when its reader, its writer and its notices have. Handlers may
// still run: their contexts have ended, and the Net waits for them.
func (c *conn) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.close(fault.New("link", fault.Closed, "transport stopped")) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(c.write)
	if !c.dialled {
		wg.Go(c.handleNotices)
	}
	c.close(c.read())
	wg.Wait()
	if !c.dialled {
		close(c.noticesDone)
	}
	cause := context.Cause(c.ctx)
	c.net.remove(c)
	c.mu.Lock()
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, call := range calls {
		call <- answer{err: c.broken(cause)}
	}
	c.net.o.Log.Debug("link ended", "peer", c.peer.Short(), "bulk", c.bulk, "dialled", c.dialled, "err", cause)
}

// broken is the error of calls that the end of the connection cut off. The cause is text: its kind is the link's, not
// the call's.
func (c *conn) broken(cause error) error {
	return fault.New("call", fault.Unreachable, "%s: %v", c.peer.Short(), cause)
}
