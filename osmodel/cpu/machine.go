package cpu

import (
	"container/heap"
	"fmt"

	"dfs/osmodel/cpu/discipline"
)

// machine is one CPU in the middle of a schedule. It jumps from event to event; between two events the same process
// has the CPU.
type machine struct {
	o         Options
	q         *discipline.Queue
	all       []task
	events    agenda // arrivals and ends of I/O
	now       int64
	left      int // processes that are not done
	decisions int

	running  int   // index in all, -1: none
	sliceEnd int64 // when it must give the CPU back; 0: no such time
	last     int   // who ran before, -1: nobody

	r Result
}

// task is a process and how far it has come.
type task struct {
	Process
	burst   int   // index in Bursts of what it does or waits for
	rest    int64 // of that burst
	started bool
	tau     float64 // the prediction for the next CPU burst
	ready   bool    // it has been pushed at least once
}

// event makes a process ready at a time. At equal times the trace's order decides.
type event struct {
	at   int64
	task int
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].task < a[j].task
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

func newMachine(processes []Process, o Options, q *discipline.Queue) *machine {
	m := &machine{o: o, q: q, left: len(processes), running: -1, last: -1}
	m.all = make([]task, len(processes))
	m.r.Processes = make([]Times, len(processes))
	for i, p := range processes {
		m.all[i] = task{Process: p, rest: p.Bursts[0], tau: firstGuess}
		m.r.Processes[i].ID = p.ID
		m.events = append(m.events, event{p.Arrival, i})
	}
	heap.Init(&m.events)
	if len(m.events) > 0 {
		m.now = m.events[0].at
	}
	return m
}

// step brings in what happens now, decides, and lets time pass until the next event.
func (m *machine) step() {
	for len(m.events) > 0 && m.events[0].at <= m.now {
		m.wake(heap.Pop(&m.events).(event).task)
	}
	m.giveUp()
	if m.running < 0 {
		m.dispatch()
	}
	m.pass()
}

func (m *machine) wake(i int) {
	t := &m.all[i]
	burst := t.rest
	if m.o.Predict {
		burst = max(1, int64(t.tau+0.5))
	}
	m.q.Push(m.now, discipline.Item{ID: t.ID, Seq: i, Arrival: t.Arrival, Burst: burst, Priority: t.Priority})
	if t.ready {
		m.note("%s is back from I/O", t.ID)
	} else {
		m.note("%s arrives", t.ID)
	}
	t.ready = true
}

// giveUp takes the CPU from the running process where its burst or slice is over or a better one waits.
func (m *machine) giveUp() {
	if m.running < 0 {
		return
	}
	i := m.running
	t := &m.all[i]
	switch {
	case t.rest == 0 && t.burst == len(t.Bursts)-1:
		m.running = -1
		m.q.Leave(m.now, t.ID, false)
		p := &m.r.Processes[i]
		p.Completion, p.Turnaround = m.now, m.now-t.Arrival
		p.Waiting = p.Turnaround
		for _, b := range t.Bursts {
			p.Waiting -= b
		}
		m.left--
		m.note("%s is done", t.ID)
	case t.rest == 0:
		m.running = -1
		m.q.Leave(m.now, t.ID, true)
		t.tau = average(0.5, t.tau, float64(t.Bursts[t.burst]))
		back := m.now + t.Bursts[t.burst+1]
		m.r.Away = append(m.r.Away, Span{t.ID, IO, m.now, back})
		heap.Push(&m.events, event{back, i})
		t.burst += 2
		t.rest = t.Bursts[t.burst]
		m.note("%s waits for I/O", t.ID)
	case m.sliceEnd > 0 && m.now >= m.sliceEnd:
		m.running = -1
		m.q.Return(m.now, t.ID)
		if m.q.Len() > 1 {
			m.note("the slice of %s is over", t.ID)
		}
	case m.q.Preempts(m.now, t.ID):
		m.running = -1
		m.q.Return(m.now, t.ID)
		m.note("%s is preempted", t.ID)
	}
}

// dispatch gives the CPU to whom the queue picks, after a switch where that costs something.
func (m *machine) dispatch() {
	it, slice, ok := m.q.Pop(m.now)
	if !ok {
		return
	}
	i := it.Seq
	if m.last >= 0 && m.last != i {
		m.r.Switches++
		if m.o.SwitchCost > 0 {
			m.span(Switch, "", m.o.SwitchCost)
			m.now += m.o.SwitchCost
		}
	}
	if m.last != i || m.idled() {
		m.noteRun(i)
	}
	m.running, m.last = i, i
	m.sliceEnd = 0
	if slice > 0 {
		m.sliceEnd = m.now + slice
	}
}

func (m *machine) idled() bool {
	return len(m.r.Gantt) == 0 || m.r.Gantt[len(m.r.Gantt)-1].Kind != Run
}

// pass lets time go on to the next event.
func (m *machine) pass() {
	next := int64(-1)
	sooner := func(at int64) {
		if next < 0 || at < next {
			next = at
		}
	}
	if len(m.events) > 0 {
		sooner(max(m.events[0].at, m.now)) // it may have come during a context switch
	}
	if m.running < 0 {
		if next > m.now {
			m.span(Idle, "", next-m.now)
			m.now = next
		}
		return
	}
	t := &m.all[m.running]
	sooner(m.now + t.rest)
	if m.sliceEnd > 0 {
		sooner(m.sliceEnd)
	}
	if at := m.q.Next(m.now); at > m.now {
		sooner(at)
	}
	ran := next - m.now
	if ran == 0 {
		return
	}
	if !t.started {
		t.started = true
		m.r.Processes[m.running].Response = m.now - t.Arrival
	}
	m.span(Run, t.ID, ran)
	m.now, t.rest = next, t.rest-ran
	m.q.Charge(m.now, t.ID, ran)
}

// span appends ticks from now on to the chart, merged with what it touches.
func (m *machine) span(k Kind, id string, ticks int64) {
	if k == Run {
		m.r.Busy += ticks
	}
	if n := len(m.r.Gantt); n > 0 {
		if s := &m.r.Gantt[n-1]; s.Kind == k && s.ID == id && k != Switch {
			s.End += ticks
			return
		}
	}
	m.r.Gantt = append(m.r.Gantt, Span{id, k, m.now, m.now + ticks})
}

func (m *machine) note(format string, args ...any) {
	if m.o.Trace {
		m.record(fmt.Sprintf(format, args...), m.running)
	}
}

func (m *machine) noteRun(i int) {
	if m.o.Trace {
		m.record(m.all[i].ID+" runs", i)
	}
}

func (m *machine) record(event string, running int) {
	s := Step{Time: m.now, Event: event}
	if running >= 0 {
		s.Running = m.all[running].ID
	}
	for _, it := range m.q.Waiting() {
		s.Ready = append(s.Ready, it.ID)
	}
	m.r.Steps = append(m.r.Steps, s)
}

func (m *machine) result() Result {
	r := m.r
	if len(r.Processes) == 0 {
		return r
	}
	first := m.all[0].Arrival
	for i, p := range r.Processes {
		first = min(first, m.all[i].Arrival)
		r.Mean.Waiting += float64(p.Waiting)
		r.Mean.Turnaround += float64(p.Turnaround)
		r.Mean.Response += float64(p.Response)
	}
	n := float64(len(r.Processes))
	r.Mean.Waiting /= n
	r.Mean.Turnaround /= n
	r.Mean.Response /= n
	r.Makespan = m.now - first
	r.Throughput = n / float64(r.Makespan)
	r.Utilisation = float64(r.Busy) / float64(r.Makespan)
	return r
}
