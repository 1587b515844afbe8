// Package proc is a process table: processes with states, a tree of parents and children, groups, signals, zombies and
// their adoption.
//
// A process is NEW until it is admitted, then READY, RUNNING or WAITING; when it ends it is a ZOMBIE until its parent has
// taken its exit status, and TERMINATED from then on. A child whose parent ends is adopted by the init process of its
// node, which reaps it at once when it ends. Terminate ends a process with all its descendants.
//
// A Table is a pure state machine: calls happen one after the other, the same calls make the same table, time is what
// the caller says. Group operations are one call, so that no fork can slip through between two members. It is not safe
// for concurrent use.
package proc

import (
	"errors"
	"fmt"
	"slices"
)

// PID names a process for ever: numbers are not used twice.
type PID int64

// State is what a process does.
type State uint8

// The states.
const (
	New State = iota + 1
	Ready
	Running
	Waiting
	Zombie
	Terminated
)

var stateText = map[State]string{New: "NEW", Ready: "READY", Running: "RUNNING", Waiting: "WAITING", Zombie: "ZOMBIE", Terminated: "TERMINATED"}

func (s State) String() string {
	if t, ok := stateText[s]; ok {
		return t
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// moves are the changes of state that Move allows; ends are made by Exit, signals and Terminate.
var moves = map[State][]State{
	New:     {Ready},
	Ready:   {Running},
	Running: {Ready, Waiting},
	Waiting: {Ready},
}

// Signal is a request to a process.
type Signal string

// The signals.
const (
	Stop Signal = "STOP" // do not run until CONT; cannot be caught
	Cont Signal = "CONT"
	Term Signal = "TERM" // please end; may be caught
	Kill Signal = "KILL" // end; cannot be caught
)

// Exit statuses of processes that a signal ended: 128 and the signal's usual number.
const (
	StatusTerm = 143
	StatusKill = 137
)

// What calls can fail with, and nothing else.
var (
	ErrNoProcess = errors.New("proc: no such process")
	ErrEnded     = errors.New("proc: the process has ended")
	ErrMove      = errors.New("proc: no such change of state")
	ErrStopped   = errors.New("proc: the process is stopped")
	ErrNotChild  = errors.New("proc: not a child of this process")
	ErrNoChild   = errors.New("proc: no child has ended")
	ErrInit      = errors.New("proc: init does not end before its node")
	ErrSignal    = errors.New("proc: no such signal")
	ErrNode      = errors.New("proc: no such node, or it is there already")
	ErrFull      = errors.New("proc: the table is full")
)

// Process is one entry of the table.
type Process struct {
	PID      PID
	Parent   PID // 0: of an init process
	Group    PID // the process that founded its group
	Node     string
	Name     string
	State    State
	Stopped  bool     // by STOP: it keeps its state and is not moved to RUNNING
	Catches  bool     // TERM is left in Pending for the program instead of ending it
	Pending  []Signal // caught and not taken, or held back while stopped; each at most once
	Status   int      // once ended
	Children []PID    // living and zombies, in order of birth or adoption
}

// Alive reports whether p has not ended.
func (p Process) Alive() bool { return p.State != Zombie && p.State != Terminated }

// Options bound a Table.
type Options struct {
	Max  int // processes that are not TERMINATED, default 100,000; about 200 bytes each
	Keep int // TERMINATED processes that are remembered, default 1,000, oldest forgotten first
}

// Table is the process table of a cluster.
type Table struct {
	o     Options
	next  PID
	procs map[PID]*Process
	inits map[string]PID // of each node
	dead  []PID          // TERMINATED, oldest first
	live  int
}

// NewTable makes an empty table.
func NewTable(o Options) *Table {
	if o.Max <= 0 {
		o.Max = 100_000
	}
	if o.Keep <= 0 {
		o.Keep = 1000
	}
	return &Table{o: o, next: 1, procs: map[PID]*Process{}, inits: map[string]PID{}}
}

// AddNode gives a node its init process, which is RUNNING from the start.
func (t *Table) AddNode(node string) (PID, error) {
	if _, there := t.inits[node]; there {
		return 0, ErrNode
	}
	p, err := t.add(nil, node, "init")
	if err != nil {
		return 0, err
	}
	p.State = Running
	t.inits[node] = p.PID
	return p.PID, nil
}

func (t *Table) add(parent *Process, node, name string) (*Process, error) {
	if t.live >= t.o.Max {
		return nil, ErrFull
	}
	p := &Process{PID: t.next, Group: t.next, Node: node, Name: name, State: New}
	if parent != nil {
		p.Parent, p.Group = parent.PID, parent.Group
		parent.Children = append(parent.Children, p.PID)
	}
	t.next++
	t.live++
	t.procs[p.PID] = p
	return p, nil
}

// Fork makes a child of parent, on the same node unless node is given, in the parent's group, NEW. A child of init
// founds a group of its own.
func (t *Table) Fork(parent PID, node, name string) (PID, error) {
	p, err := t.living(parent)
	if err != nil {
		return 0, err
	}
	if node == "" {
		node = p.Node
	}
	if _, there := t.inits[node]; !there {
		return 0, ErrNode
	}
	c, err := t.add(p, node, name)
	if err != nil {
		return 0, err
	}
	if t.isInit(p) {
		c.Group = c.PID
	}
	return c.PID, nil
}

// Find returns the process; ErrNoProcess if it never was or is forgotten.
func (t *Table) Find(pid PID) (Process, error) {
	p := t.procs[pid]
	if p == nil {
		return Process{}, ErrNoProcess
	}
	c := *p
	c.Children, c.Pending = slices.Clone(p.Children), slices.Clone(p.Pending)
	return c, nil
}

func (t *Table) living(pid PID) (*Process, error) {
	p := t.procs[pid]
	switch {
	case p == nil:
		return nil, ErrNoProcess
	case !p.Alive():
		return p, ErrEnded
	}
	return p, nil
}

func (t *Table) isInit(p *Process) bool { return t.inits[p.Node] == p.PID }

// Move changes the state: NEW -> READY -> RUNNING -> READY or WAITING, WAITING -> READY. A stopped process does not
// become RUNNING.
func (t *Table) Move(pid PID, to State) error {
	p, err := t.living(pid)
	switch {
	case err != nil:
		return err
	case !slices.Contains(moves[p.State], to):
		return ErrMove
	case to == Running && p.Stopped:
		return ErrStopped
	}
	p.State = to
	return nil
}

// Exit ends a process with a status. Its children go to init; it is a ZOMBIE until its parent waits for it.
func (t *Table) Exit(pid PID, status int) error {
	p, err := t.living(pid)
	switch {
	case err != nil:
		return err
	case t.isInit(p):
		return ErrInit
	}
	t.end(p, status)
	return nil
}

// end makes a living process a zombie, and more if its parent is init.
func (t *Table) end(p *Process, status int) {
	p.State, p.Status, p.Stopped, p.Pending = Zombie, status, false, nil
	for _, id := range p.Children {
		t.adopt(t.procs[id])
	}
	p.Children = nil
	if parent := t.procs[p.Parent]; t.isInit(parent) {
		t.reap(parent, p)
	}
}

// reap lets go of a zombie. The parent may be gone.
func (t *Table) reap(parent, p *Process) {
	if parent != nil {
		parent.Children = slices.DeleteFunc(parent.Children, func(id PID) bool { return id == p.PID })
	}
	p.State = Terminated
	t.live--
	t.dead = append(t.dead, p.PID)
	if len(t.dead) > t.o.Keep {
		delete(t.procs, t.dead[0])
		t.dead = t.dead[1:]
	}
}

// Wait takes the exit status of a child that has ended, of any one, the first to be born, if child is 0. ErrNoChild:
// none has ended yet.
func (t *Table) Wait(parent, child PID) (PID, int, error) {
	p, err := t.living(parent)
	if err != nil {
		return 0, 0, err
	}
	if child != 0 && !slices.Contains(p.Children, child) {
		return 0, 0, ErrNotChild
	}
	for _, id := range p.Children {
		if c := t.procs[id]; c.State == Zombie && (child == 0 || child == id) {
			t.reap(p, c)
			return id, c.Status, nil
		}
	}
	return 0, 0, ErrNoChild
}

// SetGroup moves a process into the group of another, or with group == pid into a new one of its own.
func (t *Table) SetGroup(pid, group PID) error {
	p, err := t.living(pid)
	if err != nil {
		return err
	}
	if t.isInit(p) {
		return ErrInit
	}
	if group != pid && len(t.Group(group)) == 0 {
		return ErrNoProcess
	}
	p.Group = group
	return nil
}

// Catch says whether the program of pid handles TERM itself.
func (t *Table) Catch(pid PID, catches bool) error {
	p, err := t.living(pid)
	if err == nil {
		p.Catches = catches
	}
	return err
}

// Take hands the program of pid its oldest pending signal; false if there is none or it is stopped.
func (t *Table) Take(pid PID) (Signal, bool) {
	p, err := t.living(pid)
	if err != nil || p.Stopped || len(p.Pending) == 0 {
		return "", false
	}
	s := p.Pending[0]
	p.Pending = p.Pending[1:]
	return s, true
}

// Signal sends s to a process. TERM to a stopped one waits for CONT; KILL does not. Children are not concerned: see
// Terminate.
func (t *Table) Signal(pid PID, s Signal) error {
	p, err := t.living(pid)
	switch {
	case err != nil:
		return err
	case t.isInit(p):
		return ErrInit
	}
	return t.deliver(p, s)
}

func (t *Table) deliver(p *Process, s Signal) error {
	switch s {
	case Stop:
		p.Stopped = true
		if p.State == Running {
			p.State = Ready
		}
	case Cont:
		p.Stopped = false
		if slices.Contains(p.Pending, Term) && !p.Catches {
			t.end(p, StatusTerm)
		}
	case Term:
		switch {
		case p.Stopped || p.Catches:
			if !slices.Contains(p.Pending, Term) {
				p.Pending = append(p.Pending, Term)
			}
		default:
			t.end(p, StatusTerm)
		}
	case Kill:
		t.end(p, StatusKill)
	default:
		return ErrSignal
	}
	return nil
}

// SignalGroup sends s to every living member of a group in one step.
func (t *Table) SignalGroup(group PID, s Signal) ([]PID, error) {
	members := t.Group(group)
	if len(members) == 0 {
		return nil, ErrNoProcess
	}
	for _, id := range members {
		p, err := t.living(id)
		if err != nil || t.isInit(p) {
			continue
		}
		if err := t.deliver(p, s); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// Terminate ends a process and all its living descendants, children before their parents, and returns them in the order
// of their ends.
func (t *Table) Terminate(pid PID) ([]PID, error) {
	p, err := t.living(pid)
	switch {
	case err != nil:
		return nil, err
	case t.isInit(p):
		return nil, ErrInit
	}
	var ended []PID
	var down func(p *Process)
	down = func(p *Process) {
		for _, id := range slices.Clone(p.Children) {
			down(t.procs[id])
		}
		if p.Alive() {
			t.end(p, StatusKill)
			ended = append(ended, p.PID)
		}
	}
	down(p)
	return ended, nil
}

// RemoveNode ends all processes of a node, its init too: the machine is gone. Their children elsewhere go to the init of
// the node they are on; their parents elsewhere learn of the end by Wait.
func (t *Table) RemoveNode(node string) ([]PID, error) {
	if _, there := t.inits[node]; !there {
		return nil, ErrNode
	}
	delete(t.inits, node)
	var gone []PID
	for _, id := range t.pids() {
		if p := t.procs[id]; p.Node == node && p.State != Terminated {
			gone = append(gone, id)
		}
	}
	for _, id := range gone {
		p := t.procs[id]
		for _, child := range p.Children {
			if c := t.procs[child]; c.Node != node {
				t.adopt(c)
			}
		}
		if p.Alive() {
			p.Status = StatusKill
		}
		p.State, p.Children, p.Stopped, p.Pending = Zombie, nil, false, nil
	}
	for _, id := range gone {
		p := t.procs[id]
		if parent := t.procs[p.Parent]; parent == nil || !parent.Alive() || t.isInit(parent) {
			t.reap(parent, p)
		}
	}
	return gone, nil
}

// adopt gives p, whose parent is gone, to the init of its node.
func (t *Table) adopt(p *Process) {
	adopter := t.procs[t.inits[p.Node]]
	if adopter != nil {
		p.Parent = adopter.PID
		adopter.Children = append(adopter.Children, p.PID)
	}
	if p.State == Zombie { // of a node that is gone itself, perhaps
		t.reap(adopter, p)
	}
}

// Group returns the living members of a group in order of their numbers.
func (t *Table) Group(group PID) (members []PID) {
	for _, id := range t.pids() {
		if p := t.procs[id]; p.Group == group && p.Alive() {
			members = append(members, id)
		}
	}
	return members
}

// List returns all processes that are known, in order of their numbers.
func (t *Table) List() []Process {
	var list []Process
	for _, id := range t.pids() {
		p, err := t.Find(id)
		if err == nil {
			list = append(list, p)
		}
	}
	return list
}

func (t *Table) pids() []PID {
	ids := make([]PID, 0, len(t.procs))
	for id := range t.procs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
