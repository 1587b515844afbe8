// Package peer carries messages between the members of a cluster: requests with replies, and notices without.
//
// Every link is TLS 1.3 with a certificate on both ends; authority comes from the certificate's identity, never
// from the address. Control and bulk traffic use separate pooled connections, so that a 4 MiB extent does not
// stand in front of a heartbeat.
package peer

import (
	"context"
	"time"

	"dfs/cluster"
	"dfs/net/wire"
)

// Caller asks another peer something and waits.
type Caller interface {
	// Call sends req to the peer and decodes its answer into reply; a nil reply asks only whether it worked. The
	// other side's errors come back with their kind. fault.Unreachable when there is no link or it broke (the
	// other side may have handled the request), fault.Timeout or fault.Canceled when ctx ended first: the handler's
	// context ends then too, soon. fault.TooBig when a message is beyond its kind's limit. On return nobody reads
	// req's payload any more. A context without a deadline gets the transport's default.
	Call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) error
}

// Sender tells another peer something and does not wait: the notice may be lost, never reordered with other
// notices to the same peer, never doubled. Send never blocks: where a bounded queue is full, the new notice is dropped.
// The fields are encoded and a payload is copied before Send returns.
type Sender interface {
	// Several messages go in one piece where they are small.
	Send(to cluster.PeerID, ms ...wire.Message)
}

// Handler answers one request, within ctx: it ends with the asker's patience, its link or this transport. A nil reply
// is an empty one. The body is the handler's to keep; a reply's payload is the transport's from the return on and must
// not change. Handlers run concurrently, but notices of one sender are handled in the order they were sent: a
// notice's handler must be quick and never wait for a peer.
type Handler func(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error)

// Transport is one peer's end of all its links: TCP with TLS, or net/simnet in tests.
type Transport interface {
	Caller
	Sender

	// Serve directs kinds lo..hi, both included, to h. It must be called before Run.
	Serve(lo, hi wire.Kind, h Handler)

	// RTT returns the smoothed round-trip time to a peer; zero when not yet measured.
	RTT(to cluster.PeerID) time.Duration

	// Run serves until ctx ends, and returns when every goroutine of it has ended.
	Run(ctx context.Context) error
}
