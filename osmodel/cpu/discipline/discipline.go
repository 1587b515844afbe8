// Package discipline holds the orders in which a run queue lets processes have the CPU: first come first served,
// shortest job first, priority, round robin, feedback queues, lottery, stride and two kinds of fair share.
//
// It is the code that the simulator in osmodel/cpu runs and that sched/queue schedules real tasks with. A Queue keeps
// the items that are ready and those that were popped and still run, and decides; who calls it owns the clock and the
// CPU. Time is in ticks of whatever length the caller likes, and never goes backwards from call to call.
//
// Conventions. Ties go to the earlier arrival, then to the lower Seq. Where several things happen at one instant the
// caller charges the running item, pushes arrivals, and only then returns the preempted item, so that arrivals stand
// before it. A higher Priority number runs first unless Options.LowerFirst says otherwise.
package discipline

import (
	"fmt"
	"math"
	"slices"
)

// Name names a discipline.
type Name string

// The disciplines.
const (
	FCFS     Name = "fcfs"     // first come first served
	SJF      Name = "sjf"      // shortest burst first, not preemptive
	SRTF     Name = "srtf"     // shortest remaining burst first; a strictly shorter one preempts
	Priority Name = "priority" // most important first
	RR       Name = "rr"       // round robin
	MLFQ     Name = "mlfq"     // multi-level feedback queue
	Lottery  Name = "lottery"  // Waldspurger and Weihl 1994
	Stride   Name = "stride"   // Waldspurger and Weihl 1995
	CFS      Name = "cfs"      // fair share by virtual run time, after Linux's
	EEVDF    Name = "eevdf"    // earliest eligible virtual deadline first, Stoica and Abdel-Wahab 1995
)

// Names lists the disciplines in the order of this page.
var Names = []Name{FCFS, SJF, SRTF, Priority, RR, MLFQ, Lottery, Stride, CFS, EEVDF}

// Item is what a run queue knows of a process or task.
type Item struct {
	ID       string // unique among the items of one queue
	Seq      int    // place in the trace or order of submission; the last tie-break
	Arrival  int64
	Burst    int64 // what is left of this CPU burst, known or estimated; Charge lowers it, never below 0
	Priority int   // tickets for lottery and stride (0 counts as 1), nice for cfs and eevdf
}

// Options select and tune a discipline. Zero values are the defaults; what is foreign to the discipline is ignored.
type Options struct {
	Name        Name   // default fcfs
	Quantum     int64  // rr, mlfq, lottery, stride, eevdf: ticks of one slice, default 1. priority: equals take turns, default 0: they do not. cfs: a fixed slice, default 0: a share of Latency
	LowerFirst  bool   // priority: the lower number is the more important
	Preemptive  bool   // priority: a more important arrival takes the CPU
	Aging       int64  // priority: the effective priority rises one step every so many ticks of waiting; 0 never
	Levels      int    // mlfq: default 3
	Allotment   int64  // mlfq: ticks on one level before going one down, default Quantum
	Boost       int64  // mlfq: all go to the top every so many ticks; 0 never
	Latency     int64  // cfs: ticks in which all ready items run once, default 48
	Granularity int64  // cfs: the shortest slice, default 6
	Seed        uint64 // lottery
}

// maxLevels bounds Options.Levels.
const maxLevels = 1024

// rule is one discipline. waiting is in the order of entry and not empty.
type rule interface {
	pick(now int64, waiting []*entity) int                       // who runs next
	slice(now int64, e *entity, waiting []*entity) int64         // how long at most; 0: to the end of its burst
	preempts(now int64, waiting []*entity, running *entity) bool // whether running must give way
	join(e *entity, others func(func(*entity) bool), again bool) // e became ready: new, or again after a wait
	charge(e *entity, ticks int64)                               // e ran
	next(now int64, waiting []*entity) int64                     // when preempts or advance is due although nothing happens; 0 never
	advance(now int64, everyone func(yield func(*entity) bool))  // time has come to now
}

// entity is an Item and what the rules remember about it.
type entity struct {
	Item
	since    int64 // when it began to wait
	raised   int   // priority: steps gained by aging, kept while it runs
	level    int   // mlfq
	used     int64 // mlfq: of the allotment on this level
	pass     int64 // stride: in units of 1/Quantum
	vruntime int64 // cfs, eevdf: in units of 1/vUnit ticks
}

// before is the order among equals.
func (e *entity) before(o *entity) bool {
	if e.Arrival != o.Arrival {
		return e.Arrival < o.Arrival
	}
	return e.Seq < o.Seq
}

// Queue is a run queue. It is not safe for concurrent use.
type Queue struct {
	rule    rule
	waiting []*entity          // in the order of entry
	running map[string]*entity // popped and neither returned nor left
	away    map[string]*entity // left to come back: they keep their level, pass and virtual time
}

// New makes an empty queue. Options that make no sense are an error.
func New(o Options) (*Queue, error) {
	r, err := newRule(&o)
	if err != nil {
		return nil, err
	}
	return &Queue{rule: r, running: map[string]*entity{}, away: map[string]*entity{}}, nil
}

func newRule(o *Options) (rule, error) {
	if o.Quantum < 0 || o.Aging < 0 || o.Levels < 0 || o.Allotment < 0 || o.Boost < 0 || o.Latency < 0 || o.Granularity < 0 {
		return nil, fmt.Errorf("discipline: a number below 0 in %+v", *o)
	}
	if o.Levels > maxLevels {
		return nil, fmt.Errorf("discipline: %d levels, at most %d", o.Levels, maxLevels)
	}
	quantum := max(o.Quantum, 1)
	switch o.Name {
	case FCFS, "":
		return plain{}, nil
	case SJF:
		return shortest{}, nil
	case SRTF:
		return shortest{preemptive: true}, nil
	case Priority:
		return important{lowerFirst: o.LowerFirst, preemptive: o.Preemptive, aging: o.Aging, quantum: o.Quantum}, nil
	case RR:
		return turns{quantum: quantum}, nil
	case MLFQ:
		return newFeedback(quantum, o.Levels, o.Allotment, o.Boost), nil
	case Lottery:
		return newDraw(quantum, o.Seed), nil
	case Stride:
		return &strides{quantum: quantum}, nil
	case CFS:
		return newFair(o.Latency, o.Granularity, o.Quantum), nil
	case EEVDF:
		return eligible{request: quantum}, nil
	}
	return nil, fmt.Errorf("discipline: %q is none of %v", o.Name, Names)
}

// Validate says what makes it unfit for the discipline: tickets below 0, a nice value outside [-20, 19].
func Validate(n Name, it Item) error {
	switch {
	case n == Lottery && (it.Priority < 0 || it.Priority > math.MaxInt32):
		return fmt.Errorf("%s has %d tickets, want 0 to %d", it.ID, it.Priority, math.MaxInt32)
	case n == Stride && (it.Priority < 0 || it.Priority > strideOne):
		return fmt.Errorf("%s has %d tickets, want 0 to %d", it.ID, it.Priority, strideOne)
	case (n == CFS || n == EEVDF) && (it.Priority < minNice || it.Priority > maxNice):
		return fmt.Errorf("%s has nice %d, want %d to %d", it.ID, it.Priority, minNice, maxNice)
	}
	return nil
}

// Push makes it ready: it is new, or comes back after Leave with again. A second Push of a known item does nothing.
func (q *Queue) Push(now int64, it Item) {
	q.rule.advance(now, q.everyone)
	if q.find(it.ID) >= 0 || q.running[it.ID] != nil {
		return
	}
	e, again := q.away[it.ID]
	if again {
		delete(q.away, it.ID)
		e.Item = it
	} else {
		e = &entity{Item: it}
	}
	e.since, e.raised = now, 0
	q.rule.join(e, q.present, again)
	q.waiting = append(q.waiting, e)
}

// Pop takes the next item to run and the longest it may do so; slice 0 means to the end of its burst. The item counts
// as running until Return or Leave. Several may run at once.
func (q *Queue) Pop(now int64) (it Item, slice int64, ok bool) {
	q.rule.advance(now, q.everyone)
	if len(q.waiting) == 0 {
		return Item{}, 0, false
	}
	i := q.rule.pick(now, q.waiting)
	e := q.waiting[i]
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.running[e.ID] = e
	return e.Item, q.rule.slice(now, e, q.waiting), true
}

// Charge says that the running item id had the CPU for so many ticks up to now.
func (q *Queue) Charge(now int64, id string, ticks int64) {
	if e := q.running[id]; e != nil {
		e.Burst = max(0, e.Burst-ticks)
		q.rule.charge(e, ticks)
	}
	q.rule.advance(now, q.everyone)
}

// Return puts the running item id behind those that wait: its slice is over or it was preempted.
func (q *Queue) Return(now int64, id string) {
	q.rule.advance(now, q.everyone)
	if e := q.running[id]; e != nil {
		delete(q.running, id)
		e.since, e.raised = now, 0
		q.waiting = append(q.waiting, e)
	}
}

// Leave ends the burst of the running item id. With again it will be pushed once more, after a wait.
func (q *Queue) Leave(now int64, id string, again bool) {
	q.rule.advance(now, q.everyone)
	if e := q.running[id]; e != nil {
		delete(q.running, id)
		if again {
			q.away[id] = e
		}
	}
}

// Remove forgets item id, whatever it does, and reports whether it was known.
func (q *Queue) Remove(id string) bool {
	i := q.find(id)
	known := i >= 0 || q.running[id] != nil || q.away[id] != nil
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	delete(q.running, id)
	delete(q.away, id)
	return known
}

// Preempts reports whether the running item id must give way to one that waits.
func (q *Queue) Preempts(now int64, id string) bool {
	q.rule.advance(now, q.everyone)
	e := q.running[id]
	return e != nil && len(q.waiting) > 0 && q.rule.preempts(now, q.waiting, e)
}

// Next returns the next instant after now at which Preempts may answer otherwise, or the queue wants to be called,
// although nothing happens; 0 if there is none.
func (q *Queue) Next(now int64) int64 { return q.rule.next(now, q.waiting) }

// Len returns how many items wait.
func (q *Queue) Len() int { return len(q.waiting) }

// Waiting returns the items that wait, in the order of their entry.
func (q *Queue) Waiting() []Item {
	items := make([]Item, len(q.waiting))
	for i, e := range q.waiting {
		items[i] = e.Item
	}
	return items
}

// Level returns the feedback level of item id, 0 being the top; 0 for other disciplines.
func (q *Queue) Level(id string) int {
	for e := range q.everyone {
		if e.ID == id {
			return e.level
		}
	}
	return 0
}

func (q *Queue) find(id string) int {
	return slices.IndexFunc(q.waiting, func(e *entity) bool { return e.ID == id })
}

// present yields those that want the CPU: waiting and running. Only sums and minima may depend on it, the order of
// the running ones is not defined.
func (q *Queue) present(yield func(*entity) bool) {
	for _, e := range q.waiting {
		if !yield(e) {
			return
		}
	}
	for _, e := range q.running {
		if !yield(e) {
			return
		}
	}
}

// everyone yields also those that are away.
func (q *Queue) everyone(yield func(*entity) bool) {
	more := true
	for e := range q.present {
		if more = yield(e); !more {
			return
		}
	}
	for _, e := range q.away {
		if !yield(e) {
			return
		}
	}
}
