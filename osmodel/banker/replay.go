package banker

import (
	"io"
	"slices"

	"dfs/osmodel/trace"
)

// Problem is a trace: what there is, who registers, and what happens then.
type Problem struct {
	Total []int64
	Ops   []Op
}

// Op is one line after the first.
type Op struct {
	Verb      string // process, request, release, exit
	ID        string
	Max       []int64 // of process
	Allocated []int64 // of process
	Amount    []int64 // of request and release
}

// ReadTrace reads a problem with m types of resources:
//
//	total R1 ... Rm
//	process ID max R1 ... Rm allocated R1 ... Rm
//	request ID R1 ... Rm
//	release ID R1 ... Rm
//	exit ID
//
// The total comes first and once. What is malformed is a *trace.Error; what the bank refuses is not malformed.
func ReadTrace(r io.Reader) (Problem, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return Problem{}, err
	}
	var p Problem
	for _, l := range lines {
		verb, rest := l.Words[0], l.Words[1:]
		if (verb == "total") != (p.Total == nil) {
			return Problem{}, l.Errorf("the total of each type comes first, and once")
		}
		if verb == "total" {
			if len(rest) == 0 || len(rest) > MaxTypes {
				return Problem{}, l.Errorf("%d types of resources, want 1 to %d", len(rest), MaxTypes)
			}
			if p.Total, err = numbers(l, rest, len(rest)); err != nil {
				return Problem{}, err
			}
			continue
		}
		op, err := operation(l, verb, rest, len(p.Total))
		if err != nil {
			return Problem{}, err
		}
		p.Ops = append(p.Ops, op)
	}
	if p.Total == nil {
		return Problem{}, trace.Errorf("no total in it: the first line is total R1 R2 ...")
	}
	return p, nil
}

func operation(l trace.Line, verb string, rest []string, m int) (op Op, err error) {
	op.Verb = verb
	if len(rest) == 0 {
		return op, l.Errorf("want process, request, release or exit, and an ID")
	}
	if op.ID, err = l.Name(rest[0], "ID"); err != nil {
		return op, err
	}
	rest = rest[1:]
	switch verb {
	case "process":
		if len(rest) != 2*m+2 || rest[0] != "max" || rest[m+1] != "allocated" {
			return op, l.Errorf("want process ID max and %d numbers, allocated and %d numbers", m, m)
		}
		if op.Max, err = numbers(l, rest[1:m+1], m); err != nil {
			return op, err
		}
		op.Allocated, err = numbers(l, rest[m+2:], m)
	case "request", "release":
		op.Amount, err = numbers(l, rest, m)
	case "exit":
		_, err = numbers(l, rest, 0)
	default:
		err = l.Errorf("%q is none of process, request, release, exit", verb)
	}
	return op, err
}

func numbers(l trace.Line, words []string, m int) ([]int64, error) {
	if len(words) != m {
		return nil, l.Errorf("%d numbers, want %d", len(words), m)
	}
	v := make([]int64, m)
	for i, w := range words {
		var err error
		if v[i], err = l.Number64(w, "R", 0); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Step is what one line did.
type Step struct {
	Op      Op
	Outcome Outcome  // Granted also for what is no request; 0 with Err
	Err     error    // what the bank refused as an error
	Woken   []string // processes whose waiting requests were granted, in order
	Safe    []string // a safe order afterwards; nil: unsafe, or the request was denied as unsafe
}

// Do carries out one line.
func (b *Bank) Do(op Op) Step {
	s := Step{Op: op, Outcome: Granted}
	var woken []Request
	switch op.Verb {
	case "process":
		s.Err = b.Register(op.ID, op.Max, op.Allocated)
	case "request":
		s.Outcome, s.Err = b.Request(op.ID, op.Amount)
	case "release":
		woken, s.Err = b.Release(op.ID, op.Amount)
	case "exit":
		woken, s.Err = b.Exit(op.ID)
	}
	for _, r := range woken {
		s.Woken = append(s.Woken, r.ID)
	}
	if s.Err != nil {
		s.Outcome = 0
	}
	if s.Outcome != Denied {
		s.Safe, _ = b.Safe()
	}
	return s
}

// Clone returns an independent copy.
func (b *Bank) Clone() *Bank {
	return &Bank{b.total, slices.Clone(b.available), b.Processes(), slices.Clone(b.waiting)}
}
