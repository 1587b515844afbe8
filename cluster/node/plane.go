package node

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/net/wire"
	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

const (
	ringEvery     = 250 * time.Millisecond
	ringWithin    = 5 * time.Second
	ringAtOnce    = 64 // alarms proposed in one look
	freshEnough   = time.Second
	freshWithin   = 100 * time.Millisecond // what an answer that may be old waits for a newer one
	entryFull     = 5 * time.Millisecond   // then it is proposed again
	planeConns    = 256
	planePatience = 60 * time.Second // for an op or a question whose asker says nothing of time
)

// planeEnd is the daemon's end of the control plane: it brings the sidecar's ops into the log, answers from the local replica,
// tells what changes, and on the leader rings the alarms that are over. It also keeps this peer's own memory.
type planeEnd struct {
	n     *Node
	hub   link.Hub
	local *plane.Local

	mu     sync.Mutex
	alarms map[uint64]alarm
	fresh  time.Duration // by boottime: this replica had everything then
}

// alarm is one, and since when this peer has known it.
type alarm struct {
	plane.Alarm
	since time.Duration
}

var (
	_ link.Log       = (*planeEnd)(nil)
	_ state.Follower = (*planeEnd)(nil)
)

// newPlaneEnd is called before anything is applied.
func newPlaneEnd(n *Node) (*planeEnd, error) {
	p := &planeEnd{n: n, local: plane.NewLocal(), fresh: boottime()}
	return p, p.readAlarms()
}

// Run serves the sidecar and rings.
func (p *planeEnd) Run(ctx context.Context) error {
	l, err := admin.Listen(p.n.cfg.Data, link.SocketName)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: link.Serve(p)}
	admin.BoundTo(s, planeConns)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	p.ringAll(ctx)
	s.Close()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Applied implements state.Follower.
func (p *planeEnd) Applied(a state.Applied) {
	for _, c := range a.Changes {
		what, ok := c.What.(*plane.Change)
		if !ok {
			continue
		}
		p.mu.Lock()
		for _, id := range what.Disarmed {
			delete(p.alarms, id)
		}
		for _, x := range what.Armed {
			p.alarms[x.ID] = alarm{x, boottime()}
		}
		p.mu.Unlock()
		if len(what.Topics) > 0 {
			p.hub.Tell(what.Topics)
		}
	}
}

// Reset implements state.Follower.
func (p *planeEnd) Reset(uint64) {
	if err := p.readAlarms(); err != nil {
		p.n.log.Error("the control plane's alarms cannot be read", "err", err)
	}
	p.hub.Tell(nil)
}

// readAlarms begins to count anew how long each alarm has been known.
func (p *planeEnd) readAlarms() error {
	r, _ := p.n.machine.At(0)
	defer r.Close()
	all, err := plane.NewView(r).Alarms()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alarms = map[uint64]alarm{}
	for _, x := range all {
		p.alarms[x.ID] = alarm{x, boottime()}
	}
	return err
}

// ringAll rings, while this peer leads, what is over.
func (p *planeEnd) ringAll(ctx context.Context) {
	tick := time.NewTicker(ringEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.n.leading.Load() {
			continue
		}
		var wg sync.WaitGroup
		for _, a := range p.over(boottime()) {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, ringWithin)
				defer cancel()
				if _, err := p.Propose(ctx, &plane.Ring{ID: a.ID, Stamp: a.Stamp}); err != nil && ctx.Err() == nil {
					p.n.log.Warn("something of the control plane does not end in time", "err", err)
				}
			})
		}
		wg.Wait()
	}
}

// over returns alarms whose time is over, the oldest first.
func (p *planeEnd) over(now time.Duration) (rings []plane.Alarm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(p.alarms)) {
		if a := p.alarms[id]; now-a.since >= time.Duration(a.After) && len(rings) < ringAtOnce {
			rings = append(rings, a.Alarm)
		}
	}
	return rings
}

// Propose implements link.Log.
func (p *planeEnd) Propose(ctx context.Context, op plane.Op) (plane.Result, error) {
	if err := plane.Check(op); err != nil {
		return plane.Result{}, err
	}
	if p.n.store.cramped.Load() && plane.Grows(op) {
		return plane.Result{}, fault.New("plane", fault.NoSpace, "the disks of log and state are nearly full: delete something")
	}
	ctx, cancel := context.WithTimeout(ctx, planePatience)
	defer cancel()
	body := plane.Encode(op)
	for {
		skips := p.n.session.skips.Load()
		_, raw, err := p.n.group.ProposeApplied(ctx, 0, body)
		var res plane.Result
		if err == nil {
			res, err = plane.ResultOf(raw)
		}
		switch {
		case errors.Is(err, fault.Busy): // the entry was full
			pause(ctx, entryFull) // if ctx has ended the next try says so
		case errors.Is(err, fault.Ended): // this daemon's session, and another begins
			if p.n.session.skips.Load() != skips {
				return res, fault.New("plane", fault.Timeout, "this peer was away for so long that nobody knows whether it happened")
			}
			if err := p.n.session.wait(ctx, p.n.store); err != nil {
				return res, err
			}
		default:
			return res, err
		}
	}
}

// Ask implements link.Log.
func (p *planeEnd) Ask(ctx context.Context, a plane.Ask, fresh bool) (plane.Reply, time.Duration, error) {
	var err error
	if fresh {
		err = p.catchUp(ctx)
	} else if p.age() > freshEnough {
		short, cancel := context.WithTimeout(ctx, freshWithin)
		_ = p.catchUp(short) // then the answer is as old as it says
		cancel()
	}
	if err != nil {
		return plane.Reply{}, 0, err
	}
	age := p.age()
	r, at := p.n.machine.At(0)
	defer r.Close()
	if at == 0 {
		return plane.Reply{}, 0, errFetching
	}
	reply, err := plane.NewView(r).Answer(a)
	if err == nil && a.What == plane.AskGraph {
		reply.Locks, err = p.fileLocks(r, at)
	}
	return reply, age, err
}

// age returns how old what this replica shows is at most.
func (p *planeEnd) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return boottime() - p.fresh
}

// catchUp returns when this replica has everything that had happened when it was called.
func (p *planeEnd) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, planePatience)
	defer cancel()
	began := boottime()
	index, err := p.n.group.ReadIndex(ctx)
	if err != nil {
		return err
	}
	if err := p.n.reached.wait(ctx, index); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh = max(p.fresh, began)
	return nil
}

// Follow implements link.Log.
func (p *planeEnd) Follow(ctx context.Context, fn func([]string)) error { return p.hub.Follow(ctx, fn) }

// Self implements link.Log.
func (p *planeEnd) Self() string {
	if m, ok := p.n.roster.member(p.n.id.ID()); ok {
		return m.Name
	}
	return p.n.id.ID().Short()
}

// The kinds of a peer's own memory.
const (
	kindLocalDo  = wire.KindPlane
	kindLocalAsk = wire.KindPlane + 1
)

// localMessage is an op or a question for a peer's own memory, or its answer, in the encoding of package plane.
type localMessage struct {
	kind wire.Kind
	body []byte
}

func (m *localMessage) Kind() wire.Kind        { return m.kind }
func (m *localMessage) Append(b []byte) []byte { return append(b, m.body...) }
func (m *localMessage) Decode(b []byte) error  { m.body = b; return nil }

// ProposeAt implements link.Log.
func (p *planeEnd) ProposeAt(ctx context.Context, peer string, op *plane.Commit) (plane.Result, error) {
	b, err := p.callLocal(ctx, peer, &localMessage{kindLocalDo, plane.Encode(op)})
	if err != nil {
		return plane.Result{}, err
	}
	return plane.DecodeResult(b)
}

// AskAt implements link.Log.
func (p *planeEnd) AskAt(ctx context.Context, peer string, a plane.Ask) (plane.Reply, error) {
	b, err := p.callLocal(ctx, peer, &localMessage{kindLocalAsk, plane.EncodeAsk(a)})
	if err != nil {
		return plane.Reply{}, err
	}
	return plane.DecodeReply(b)
}

func (p *planeEnd) callLocal(ctx context.Context, peer string, m *localMessage) ([]byte, error) {
	to := p.n.id.ID()
	if peer != "" {
		who, err := p.n.member("kv", peer)
		if err != nil {
			return nil, err
		}
		to = who.ID
	}
	if to == p.n.id.ID() {
		return p.doLocal(m.kind, m.body)
	}
	reply := &localMessage{kind: m.kind}
	err := p.n.net.Call(ctx, to, m, reply)
	return reply.body, err
}

// serveLocal answers another peer.
func (p *planeEnd) serveLocal(_ context.Context, _ cluster.PeerID, kind wire.Kind, body wire.Body) (wire.Message, error) {
	b, err := p.doLocal(kind, body.Fields)
	return &localMessage{kind, b}, err
}

func (p *planeEnd) doLocal(kind wire.Kind, body []byte) ([]byte, error) {
	if kind == kindLocalAsk {
		a, err := plane.DecodeAsk(body)
		if err != nil {
			return nil, err
		}
		reply, err := p.local.Answer(a)
		return plane.EncodeReply(reply), err
	}
	op, err := plane.Decode(body)
	if err != nil {
		return nil, err
	}
	c, ok := op.(*plane.Commit)
	if !ok {
		return nil, fault.New("plane", fault.Unsupported, "a peer's own memory has only keys and values")
	}
	res, err := p.local.Do(c)
	return plane.EncodeResult(res), err
}

// reached is where one waits until an index is applied here.
type reached struct {
	mu   sync.Mutex
	at   uint64
	next chan struct{} // closed and replaced when it grows
}

func newReached(at uint64) *reached { return &reached{at: at, next: make(chan struct{})} }

func (r *reached) grow(at uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at > r.at {
		r.at = at
		close(r.next)
		r.next = make(chan struct{})
	}
}

func (r *reached) wait(ctx context.Context, index uint64) error {
	for {
		r.mu.Lock()
		at, next := r.at, r.next
		r.mu.Unlock()
		if at >= index {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fault.Because("wait for the log", fault.Timeout, ctx.Err())
		}
	}
}
