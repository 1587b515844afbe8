package raft

import "sync"

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
