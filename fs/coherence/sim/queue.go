package sim

import (
	"container/heap"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// queue is virtual time: events in their order, and processes that sleep and wait in it. One thing runs at a time, and
// everything that is drawn comes from one source, so a seed is a history.
type queue struct {
	now    time.Duration
	rng    *rand.Rand
	events events
	order  uint64
	cur    *process
	alive  map[*process]bool
	hash   uint64 // of when what happened
	trace  func(string)
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func newQueue(seed uint64) *queue {
	return &queue{rng: rand.New(rand.NewPCG(seed, 0x5eed)), alive: map[*process]bool{}, hash: 14695981039346656037}
}

func (q *queue) after(d time.Duration, do func()) {
	q.order++
	heap.Push(&q.events, event{q.now + d, q.order, do})
}

// step runs the next event. It returns false if there is none before the limit.
func (q *queue) step(limit time.Duration) bool {
	if len(q.events) == 0 || q.events[0].at > limit {
		return false
	}
	e := heap.Pop(&q.events).(event)
	q.now = e.at
	q.hash = (q.hash^uint64(e.at)^e.order<<40)*1099511628211 + q.order
	e.do()
	return true
}

// note tells the trace what happens.
func (q *queue) note(format string, args ...any) {
	if q.trace != nil {
		q.trace(fmt.Sprintf("%10.3fms ", float64(q.now)/1e6) + fmt.Sprintf(format, args...))
	}
}

// between draws a duration, evenly.
func (q *queue) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(q.rng.Int64N(int64(hi-lo)+1))
}

// chance draws true once in n.
func (q *queue) chance(n int) bool { return q.rng.IntN(n) == 0 }

// process is a thread of the simulated world, written as straight code.
type process struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

type killed struct{}

// start begins a process, now but not before the running event is over.
func (q *queue) start(body func()) {
	p := &process{}
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		body()
	})
	q.alive[p] = true
	q.after(0, func() { q.resume(p) })
}

func (q *queue) resume(p *process) {
	q.cur = p
	if _, more := p.next(); !more {
		delete(q.alive, p)
	}
	q.cur = nil
}

// park suspends the running process until someone resumes it.
func (q *queue) park() {
	if !q.cur.yield(struct{}{}) {
		panic(killed{})
	}
}

func (q *queue) sleep(d time.Duration) {
	p := q.cur
	q.after(d, func() { q.resume(p) })
	q.park()
}

// end stops every process that is left.
func (q *queue) end() {
	for p := range q.alive {
		p.stop()
	}
	q.alive = nil
}

// gate is something to wait for.
type gate struct{ waiting []*waiter }

type waiter struct {
	p     *process
	woken bool
}

// wait suspends the running process until the gate opens.
func (q *queue) wait(g *gate) {
	g.waiting = append(g.waiting, &waiter{p: q.cur})
	q.park()
}

// waitFor is wait, at most for d.
func (q *queue) waitFor(g *gate, d time.Duration) {
	w := &waiter{p: q.cur}
	g.waiting = append(g.waiting, w)
	q.after(d, func() { q.wake(w) })
	q.park()
}

func (q *queue) wake(w *waiter) {
	if w.woken {
		return
	}
	w.woken = true
	q.resume(w.p)
}

// open lets all go that wait now.
func (q *queue) open(g *gate) {
	for _, w := range g.waiting {
		q.after(0, func() { q.wake(w) })
	}
	g.waiting = nil
}

// lock is a kernel's read-write semaphore: first come, first served, so that one who waits for it alone holds up
// those who come later to share it.
type lock struct {
	shared    int
	exclusive bool
	queue     []locker
}

type locker struct {
	p         *process
	exclusive bool
}

func (l *lock) free(exclusive bool) bool {
	return !l.exclusive && (!exclusive || l.shared == 0)
}

func (l *lock) take(exclusive bool) {
	if exclusive {
		l.exclusive = true
	} else {
		l.shared++
	}
}

func (q *queue) lock(l *lock, exclusive bool) {
	if len(l.queue) == 0 && l.free(exclusive) {
		l.take(exclusive)
		return
	}
	l.queue = append(l.queue, locker{q.cur, exclusive})
	q.park()
}

func (q *queue) unlock(l *lock, exclusive bool) {
	if exclusive {
		l.exclusive = false
	} else {
		l.shared--
	}
	for len(l.queue) > 0 && l.free(l.queue[0].exclusive) {
		next := l.queue[0]
		l.queue = l.queue[1:]
		l.take(next.exclusive)
		q.after(0, func() { q.resume(next.p) })
	}
}
