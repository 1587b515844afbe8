package ipc

import "slices"

// MaxSemaphore is the largest value, SEM_VALUE_MAX.
const MaxSemaphore = 1<<31 - 1

// Semaphore is a counting semaphore (sem_overview(7)), or a binary one with a limit of 1. Its value is never negative:
// value = initial + posts - completed waits. It has no owner, so anybody may post: a binary semaphore is no mutex.
type Semaphore struct {
	value, limit int
	waiting      waiters[struct{}]
}

// NewSemaphore makes one with a value and a limit; a limit of 0 means MaxSemaphore.
func NewSemaphore(value, limit int) (*Semaphore, error) {
	if limit == 0 {
		limit = MaxSemaphore
	}
	if value < 0 || limit < 1 || limit > MaxSemaphore || value > limit {
		return nil, ErrInvalid
	}
	return &Semaphore{value: value, limit: limit}, nil
}

// Value returns what is left; 0 while somebody waits.
func (s *Semaphore) Value() int { return s.value }

// Waiting returns who waits, in order.
func (s *Semaphore) Waiting() (who []string) {
	for _, w := range s.waiting {
		who = append(who, w.who)
	}
	return who
}

// TryWait takes one: ErrAgain if there is none.
func (s *Semaphore) TryWait() error {
	if s.value == 0 {
		return ErrAgain
	}
	s.value--
	return nil
}

// Wait takes one, or makes who wait for it.
func (s *Semaphore) Wait(who string) (blocked bool, err error) {
	if s.waiting.has(who) {
		return false, ErrWaiting
	}
	if s.TryWait() == nil {
		return false, nil
	}
	s.waiting = append(s.waiting, waiter[struct{}]{who: who})
	return true, nil
}

// Post gives one to who waits longest, or keeps it: ErrOverflow at the limit.
func (s *Semaphore) Post() ([]Wake, error) {
	switch {
	case len(s.waiting) > 0:
		who := s.waiting[0].who
		s.waiting = s.waiting[1:]
		return []Wake{{Who: who}}, nil
	case s.value == s.limit:
		return nil, ErrOverflow
	}
	s.value++
	return nil, nil
}

// Expire ends the wait of who with ErrTimedOut, if it waits.
func (s *Semaphore) Expire(who string) []Wake {
	if s.waiting.remove(who) {
		return []Wake{{Who: who, Err: ErrTimedOut}}
	}
	return nil
}

// MaxSetValue is the largest value in a Set, SEMVMX.
const MaxSetValue = 32767

// SetOp is one operation of a vector: Delta above 0 gives, below 0 takes, and 0 waits until the value is 0. With Undo it
// is taken back when its caller ends.
type SetOp struct {
	Number int
	Delta  int
	Undo   bool
}

// Set is a set of System V semaphores (semop(2)): a vector of operations happens as a whole or not at all.
type Set struct {
	values  []int
	undo    map[string][]int
	waiting waiters[[]SetOp]
	removed bool
}

// NewSet makes n semaphores of value 0.
func NewSet(n int) (*Set, error) {
	if n < 1 || n > 1000 {
		return nil, ErrInvalid
	}
	return &Set{values: make([]int, n), undo: map[string][]int{}}, nil
}

// Values returns all values.
func (s *Set) Values() []int { return slices.Clone(s.values) }

// try does the whole vector if it can now.
func (s *Set) try(who string, ops []SetOp) (bool, error) {
	next := slices.Clone(s.values)
	for _, op := range ops {
		switch {
		case op.Delta == 0 && next[op.Number] != 0, next[op.Number]+op.Delta < 0:
			return false, nil
		case next[op.Number]+op.Delta > MaxSetValue:
			return false, ErrOverflow
		}
		next[op.Number] += op.Delta
	}
	s.values = next
	for _, op := range ops {
		if op.Undo {
			if s.undo[who] == nil {
				s.undo[who] = make([]int, len(s.values))
			}
			s.undo[who][op.Number] -= op.Delta
		}
	}
	return true, nil
}

// Op does a vector, or makes who wait until all of it can be done, or with noWait is ErrAgain.
func (s *Set) Op(who string, ops []SetOp, noWait bool) (blocked bool, wakes []Wake, err error) {
	switch {
	case s.removed:
		return false, nil, ErrRemoved
	case s.waiting.has(who):
		return false, nil, ErrWaiting
	case len(ops) == 0 || slices.ContainsFunc(ops, func(op SetOp) bool {
		return op.Number < 0 || op.Number >= len(s.values) || op.Delta > MaxSetValue || op.Delta < -MaxSetValue
	}):
		return false, nil, ErrInvalid
	}
	done, err := s.try(who, ops)
	switch {
	case err != nil:
		return false, nil, err
	case done:
		return false, s.settle(), nil
	case noWait:
		return false, nil, ErrAgain
	}
	s.waiting = append(s.waiting, waiter[[]SetOp]{who, slices.Clone(ops)})
	return true, nil, nil
}

// settle lets those who wait proceed for as long as somebody can; whose vector overflows is woken with the error.
func (s *Set) settle() (wakes []Wake) {
	for i := 0; i < len(s.waiting); i++ {
		w := s.waiting[i]
		done, err := s.try(w.who, w.want)
		if !done && err == nil {
			continue
		}
		wakes = append(wakes, Wake{Who: w.who, Err: err})
		s.waiting = slices.Delete(s.waiting, i, i+1)
		i = -1
	}
	return wakes
}

// SetValue sets one value and forgets everybody's undo for it.
func (s *Set) SetValue(number, value int) ([]Wake, error) {
	if s.removed {
		return nil, ErrRemoved
	}
	if number < 0 || number >= len(s.values) || value < 0 || value > MaxSetValue {
		return nil, ErrInvalid
	}
	s.values[number] = value
	for _, u := range s.undo {
		u[number] = 0
	}
	return s.settle(), nil
}

// Exit ends who: its wait is over without a wake, and what it did with Undo is taken back, as far as values stay from 0
// to MaxSetValue.
func (s *Set) Exit(who string) []Wake {
	if s.removed {
		return nil
	}
	s.waiting.remove(who)
	for i, d := range s.undo[who] {
		s.values[i] = min(max(0, s.values[i]+d), MaxSetValue)
	}
	delete(s.undo, who)
	return s.settle()
}

// Remove deletes the set and wakes all who wait with ErrRemoved.
func (s *Set) Remove() (wakes []Wake) {
	for _, w := range s.waiting {
		wakes = append(wakes, Wake{Who: w.who, Err: ErrRemoved})
	}
	*s = Set{removed: true}
	return wakes
}

// Fence guards a resource against holders whose lease has passed on while they slept: it remembers the largest token it
// has seen and rejects smaller ones. Tokens grow with every grant.
type Fence struct{ seen uint64 }

// Admit lets an access with a token through, or is ErrFenced.
func (f *Fence) Admit(token uint64) error {
	if token < f.seen {
		return ErrFenced
	}
	f.seen = token
	return nil
}
