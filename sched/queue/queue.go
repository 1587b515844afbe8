// Package queue is the run queue of real tasks: a discipline of osmodel/cpu/discipline, the very code that the
// simulator runs, with real time, a lock and a bound around it.
//
// The discipline may be changed while tasks wait and run; what a discipline remembers of a task (its level, its share)
// starts anew then, its place in order of arrival stays.
package queue

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/osmodel/cpu/discipline"
)

// Options tune a Queue. The zero value is first come first served in milliseconds of the system's clock.
type Options struct {
	Discipline discipline.Options // its times are in ticks
	Tick       time.Duration      // default 1 ms
	Max        int                // tasks that wait or run, default 100,000; each takes about 300 bytes
	Now        func() time.Time   // default time.Now
}

// Task is what the queue needs to know of a task.
type Task struct {
	ID       string
	Priority int           // higher is more important; tickets or nice for the disciplines of shares
	Estimate time.Duration // of its CPU time; 0: unknown, which counts as long
}

// Queue is a run queue. Safe for concurrent use; nothing blocks.
type Queue struct {
	o     Options
	start time.Time

	mu    sync.Mutex
	q     *discipline.Queue
	tasks map[string]*entry // waiting and running
	seq   int
}

type entry struct {
	discipline.Item
	running bool
}

// unknown stands for the burst of a task without an estimate, in ticks.
const unknown = 1 << 40

// New makes an empty queue; fault.Invalid if the discipline's options make no sense.
func New(o Options) (*Queue, error) {
	if o.Tick <= 0 {
		o.Tick = time.Millisecond
	}
	if o.Max <= 0 {
		o.Max = 100_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	q, err := discipline.New(o.Discipline)
	if err != nil {
		return nil, fault.Because("queue", fault.Invalid, err)
	}
	return &Queue{o: o, start: o.Now(), q: q, tasks: map[string]*entry{}}, nil
}

func (q *Queue) nowLocked() int64 { return int64(q.o.Now().Sub(q.start) / q.o.Tick) }

// ticks rounds up, so that no time is lost for good.
func (q *Queue) ticks(d time.Duration) int64 { return int64((d + q.o.Tick - 1) / q.o.Tick) }

// Push makes t ready. fault.Exist if it is there, fault.Quota if the queue is full, fault.Invalid if its priority
// means nothing to the discipline.
func (q *Queue) Push(t Task) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.tasks[t.ID] != nil:
		return fault.New("queue push", fault.Exist, "task %s", t.ID)
	case len(q.tasks) >= q.o.Max:
		return fault.New("queue push", fault.Quota, "%d tasks wait or run", len(q.tasks))
	}
	burst := int64(unknown)
	if t.Estimate > 0 {
		burst = q.ticks(t.Estimate)
	}
	now := q.nowLocked()
	it := discipline.Item{ID: t.ID, Seq: q.seq, Arrival: now, Burst: burst, Priority: t.Priority}
	if err := discipline.Validate(q.o.Discipline.Name, it); err != nil {
		return fault.Because("queue push", fault.Invalid, err)
	}
	q.seq++
	q.tasks[t.ID] = &entry{Item: it}
	q.q.Push(now, it)
	return nil
}

// Pop takes the next task to run and how long it may; 0 means until it ends. It counts as running until Return or Done.
func (q *Queue) Pop() (id string, slice time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it, ticks, ok := q.q.Pop(q.nowLocked())
	if ok {
		q.tasks[it.ID].running = true
	}
	return it.ID, time.Duration(ticks) * q.o.Tick, ok
}

// Ran says that the running task id has had the CPU for so long since it was popped or Ran was last called. Parts of a
// tick count as a whole one.
func (q *Queue) Ran(id string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.tasks[id]; e != nil && e.running {
		e.Burst = max(0, e.Burst-q.ticks(d))
		q.q.Charge(q.nowLocked(), id, q.ticks(d))
	}
}

// Return puts the running task id back: its slice is over or another one preempts it.
func (q *Queue) Return(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.tasks[id]; e != nil && e.running {
		e.running = false
		q.q.Return(q.nowLocked(), id)
	}
}

// Done forgets task id, waiting or running, and reports whether it was known.
func (q *Queue) Done(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.tasks, id)
	return q.q.Remove(id)
}

// Preempts reports whether the running task id should give way now.
func (q *Queue) Preempts(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.q.Preempts(q.nowLocked(), id)
}

// Len returns how many tasks wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.q.Len()
}

// Waiting returns the ids of the tasks that wait, in the order of their entry.
func (q *Queue) Waiting() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for _, it := range q.q.Waiting() {
		ids = append(ids, it.ID)
	}
	return ids
}

// Switch changes the discipline. Tasks that run go on running. fault.Invalid, and nothing changes, if the options make
// no sense or a task's priority means nothing to the new discipline.
func (q *Queue) Switch(o discipline.Options) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	next, err := discipline.New(o)
	if err != nil {
		return fault.Because("queue switch", fault.Invalid, err)
	}
	for _, e := range q.tasks {
		if err := discipline.Validate(o.Name, e.Item); err != nil {
			return fault.Because("queue switch", fault.Invalid, fmt.Errorf("%s: %w", o.Name, err))
		}
	}
	// The running ones pass through the new queue first: it is empty, so each push is popped again at once.
	now := q.nowLocked()
	for _, e := range q.orderLocked() {
		if e.running {
			next.Push(now, e.Item)
			next.Pop(now)
		}
	}
	for _, it := range q.q.Waiting() {
		next.Push(now, it)
	}
	q.q, q.o.Discipline = next, o
	return nil
}

// orderLocked returns the tasks in order of submission.
func (q *Queue) orderLocked() []*entry {
	var es []*entry
	for _, e := range q.tasks {
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.Seq - b.Seq })
	return es
}
