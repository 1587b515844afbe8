package queue

import (
	"errors"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/osmodel/cpu"
	"dfs/osmodel/cpu/discipline"
)

// What schedules real tasks is what the simulator runs: both import the one package of disciplines, and neither
// decides an order of its own.
func TestTheSimulatorRunsTheSameCode(t *testing.T) {
	const shared = "dfs/osmodel/cpu/discipline"
	for _, file := range []string{"queue.go", "../../osmodel/cpu/machine.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		var imports []string
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports = append(imports, name)
		}
		if !slices.Contains(imports, shared) {
			t.Errorf("%s imports %v, not %s", file, imports, shared)
		}
	}
}

// Driven as the simulator drives its own, the queue of real tasks gives the CPU to the same tasks at the same times.
func TestRealTasksRunInTheSimulatorsOrder(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		names := []discipline.Name{discipline.FCFS, discipline.SJF, discipline.SRTF, discipline.Priority, discipline.RR, discipline.MLFQ}
		o := discipline.Options{Name: names[r.IntN(len(names))], Quantum: 1 + r.Int64N(4), Preemptive: r.IntN(2) == 0}
		var ps []cpu.Process
		var at int64
		for i := range 1 + r.IntN(6) {
			ps = append(ps, cpu.Process{ID: strconv.Itoa(i), Arrival: at, Bursts: []int64{1 + r.Int64N(8)}, Priority: r.IntN(4)})
			at += r.Int64N(4)
		}
		result, err := cpu.Simulate(ps, cpu.Options{Options: o})
		if err != nil {
			t.Fatal(err)
		}
		var want []string // who has the CPU, tick by tick
		for _, s := range result.Gantt {
			for range s.End - s.Start {
				want = append(want, s.ID)
			}
		}
		if got := drive(t, o, ps); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %+v\n%+v\ngot  %q\nwant %q", seed, o, ps, got, want)
		}
	}
}

// drive runs ps on one CPU with a Queue, a tick at a time.
func drive(t *testing.T, o discipline.Options, ps []cpu.Process) (chart []string) {
	t.Helper()
	q, c := newQueue(t, Options{Discipline: o})
	start, left, done := c.now, map[string]int64{}, 0
	running, end := "", time.Time{}
	for now := int64(0); ; now++ {
		c.now = start.Add(time.Duration(now) * time.Millisecond)
		if running != "" {
			left[running]--
			q.Ran(running, time.Millisecond)
		}
		for _, p := range ps {
			if p.Arrival == now {
				left[p.ID] = p.Bursts[0]
				push(t, q, Task{ID: p.ID, Priority: p.Priority, Estimate: time.Duration(p.Bursts[0]) * time.Millisecond})
			}
		}
		switch {
		case running == "":
		case left[running] == 0:
			q.Done(running)
			running = ""
			if done++; done == len(ps) {
				return chart
			}
		case !end.IsZero() && !c.now.Before(end), q.Preempts(running):
			q.Return(running)
			running = ""
		}
		if running == "" {
			id, slice, ok := q.Pop()
			if running, end = id, (time.Time{}); ok && slice > 0 {
				end = c.now.Add(slice)
			}
		}
		chart = append(chart, running)
	}
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newQueue(t *testing.T, o Options) (*Queue, *clock) {
	t.Helper()
	c := &clock{time.Unix(1_000_000, 0)}
	o.Now = c.Now
	q, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return q, c
}

func push(t *testing.T, q *Queue, tasks ...Task) {
	t.Helper()
	for _, task := range tasks {
		if err := q.Push(task); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRoundRobinOfRealTasks(t *testing.T) {
	q, c := newQueue(t, Options{Discipline: discipline.Options{Name: discipline.RR, Quantum: 20}})
	push(t, q, Task{ID: "a"}, Task{ID: "b"}, Task{ID: "c"})
	var order []string
	for range 5 {
		id, slice, ok := q.Pop()
		if !ok || slice != 20*time.Millisecond {
			t.Fatal(id, slice, ok)
		}
		order = append(order, id)
		c.now = c.now.Add(slice)
		q.Ran(id, slice)
		q.Return(id)
	}
	if got := strings.Join(order, ""); got != "abcab" {
		t.Error(got)
	}
	if !q.Done("c") || q.Done("c") || strings.Join(q.Waiting(), "") != "ab" {
		t.Error(q.Waiting())
	}
}

func TestEstimatesOrderShortestFirst(t *testing.T) {
	q, _ := newQueue(t, Options{Discipline: discipline.Options{Name: discipline.SJF}})
	push(t, q, Task{ID: "unknown"}, Task{ID: "long", Estimate: time.Hour}, Task{ID: "short", Estimate: time.Second})
	for _, want := range []string{"short", "long", "unknown"} {
		if id, _, _ := q.Pop(); id != want {
			t.Errorf("%s, want %s", id, want)
		}
	}
}

func TestTheDisciplineChangesLive(t *testing.T) {
	q, c := newQueue(t, Options{})
	push(t, q, Task{ID: "a", Priority: 1}, Task{ID: "b", Priority: 1}, Task{ID: "c", Priority: 9})
	if id, _, _ := q.Pop(); id != "a" {
		t.Fatal(id)
	}
	if err := q.Switch(discipline.Options{Name: discipline.Priority, Preemptive: true}); err != nil {
		t.Fatal(err)
	}
	if !q.Preempts("a") {
		t.Error("c does not preempt a, which was running during the change")
	}
	c.now = c.now.Add(time.Millisecond)
	q.Ran("a", time.Millisecond)
	q.Return("a")
	if id, _, _ := q.Pop(); id != "c" || q.Len() != 2 {
		t.Error(id, q.Waiting())
	}
	if err := q.Switch(discipline.Options{Name: "?"}); !errors.Is(err, fault.Invalid) {
		t.Error(err)
	}
	push(t, q, Task{ID: "d", Priority: 99})
	if err := q.Switch(discipline.Options{Name: discipline.CFS}); !errors.Is(err, fault.Invalid) || q.Len() != 3 {
		t.Error(err, q.Len())
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	q, _ := newQueue(t, Options{Max: 2})
	push(t, q, Task{ID: "a"}, Task{ID: "b"})
	if err := q.Push(Task{ID: "a"}); !errors.Is(err, fault.Exist) {
		t.Error(err)
	}
	if err := q.Push(Task{ID: "c"}); !errors.Is(err, fault.Quota) {
		t.Error(err)
	}
	if q.Done("b"); q.Push(Task{ID: "c"}) != nil {
		t.Error("no room after one was done")
	}
}

// Many workers on one queue: every task runs once at a time, and all of them get all their turns.
func TestManyWorkers(t *testing.T) {
	q, err := New(Options{Discipline: discipline.Options{Name: discipline.RR, Quantum: 1}})
	if err != nil {
		t.Fatal(err)
	}
	const tasks, turns, workers = 50, 20, 8
	for i := range tasks {
		push(t, q, Task{ID: strconv.Itoa(i)})
	}
	var mu sync.Mutex
	busy, had := map[string]bool{}, map[string]int{}
	take := func(id string) { // the turn of one task
		mu.Lock()
		defer mu.Unlock()
		if busy[id] {
			t.Errorf("%s runs twice at once", id)
		}
		busy[id] = true
	}
	give := func(id string) (done bool) {
		mu.Lock()
		defer mu.Unlock()
		busy[id] = false
		had[id]++
		return had[id] == turns
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				id, slice, ok := q.Pop()
				if !ok {
					return // the others finish what they hold
				}
				take(id)
				q.Ran(id, slice)
				if give(id) {
					q.Done(id)
				} else {
					q.Return(id)
				}
			}
		})
	}
	all.Wait()
	for i := range tasks {
		if n := had[strconv.Itoa(i)]; n != turns {
			t.Errorf("task %d had %d turns", i, n)
		}
	}
}
