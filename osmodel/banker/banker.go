// Package banker avoids deadlocks by Dijkstra's banker's algorithm for several types of resources, and detects them
// where nobody avoided them.
//
// Every process registers the most it will ever hold. A request that exceeds that claim is an error; one that exceeds
// what is available waits; else it is granted in pretence, and kept only if the state is still safe: if there is an
// order in which every process can get all it may still need and finish. Safe orders are not unique, so they are verified
// and never compared. Unsafe is not deadlocked.
//
// Waiting requests are looked at again, in the order of their arrival, whenever something is released. One may overtake
// those before it, for they may wait for what its process holds; but after MaxOvertakes of them a request lets past only
// processes that hold something, so that newcomers cannot starve it.
//
// A Bank is deterministic and not safe for concurrent use.
package banker

import (
	"errors"
	"fmt"
	"slices"
)

// Bounds of a Bank.
const (
	MaxTypes     = 64
	MaxProcesses = 10_000
	MaxUnits     = 1_000_000_000_000 // of one type
	MaxOvertakes = 16
)

// What an operation can fail with, and nothing else.
var (
	ErrShape   = errors.New("banker: wrong number of resource types, or a number out of range")
	ErrKnown   = errors.New("banker: the process is registered already")
	ErrUnknown = errors.New("banker: the process is not registered")
	ErrClaim   = errors.New("banker: the claim exceeds what there is in all")
	ErrHeld    = errors.New("banker: more is allocated than claimed or available")
	ErrNeed    = errors.New("banker: the request exceeds the claim")
	ErrNotHeld = errors.New("banker: more is released than held")
	ErrWaiting = errors.New("banker: the process waits for an earlier request")
	ErrTooMany = errors.New("banker: too many processes")
)

// Outcome is what became of a request.
type Outcome uint8

// What can become of a request.
const (
	Granted Outcome = iota + 1
	Waits           // until enough is released
	Denied          // it would be unsafe; nothing has changed, and the process may ask again
)

func (o Outcome) String() string {
	switch o {
	case Granted:
		return "granted"
	case Waits:
		return "waits"
	case Denied:
		return "denied"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Process is what the bank knows of one.
type Process struct {
	ID        string
	Max       []int64
	Allocated []int64
}

// Need returns what p may still ask for.
func (p Process) Need() []int64 { return minus(p.Max, p.Allocated) }

// Request is one that waits.
type Request struct {
	ID        string
	Want      []int64
	Overtaken int // requests of processes that held nothing and were granted while it waited
}

// Bank holds the resources.
type Bank struct {
	total, available []int64
	processes        []Process // in order of registration
	waiting          []Request // in order of arrival
}

// New makes a bank that owns total of each type.
func New(total []int64) (*Bank, error) {
	if len(total) == 0 || len(total) > MaxTypes || !all(total, func(n int64) bool { return n >= 0 && n <= MaxUnits }) {
		return nil, ErrShape
	}
	return &Bank{total: slices.Clone(total), available: slices.Clone(total)}, nil
}

// shaped reports whether v is one number a type, none of them negative or absurd.
func (b *Bank) shaped(v []int64) bool {
	return len(v) == len(b.total) && all(v, func(n int64) bool { return n >= 0 && n <= MaxUnits })
}

func (b *Bank) find(id string) int {
	return slices.IndexFunc(b.processes, func(p Process) bool { return p.ID == id })
}

func (b *Bank) waits(id string) int {
	return slices.IndexFunc(b.waiting, func(r Request) bool { return r.ID == id })
}

// Register admits a process with its claim and what it holds from the start. ErrClaim: it could never be met. The state
// need not be safe afterwards if allocated is not zero: then nothing is granted until it is.
func (b *Bank) Register(id string, claim, allocated []int64) error {
	switch {
	case !b.shaped(claim) || !b.shaped(allocated):
		return ErrShape
	case b.find(id) >= 0:
		return ErrKnown
	case len(b.processes) == MaxProcesses:
		return ErrTooMany
	case !atMost(claim, b.total):
		return ErrClaim
	case !atMost(allocated, claim) || !atMost(allocated, b.available):
		return ErrHeld
	}
	b.processes = append(b.processes, Process{id, slices.Clone(claim), slices.Clone(allocated)})
	b.available = minus(b.available, allocated)
	return nil
}

// Request asks for more. ErrNeed: beyond the claim. A process that Waits may not ask again before it is granted or has
// cancelled.
func (b *Bank) Request(id string, want []int64) (Outcome, error) {
	i := b.find(id)
	switch {
	case i < 0:
		return 0, ErrUnknown
	case !b.shaped(want):
		return 0, ErrShape
	case b.waits(id) >= 0:
		return 0, ErrWaiting
	case !atMost(want, b.processes[i].Need()):
		return 0, ErrNeed
	case !atMost(want, b.available):
		b.waiting = append(b.waiting, Request{ID: id, Want: slices.Clone(want)})
		return Waits, nil
	case b.mustQueue(i, len(b.waiting)):
		b.waiting = append(b.waiting, Request{ID: id, Want: slices.Clone(want)})
		return Waits, nil
	case !b.try(i, want):
		return Denied, nil
	}
	b.overtook(i, want, len(b.waiting))
	return Granted, nil
}

// mustQueue reports whether process i may not overtake the first n waiting requests.
func (b *Bank) mustQueue(i, n int) bool {
	return zero(b.processes[i].Allocated) && slices.ContainsFunc(b.waiting[:n], func(r Request) bool { return r.Overtaken >= MaxOvertakes })
}

// overtook counts a grant against the first n waiting requests if the process held nothing before it.
func (b *Bank) overtook(i int, want []int64, n int) {
	if slices.Equal(b.processes[i].Allocated, want) {
		for k := range n {
			b.waiting[k].Overtaken++
		}
	}
}

// try grants want to process i if that is safe.
func (b *Bank) try(i int, want []int64) bool {
	p := &b.processes[i]
	available, allocated := b.available, p.Allocated
	b.available, p.Allocated = minus(available, want), plus(allocated, want)
	if _, safe := b.Safe(); safe {
		return true
	}
	b.available, p.Allocated = available, allocated
	return false
}

// Release gives back a part, and returns the requests that are granted with it, in order.
func (b *Bank) Release(id string, give []int64) ([]Request, error) {
	i := b.find(id)
	switch {
	case i < 0:
		return nil, ErrUnknown
	case !b.shaped(give):
		return nil, ErrShape
	case !atMost(give, b.processes[i].Allocated):
		return nil, ErrNotHeld
	}
	b.processes[i].Allocated = minus(b.processes[i].Allocated, give)
	b.available = plus(b.available, give)
	return b.wake(), nil
}

// Exit releases all that a process holds, forgets it and its waiting request, and returns the requests granted with it.
func (b *Bank) Exit(id string) ([]Request, error) {
	i := b.find(id)
	if i < 0 {
		return nil, ErrUnknown
	}
	b.available = plus(b.available, b.processes[i].Allocated)
	b.processes = slices.Delete(b.processes, i, i+1)
	if w := b.waits(id); w >= 0 {
		b.waiting = slices.Delete(b.waiting, w, w+1)
	}
	return b.wake(), nil
}

// Cancel takes back a waiting request and returns the requests granted with it: it may have stood in their way.
func (b *Bank) Cancel(id string) ([]Request, error) {
	w := b.waits(id)
	if w < 0 {
		return nil, ErrUnknown
	}
	b.waiting = slices.Delete(b.waiting, w, w+1)
	return b.wake(), nil
}

// wake looks at the waiting requests from the first to the last, and again from the first after each grant.
func (b *Bank) wake() (granted []Request) {
	for k := 0; k < len(b.waiting); k++ {
		r := b.waiting[k]
		i := b.find(r.ID)
		if !atMost(r.Want, b.available) || b.mustQueue(i, k) || !b.try(i, r.Want) {
			continue
		}
		b.overtook(i, r.Want, k)
		b.waiting = slices.Delete(b.waiting, k, k+1)
		granted = append(granted, r)
		k = -1
	}
	return granted
}

// Safe returns an order in which all processes can finish, and whether there is one; with none the order is nil.
func (b *Bank) Safe() ([]string, bool) {
	work := slices.Clone(b.available)
	done := make([]bool, len(b.processes))
	order := []string{}
	for progress := true; progress; {
		progress = false
		for i, p := range b.processes {
			if !done[i] && fits(p, work) {
				add(work, p.Allocated)
				done[i], progress = true, true
				order = append(order, p.ID)
			}
		}
	}
	if len(order) < len(b.processes) {
		return nil, false
	}
	return order, true
}

// Verify checks that order names every process once and that each can get all it needs when its turn comes.
func (b *Bank) Verify(order []string) error {
	work := slices.Clone(b.available)
	seen := map[string]bool{}
	for _, id := range order {
		i := b.find(id)
		switch {
		case i < 0:
			return fmt.Errorf("%w: %s", ErrUnknown, id)
		case seen[id]:
			return fmt.Errorf("banker: %s stands in the order twice", id)
		case !fits(b.processes[i], work):
			return fmt.Errorf("banker: %s needs %v, and %v is available by then", id, b.processes[i].Need(), work)
		}
		seen[id] = true
		add(work, b.processes[i].Allocated)
	}
	if len(order) != len(b.processes) {
		return fmt.Errorf("banker: %d of %d processes stand in the order", len(order), len(b.processes))
	}
	return nil
}

// Total returns what the bank owns.
func (b *Bank) Total() []int64 { return slices.Clone(b.total) }

// Available returns what nobody holds.
func (b *Bank) Available() []int64 { return slices.Clone(b.available) }

// Waiting returns the waiting requests in order of arrival.
func (b *Bank) Waiting() []Request { return slices.Clone(b.waiting) }

// Processes returns the processes in order of registration.
func (b *Bank) Processes() []Process {
	ps := make([]Process, len(b.processes))
	for i, p := range b.processes {
		ps[i] = Process{p.ID, slices.Clone(p.Max), slices.Clone(p.Allocated)}
	}
	return ps
}

// fits reports whether work covers what p may still need.
func fits(p Process, work []int64) bool {
	for k := range work {
		if p.Max[k]-p.Allocated[k] > work[k] {
			return false
		}
	}
	return true
}

func atMost(a, b []int64) bool {
	for k := range a {
		if a[k] > b[k] {
			return false
		}
	}
	return true
}

func all(v []int64, good func(int64) bool) bool {
	return !slices.ContainsFunc(v, func(n int64) bool { return !good(n) })
}

func zero(v []int64) bool { return all(v, func(n int64) bool { return n == 0 }) }

func add(to, v []int64) {
	for k := range v {
		to[k] += v[k]
	}
}

func plus(a, b []int64) []int64 {
	sum := slices.Clone(a)
	add(sum, b)
	return sum
}

func minus(a, b []int64) []int64 {
	rest := slices.Clone(a)
	for k := range b {
		rest[k] -= b[k]
	}
	return rest
}
