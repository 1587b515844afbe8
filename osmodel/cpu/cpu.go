// Package cpu simulates processes that share one CPU under any of the disciplines of osmodel/cpu/discipline, and
// measures what textbooks measure: waiting, turnaround and response time, throughput and utilisation.
//
// Conventions, where they change results: ties go by arrival, then by the order of the trace; at one instant arrivals
// and ends of I/O enter the ready queue before the preempted process does; a context switch costs nothing unless
// Options.SwitchCost says so, and is then paid whenever the CPU goes from one process to another, before the chosen
// one runs. Turnaround is completion - arrival; waiting is turnaround less CPU and I/O bursts; response is first run -
// arrival. Time is in ticks, whole numbers.
package cpu

import (
	"errors"
	"fmt"

	"dfs/osmodel/cpu/discipline"
)

// Process is one line of a trace.
type Process struct {
	ID       string
	Arrival  int64
	Bursts   []int64 // CPU, I/O, CPU, ...: odd in number, each at least 1
	Priority int     // tickets for lottery and stride, nice for cfs and eevdf
}

// Options say how to schedule.
type Options struct {
	discipline.Options
	SwitchCost int64 // ticks of a context switch
	Predict    bool  // sjf and srtf order by exponential averages of the bursts so far instead of knowing the next one
	Trace      bool  // keep Result.Steps
}

// Span is a time in which one thing happened: [Start, End).
type Span struct {
	ID         string // "" unless Kind is Run or IO
	Kind       Kind
	Start, End int64
}

// Kind is what happens during a Span.
type Kind uint8

// What the CPU does, and IO: what a process does elsewhere meanwhile.
const (
	Run Kind = iota
	Idle
	Switch
	IO
)

// Times are the measures of one process.
type Times struct {
	ID                            string
	Waiting, Turnaround, Response int64
	Completion                    int64
}

// Means are the measures of all processes together.
type Means struct{ Waiting, Turnaround, Response float64 }

// Step is one decision, for people who follow along.
type Step struct {
	Time    int64
	Event   string   // what happened: "P1 arrives", "P2 preempted", "P2 runs"
	Running string   // "" if nothing
	Ready   []string // in the order of entry
}

// Result is a finished schedule.
type Result struct {
	Processes   []Times // in the order of the trace
	Mean        Means
	Gantt       []Span  // gapless from the first arrival to the last completion; neighbours differ
	Away        []Span  // bursts of I/O in the order they began; their Kind is IO
	Makespan    int64   // from the first arrival to the last completion
	Busy        int64   // ticks spent running processes
	Switches    int     // from one process to another
	Throughput  float64 // processes a tick
	Utilisation float64 // Busy / Makespan
	Steps       []Step  // only with Options.Trace
}

// Bounds of what is simulated.
const (
	MaxProcesses = 100_000
	MaxTicks     = 1_000_000_000_000 // of all bursts together, and of any arrival, quantum or cost
	MaxDecisions = 1_000_000
)

// ErrTooLong means that the schedule has more than MaxDecisions decisions: a longer quantum helps.
var ErrTooLong = errors.New("cpu: the schedule has too many slices, take a longer quantum")

// Simulate runs processes to completion. It is deterministic: equal arguments give equal results.
func Simulate(processes []Process, o Options) (Result, error) {
	if err := Validate(processes, o); err != nil {
		return Result{}, err
	}
	q, err := discipline.New(o.Options)
	if err != nil {
		return Result{}, err
	}
	m := newMachine(processes, o, q)
	for m.left > 0 {
		if m.decisions++; m.decisions > MaxDecisions {
			return Result{}, ErrTooLong
		}
		m.step()
	}
	return m.result(), nil
}

// Validate says what is wrong with processes for these options.
func Validate(processes []Process, o Options) error {
	if len(processes) > MaxProcesses {
		return fmt.Errorf("cpu: %d processes, at most %d", len(processes), MaxProcesses)
	}
	for _, n := range []int64{o.SwitchCost, o.Quantum, o.Aging, o.Allotment, o.Boost, o.Latency, o.Granularity} {
		if n < 0 || n > MaxTicks {
			return fmt.Errorf("cpu: an option is %d, want 0 to %d", n, int64(MaxTicks))
		}
	}
	seen := make(map[string]bool, len(processes))
	var total int64
	for _, p := range processes {
		if seen[p.ID] {
			return fmt.Errorf("cpu: process %s appears twice", p.ID)
		}
		seen[p.ID] = true
		if p.Arrival < 0 || p.Arrival > MaxTicks {
			return fmt.Errorf("cpu: %s arrives at %d, want 0 to %d", p.ID, p.Arrival, int64(MaxTicks))
		}
		if len(p.Bursts)%2 == 0 {
			return fmt.Errorf("cpu: %s has %d bursts: a process begins and ends with a CPU burst", p.ID, len(p.Bursts))
		}
		for _, b := range p.Bursts {
			if b < 1 || b > MaxTicks {
				return fmt.Errorf("cpu: %s has a burst of %d, want 1 to %d", p.ID, b, int64(MaxTicks))
			}
			if total += b; total > MaxTicks {
				return fmt.Errorf("cpu: all bursts together exceed %d ticks", int64(MaxTicks))
			}
		}
		if err := discipline.Validate(o.Name, discipline.Item{ID: p.ID, Priority: p.Priority}); err != nil {
			return fmt.Errorf("cpu: %w", err)
		}
	}
	return nil
}
