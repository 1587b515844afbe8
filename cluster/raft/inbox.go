package raft

import "sync"

// inbox is what waits for the loop, in the order it came.
type inbox struct {
	mu    sync.Mutex
	fns   []func()
	ready chan struct{} // one slot
}

func newInbox() *inbox {
	return &inbox{ready: make(chan struct{}, 1)}
}

// post adds fn. Those who post are bounded by what they wait for.
func (b *inbox) post(fn func()) {
	b.mu.Lock()
	b.fns = append(b.fns, fn)
	b.mu.Unlock()
	b.wake()
}

// offer adds fn unless too much waits already.
func (b *inbox) offer(fn func()) {
	b.mu.Lock()
	full := len(b.fns) >= inboxMax
	if !full {
		b.fns = append(b.fns, fn)
	}
	b.mu.Unlock()
	b.wake()
}

func (b *inbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns all that waits.
func (b *inbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	fns := b.fns
	b.fns = nil
	return fns
}

// jobs is a queue to one goroutine. What is in it is bounded by the consensus core's own limits on what is in flight.
type jobs[T any] struct {
	mu    sync.Mutex
	list  []T
	ready chan struct{} // one slot
}

func newJobs[T any]() *jobs[T] {
	return &jobs[T]{ready: make(chan struct{}, 1)}
}

func (j *jobs[T]) push(t T) {
	j.mu.Lock()
	j.list = append(j.list, t)
	j.mu.Unlock()
	select {
	case j.ready <- struct{}{}:
	default:
	}
}

// take waits for jobs and returns all there are; nil once done is closed and none are left.
func (j *jobs[T]) take(done <-chan struct{}) []T {
	for {
		j.mu.Lock()
		list := j.list
		j.list = nil
		j.mu.Unlock()
		if len(list) > 0 {
			return list
		}
		select {
		case <-j.ready:
		case <-done:
			return nil
		}
	}
}
