package raft

import "sync"

// inbox is what happens to the core, in the order it came. Whoever posts while nobody is at work becomes the worker: he runs
// what there is, and what others post meanwhile, and then goes on. So an event costs no change of goroutines, and nobody
// who posts waits for a lock that is held during work.
type inbox struct {
	run func([]func()) // runs all, then does what follows from them

	mu   sync.Mutex
	idle sync.Cond // of mu: nobody works
	fns  []func()
	open bool // there may be work
	busy bool // somebody works
}

func newInbox(run func([]func())) *inbox {
	b := &inbox{run: run}
	b.idle.L = &b.mu
	return b
}

// post adds fn; before start it waits for that. Those who post are bounded by what they wait for.
func (b *inbox) post(fn func()) { b.add(fn, false) }

// offer adds fn unless too much waits already.
func (b *inbox) offer(fn func()) { b.add(fn, true) }

func (b *inbox) add(fn func(), bounded bool) {
	b.mu.Lock()
	if !bounded || len(b.fns) < inboxMax {
		b.fns = append(b.fns, fn)
	}
	if !b.open || b.busy {
		b.mu.Unlock()
		return
	}
	b.work()
}

// start lets the work begin, with first.
func (b *inbox) start(first func()) {
	b.mu.Lock()
	b.fns = append([]func(){first}, b.fns...)
	b.open = true
	b.work()
}

// stop ends the work: what is posted from now on never runs.
func (b *inbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = false
	for b.busy {
		b.idle.Wait()
	}
}

// work runs what waits. It is called with mu held, and returns without.
func (b *inbox) work() {
	b.busy = true
	defer func() {
		b.busy = false
		b.idle.Broadcast()
		b.mu.Unlock()
	}()
	for b.open && len(b.fns) > 0 {
		fns := b.fns
		b.fns = nil
		b.mu.Unlock()
		func() {
			defer b.mu.Lock()
			b.run(fns)
		}()
	}
}
