// Package pool spreads extents over the stores of many peers: it cuts written bytes into extents, has placement
// pick their peers, writes all replicas in parallel, and reads from the best replica that answers.
//
// A write costs one pass over the data for its sums, and one request to each peer, however many extents go there;
// nothing is copied. A read costs one request, straight into the caller's bytes; a second one, into bytes of its
// own, only where the first is late.
//
// Locks: Pool.mu and syncer.mu are never held together, and neither while a store is asked.
package pool

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// Options are what a Pool is given. View and Store are needed; the rest works as zero.
type Options struct {
	Self cluster.PeerID

	// View returns what is believed of the members now. What the pool measures itself (latency, errors, bytes in
	// flight) it puts in; the view need not be fresh in that.
	View func() cluster.View

	// Store returns a peer's store, this one's included; nil if there is no such peer. A store must return from
	// every call soon after its context has ended: the pool waits for it, because the bytes are the caller's.
	Store func(cluster.PeerID) blockstore.Store

	// OnBad is told of a replica that should be there and is missing (fault.NotExist) or rotten (fault.Corrupt).
	// It must not block.
	OnBad func(peer cluster.PeerID, s blockstore.Span, kind fault.Kind)

	// Silent reports whether a peer owes us a sign of life. A write or sync that can do without such a peer does not
	// wait for it. nil: nobody is known to be.
	Silent func(cluster.PeerID) bool

	// Named says of each stray replica whether the newest state, no older than the call, shows anything of its extent.
	// Such a one is kept: nobody can tell a replica that was given up from one that repair is making at this moment. nil:
	// nothing is named.
	Named func(ctx context.Context, strays []Stray) ([]bool, error)

	PutTimeout  time.Duration // for one put, plus the time its peer's queue takes at 16 MiB/s; default 1 s
	GetTimeout  time.Duration // for one get; default 1 s, half a lease
	SyncTimeout time.Duration // for one sync; default 10 s
	ForgetAfter time.Duration // how long a put of unknown outcome may still be under way; default 5 s
	Tries       int           // rounds of picking peers for one write; default 3
	Bytes       int64         // being written, copied or hedged at once; default 64 MiB

	Random io.Reader        // for ids and the policies' draws; default crypto/rand
	Now    func() time.Time // default time.Now
	Log    *slog.Logger     // default discards
}

// Piece is one extent that a Write made: where it is in the data, and where it is kept.
type Piece struct {
	Off      int64 // in bytes from the start of the data
	Span     blockstore.Span
	Layout   placement.Layout
	Degraded bool // fewer replicas than were wished for
}

// Pool is the data plane of one peer. Its methods are safe for concurrent use.
type Pool struct {
	o     Options
	bytes *semaphore.Weighted

	mu     sync.Mutex // guards what follows
	rng    *mathrand.Rand
	gauges map[cluster.PeerID]*gauge
	syncs  map[cluster.PeerID]*syncer
	forget []forgotten
}

// New returns a Pool. Run must be running for what failed writes left behind to be deleted.
func New(o Options) *Pool {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.PutTimeout, time.Second)
	def(&o.GetTimeout, time.Second)
	def(&o.SyncTimeout, 10*time.Second)
	def(&o.ForgetAfter, 5*time.Second)
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Bytes == 0 {
		o.Bytes = 64 << 20
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Silent == nil {
		o.Silent = func(cluster.PeerID) bool { return false }
	}
	if o.OnBad == nil {
		o.OnBad = func(cluster.PeerID, blockstore.Span, fault.Kind) {}
	}
	var seed [16]byte
	io.ReadFull(o.Random, seed[:]) // a short read makes a poor seed, nothing worse
	return &Pool{
		o:      o,
		bytes:  semaphore.NewWeighted(o.Bytes),
		rng:    mathrand.New(mathrand.NewPCG(binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:]))),
		gauges: map[cluster.PeerID]*gauge{},
		syncs:  map[cluster.PeerID]*syncer{},
	}
}

// Plan returns the peers that an extent of so many blocks would be written to now, with the reasons.
func (p *Pool) Plan(w placement.Wish, blocks uint32) ([]cluster.PeerID, placement.Why, error) {
	v := p.View()
	return p.Policy(w, nil).Pick(v, target(w, &v), blocks, nil)
}

// Delete forgets blocks at one peer. Absent ones are no error.
func (p *Pool) Delete(ctx context.Context, peer cluster.PeerID, s ...blockstore.Span) error {
	store := p.o.Store(peer)
	if store == nil {
		return unknown(peer)
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.PutTimeout)
	defer cancel()
	return fault.Wrap("pool delete", store.Delete(ctx, s...))
}

// Policy returns w's policy for extents that have replicas already. Its random numbers are its own.
func (p *Pool) Policy(w placement.Wish, have []cluster.PeerID) placement.Policy {
	p.mu.Lock()
	rng := mathrand.New(mathrand.NewPCG(p.rng.Uint64(), p.rng.Uint64()))
	p.mu.Unlock()
	return placement.New(placement.Options{Name: w.PolicyName(), Zones: int(w.Zones), Have: have}, rng)
}

// target is how many replicas w means in v, where members declared lost no longer count.
func target(w placement.Wish, v *cluster.View) int {
	members := 0
	for i := range v.Peers {
		if v.Peers[i].State != cluster.Lost {
			members++
		}
	}
	return placement.Target(w, members)
}

// within takes n of the bytes that may be in use at once, or all of them, and returns how to give them back.
func (p *Pool) within(ctx context.Context, n int) (release func(), err error) {
	weight := min(int64(n), p.o.Bytes)
	if err := p.bytes.Acquire(ctx, weight); err != nil {
		return nil, fault.Because("pool", ended(ctx), err)
	}
	return func() { p.bytes.Release(weight) }, nil
}

// ended returns the kind of a context that has ended.
func ended(ctx context.Context) fault.Kind {
	if ctx.Err() == context.DeadlineExceeded {
		return fault.Timeout
	}
	return fault.Canceled
}

func unknown(peer cluster.PeerID) error {
	return fault.New("pool", fault.Unreachable, "no way to the store of %s", peer.Short())
}
