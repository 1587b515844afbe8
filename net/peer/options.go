package peer

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"time"

	"dfs/cluster"
	"dfs/net/wire"
)

// Identity is who this peer is, and how it tells who others are. cluster/identity has the real one.
type Identity interface {
	ID() cluster.PeerID
	// Certificate is asked at every handshake, so that a renewed one takes effect.
	Certificate() *tls.Certificate
	// Verify returns the peer whom chain, leaf first, proves to be a peer of this cluster. The handshake has proved that the
	// other side owns the leaf's key.
	Verify(chain []*x509.Certificate) (cluster.PeerID, error)
}

// Options of a Net. Identity and Addrs are needed; every other field's zero value works.
type Options struct {
	Identity Identity

	// Addrs returns the HOST:PORT at which a peer listens. It is asked at every dial.
	Addrs func(cluster.PeerID) (addr string, ok bool)

	// Allowed says whether a peer is a member: asked at every connection, and of the live ones by Recheck. Default:
	// whoever has a certificate of the cluster.
	Allowed func(cluster.PeerID) bool

	Limits wire.Limits  // default wire.DefaultLimits
	Log    *slog.Logger // default none

	Listen      string        // default "127.0.0.1:0"; see Net.Listen
	CallTimeout time.Duration // of calls and handlers without a deadline; default 5 s
	Handshake   time.Duration // from connect to the first answer; default 5 s
	Ping        time.Duration // between pings of a control link; default 100 ms
	Quiet       time.Duration // a peer that owes the answer to a ping for so long is Silent; default 400 ms
	Silence     time.Duration // a control link from which a ping gets no answer for so long is dead; default 1 s
	FrameTime   time.Duration // a frame that takes longer on its way in or out ends its connection; default 15 s
	Idle        time.Duration // an accepted connection that is silent for so long is closed; default 30 s
	BackoffMin  time.Duration // after a failed dial, doubled with each further one; default 20 ms
	BackoffMax  time.Duration // default 1 s
	Handlers    int           // running at a time for one connection; beyond, reading stops; default 256
	JoinTime    time.Duration // for a whole admission exchange; default 15 s
}

// Bounds without a knob.
const (
	bulkConns     = 2        // dialled to one peer, beside one control connection
	connsPerPeer  = 8        // accepted from one identity; beyond, its oldest is closed
	gossipPerPeer = 16       // accepted and dialled gossip streams with one identity; beyond, the oldest is closed
	strangersMax  = 256      // connections whose handshake is not over, and joins; beyond, the oldest is closed
	strangersAddr = 64       // the same for one address
	outFrames     = 256      // queued on one connection
	outBytes      = 16 << 20 // queued on one connection; calls wait for room, notices are dropped
	inBytes       = 64 << 20 // of requests being handled for one connection; beyond, reading stops
	noticeFrames  = 1024     // received on one connection and not yet handled; beyond, new ones are dropped
	noticeBytes   = 32 << 20 // the same in bytes
	promptMax     = 16 << 10 // frames up to this size leave from the sender's goroutine where nothing waits before them
	copyMax       = 16 << 10 // larger payload parts are written from where they lie
	bufferBytes   = 32 << 10 // of a connection's reader and writer each
	bulkPingEvery = 50       // bulk links are pinged at every so many pings of control links
	reclaimTime   = 200 * time.Millisecond
	redialWait    = 250 * time.Millisecond // a call waits no longer for a dial that follows a failed one
)

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.CallTimeout, 5*time.Second)
	def(&o.Handshake, 5*time.Second)
	def(&o.Ping, 100*time.Millisecond)
	def(&o.Quiet, 400*time.Millisecond)
	def(&o.Silence, time.Second)
	def(&o.FrameTime, 15*time.Second)
	def(&o.Idle, 30*time.Second)
	def(&o.BackoffMin, 20*time.Millisecond)
	def(&o.BackoffMax, time.Second)
	def(&o.JoinTime, 15*time.Second)
	if o.Handlers == 0 {
		o.Handlers = 256
	}
	if o.Allowed == nil {
		o.Allowed = func(cluster.PeerID) bool { return true }
	}
	if o.Limits == nil {
		o.Limits = wire.DefaultLimits
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	return o
}

// backoff returns how long to wait after so many failed dials in a row.
func (o *Options) backoff(fails int) time.Duration {
	d := o.BackoffMin
	for range min(fails-1, 30) {
		if d *= 2; d >= o.BackoffMax {
			return o.BackoffMax
		}
	}
	return d
}
