package simnet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
	"dfs/net/wire"
)

const op = "call"

const (
	noticesMax  = 4096            // waiting at one port from one sender; more are lost
	callDefault = 5 * time.Second // deadline of a call whose context has none
)

// Loop is a network in real time. Safe for concurrent use.
type Loop struct {
	mu      sync.Mutex
	ports   map[cluster.PeerID]*Port
	links   links
	weather Weather
	rng     *rand.Rand
}

// NewLoop returns a network without peers, delays or losses. The seed draws delays and losses.
func NewLoop(seed uint64) *Loop {
	return &Loop{ports: map[cluster.PeerID]*Port{}, links: newLinks(), rng: rand.New(rand.NewPCG(seed, seed))}
}

// Port returns a new transport for the peer. It takes the place of an earlier port of the same peer, which hears
// nothing more.
func (l *Loop) Port(id cluster.PeerID) *Port {
	p := &Port{loop: l, id: id, inbox: map[cluster.PeerID]chan notice{}, begun: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ports[id] = p
	return p
}

// SetWeather changes how all links treat messages from now on.
func (l *Loop) SetWeather(w Weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.weather = w
}

// Cut loses everything from one peer to another, until Heal.
func (l *Loop) Cut(from, to cluster.PeerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links.cut[way{from, to}] = true
}

// Isolate loses everything from and to a peer, until Heal.
func (l *Loop) Isolate(id cluster.PeerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links.down[id] = true
}

// Heal opens every link.
func (l *Loop) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links = newLinks()
}

// pass draws the fate of one message.
func (l *Loop) pass(from, to cluster.PeerID) (at *Port, delay time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at = l.ports[to]
	if at == nil || !l.links.open(from, to) || l.weather.Loss > 0 && l.rng.Float64() < l.weather.Loss {
		return nil, 0, false
	}
	return at, l.weather.delay(l.rng), true
}

// Port is one peer's transport on a Loop.
type Port struct {
	loop   *Loop
	id     cluster.PeerID
	served []service // fixed once Run has begun
	begun  chan struct{}

	mu    sync.Mutex
	ctx   context.Context // nil unless running
	wg    sync.WaitGroup
	inbox map[cluster.PeerID]chan notice
}

var _ peer.Transport = (*Port)(nil)

type service struct {
	lo, hi wire.Kind
	handle peer.Handler
}

type notice struct {
	at   time.Time
	kind wire.Kind
	body wire.Body
}

// Serve implements peer.Transport.
func (p *Port) Serve(lo, hi wire.Kind, h peer.Handler) {
	p.served = append(p.served, service{lo, hi, h})
}

// RTT implements peer.Transport: twice the mean delay.
func (p *Port) RTT(cluster.PeerID) time.Duration {
	p.loop.mu.Lock()
	defer p.loop.mu.Unlock()
	return p.loop.weather.Min + p.loop.weather.Max
}

// Run implements peer.Transport. Notices that arrive before Run, and all that comes after ctx has ended, are lost.
func (p *Port) Run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	close(p.begun)
	<-ctx.Done()
	p.mu.Lock()
	p.ctx = nil
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}

// begin runs fn in a goroutine that Run waits for, if the port is running.
func (p *Port) begin(fn func(context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ctx.Err() != nil {
		return false
	}
	p.wg.Add(1)
	ctx := p.ctx
	go func() {
		defer p.wg.Done()
		fn(ctx)
	}()
	return true
}

func (p *Port) awaitRun(ctx context.Context) bool {
	select {
	case <-p.begun:
		return true
	case <-ctx.Done():
		return false
	}
}

// running returns the context of Run, or nil if it does not run.
func (p *Port) running() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ctx.Err() != nil {
		return nil
	}
	return p.ctx
}

func (p *Port) handler(kind wire.Kind) peer.Handler {
	for _, s := range p.served {
		if s.lo <= kind && kind <= s.hi {
			return s.handle
		}
	}
	return nil
}

// Send implements peer.Transport.
func (p *Port) Send(to cluster.PeerID, ms ...wire.Message) {
	for _, m := range ms {
		p.send(to, m)
	}
}

func (p *Port) send(to cluster.PeerID, m wire.Message) {
	at, delay, ok := p.loop.pass(p.id, to)
	if !ok || p.running() == nil {
		return
	}
	body := encode(m)
	if check(m.Kind(), body) != nil {
		return
	}
	queue := at.queue(p.id)
	if queue == nil {
		return
	}
	select {
	case queue <- notice{time.Now().Add(delay), m.Kind(), body}:
	default:
	}
}

// queue returns the notices waiting at p from one sender, or nil if p does not run.
func (p *Port) queue(from cluster.PeerID) chan notice {
	p.mu.Lock()
	queue, known := p.inbox[from]
	p.mu.Unlock()
	if known {
		return queue
	}
	queue = make(chan notice, noticesMax)
	ok := p.begin(func(ctx context.Context) { p.drain(ctx, from, queue) })
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first, known := p.inbox[from]; known { // another sender of the same name was first; ours stays empty
		return first
	}
	p.inbox[from] = queue
	return queue
}

func (p *Port) drain(ctx context.Context, from cluster.PeerID, queue chan notice) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-queue:
			if !pause(ctx, time.Until(n.at)) {
				return
			}
			if handle := p.handler(n.kind); handle != nil {
				handle(ctx, from, n.kind, n.body)
			}
		}
	}
}

// pause waits for d, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

type answer struct {
	kind wire.Kind
	body wire.Body
	err  error
}

// Call implements peer.Transport. A call waits for the Run of both ends, if it has not begun yet.
func (p *Port) Call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callDefault)
		defer cancel()
	}
	if !p.awaitRun(ctx) {
		return ended(ctx)
	}
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	own := p.running()
	if own == nil {
		return unreachable(to)
	}
	defer context.AfterFunc(own, cancel)()
	a := p.ask(calling, to, req)
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case calling.Err() != nil: // this end was stopped
		return unreachable(to)
	case a.err != nil:
		return a.err
	case reply == nil:
		return nil
	case a.kind != reply.Kind():
		return fault.New(op, fault.Invalid, "answer of kind %v where %v was expected", a.kind, reply.Kind())
	}
	return a.body.Into(reply)
}

// ask carries a request there and its answer back.
func (p *Port) ask(ctx context.Context, to cluster.PeerID, req wire.Message) answer {
	at, delay, ok := p.loop.pass(p.id, to)
	if !ok || !at.awaitRun(ctx) {
		return answer{err: unreachable(to)}
	}
	body := encode(req)
	if err := check(req.Kind(), body); err != nil {
		return answer{err: err}
	}
	if !pause(ctx, delay) {
		return answer{err: ctx.Err()}
	}
	answers := make(chan answer, 1)
	ok = at.begin(func(serving context.Context) {
		deadline, _ := ctx.Deadline()
		handling, cancel := context.WithDeadline(serving, deadline)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		answers <- at.answer(handling, p.id, req.Kind(), body)
	})
	if !ok {
		return answer{err: unreachable(to)}
	}
	select {
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	case a := <-answers:
		if _, delay, ok = p.loop.pass(to, p.id); !ok || at.running() == nil {
			return answer{err: unreachable(to)}
		}
		pause(ctx, delay)
		return a
	}
}

func (p *Port) answer(ctx context.Context, from cluster.PeerID, kind wire.Kind, body wire.Body) answer {
	handle := p.handler(kind)
	if handle == nil {
		return answer{err: fault.New(op, fault.Unsupported, "kind %v", kind)}
	}
	m, err := handle(ctx, from, kind, body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return answer{err: fault.Because(op, fault.Timeout, err)}
	case err != nil:
		return answer{err: fault.New(op, fault.KindOf(err), "%s", err)}
	}
	if m == nil {
		return answer{kind: kind}
	}
	body = encode(m)
	return answer{kind: m.Kind(), body: body, err: check(m.Kind(), body)}
}

// check refuses what a real link would.
func check(kind wire.Kind, body wire.Body) error {
	limit := wire.DefaultLimits(kind)
	if len(body.Fields) > limit.Fields || len(body.Payload) > limit.Payload {
		return fault.New(op, fault.TooBig, "kind %v: %d+%d bytes", kind, len(body.Fields), len(body.Payload))
	}
	return nil
}

func unreachable(to cluster.PeerID) error { return fault.New(op, fault.Unreachable, "%s", to.Short()) }

// ended says how ctx ended, as a fault.
func ended(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fault.Because(op, fault.Timeout, ctx.Err())
	}
	return fault.Because(op, fault.Canceled, ctx.Err())
}
