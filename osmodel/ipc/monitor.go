package ipc

import "slices"

// Discipline says what a signal does in a monitor.
type Discipline uint8

// The disciplines.
const (
	Mesa  Discipline = iota // the signalled one enters again later and must look again whether its condition holds
	Hoare                   // the signalled one runs at once and the signaller waits: the condition still holds
)

// Monitor is a lock with conditions. One caller is inside at a time.
type Monitor struct {
	how        Discipline
	inside     string
	entry      []string // wait to enter, or to enter again
	urgent     []string // Hoare: signallers that gave way; they enter before the others, the last first
	conditions map[string][]string
}

// NewMonitor makes a monitor nobody is in.
func NewMonitor(how Discipline) *Monitor {
	return &Monitor{how: how, conditions: map[string][]string{}}
}

// Inside returns who is in the monitor; "" nobody.
func (m *Monitor) Inside() string { return m.inside }

func (m *Monitor) waits(who string) bool {
	if slices.Contains(m.entry, who) || slices.Contains(m.urgent, who) {
		return true
	}
	for _, c := range m.conditions {
		if slices.Contains(c, who) {
			return true
		}
	}
	return false
}

// Enter goes in, or waits until it is who's turn. ErrDeadlock: who is inside.
func (m *Monitor) Enter(who string) (blocked bool, err error) {
	switch {
	case m.inside == who:
		return false, ErrDeadlock
	case m.waits(who):
		return false, ErrWaiting
	case m.inside == "":
		m.inside = who
		return false, nil
	}
	m.entry = append(m.entry, who)
	return true, nil
}

// Leave goes out and lets the next one in.
func (m *Monitor) Leave(who string) ([]Wake, error) {
	if m.inside != who {
		return nil, ErrNotOwner
	}
	return m.admit(), nil
}

func (m *Monitor) admit() []Wake {
	switch {
	case len(m.urgent) > 0:
		m.inside = m.urgent[len(m.urgent)-1]
		m.urgent = m.urgent[:len(m.urgent)-1]
	case len(m.entry) > 0:
		m.inside = m.entry[0]
		m.entry = m.entry[1:]
	default:
		m.inside = ""
		return nil
	}
	return []Wake{{Who: m.inside}}
}

// Wait goes out until condition is signalled and who is in again: then it is among the wakes of somebody's call.
func (m *Monitor) Wait(who, condition string) ([]Wake, error) {
	if m.inside != who {
		return nil, ErrNotOwner
	}
	m.conditions[condition] = append(m.conditions[condition], who)
	return m.admit(), nil
}

// Signal ends the wait of one for condition; without one it does nothing. Under Hoare's rule the caller then waits
// itself: blocked.
func (m *Monitor) Signal(who, condition string) (blocked bool, wakes []Wake, err error) {
	if m.inside != who {
		return false, nil, ErrNotOwner
	}
	waiting := m.conditions[condition]
	if len(waiting) == 0 {
		return false, nil, nil
	}
	first := waiting[0]
	m.conditions[condition] = waiting[1:]
	if m.how == Mesa {
		m.entry = append(m.entry, first)
		return false, nil, nil
	}
	m.urgent = append(m.urgent, who)
	m.inside = first
	return true, []Wake{{Who: first}}, nil
}

// Broadcast ends the wait of all for condition. Monitors of Hoare's kind have none: ErrInvalid.
func (m *Monitor) Broadcast(who, condition string) error {
	switch {
	case m.inside != who:
		return ErrNotOwner
	case m.how == Hoare:
		return ErrInvalid
	}
	m.entry = append(m.entry, m.conditions[condition]...)
	delete(m.conditions, condition)
	return nil
}

// Preference says who goes first at a read-write lock.
type Preference uint8

// The preferences.
const (
	Fair         Preference = iota // in order of arrival; readers that arrived together read together
	ReadersFirst                   // a reader joins readers whoever waits: writers may starve
	WritersFirst                   // no reader starts while a writer waits: readers may starve
)

// RWLock is held by any number of readers or by one writer.
type RWLock struct {
	prefer  Preference
	readers []string
	writer  string
	waiting waiters[access]
}

type access uint8

const (
	read access = iota
	write
	upgrade // a reader that wants to write without letting go first
)

// NewRWLock makes a lock that is free.
func NewRWLock(p Preference) *RWLock { return &RWLock{prefer: p} }

// Holders returns the readers, and the writer or "".
func (l *RWLock) Holders() (readers []string, writer string) {
	return slices.Clone(l.readers), l.writer
}

func (l *RWLock) holds(who string) bool { return l.writer == who || slices.Contains(l.readers, who) }

// Read takes the lock for reading, or waits.
func (l *RWLock) Read(who string) (blocked bool, err error) { return l.ask(who, read) }

// Write takes the lock for writing, or waits.
func (l *RWLock) Write(who string) (blocked bool, err error) { return l.ask(who, write) }

// Upgrade makes a writer of a reader that does not let go in between. Two at once wait for each other for ever.
func (l *RWLock) Upgrade(who string) (blocked bool, err error) { return l.ask(who, upgrade) }

func (l *RWLock) ask(who string, want access) (blocked bool, err error) {
	switch {
	case l.waiting.has(who):
		return false, ErrWaiting
	case want == upgrade && !slices.Contains(l.readers, who):
		return false, ErrNotOwner
	case want != upgrade && l.holds(who):
		return false, ErrDeadlock
	}
	l.waiting = append(l.waiting, waiter[access]{who, want})
	return !slices.Contains(names(l.settle()), who), nil
}

// Release lets go and wakes who can go on.
func (l *RWLock) Release(who string) ([]Wake, error) {
	switch {
	case !l.holds(who):
		return nil, ErrNotOwner
	case l.waiting.has(who):
		return nil, ErrWaiting
	case l.writer == who:
		l.writer = ""
	default:
		l.readers = slices.DeleteFunc(l.readers, func(r string) bool { return r == who })
	}
	return l.settle(), nil
}

// settle admits those who wait, in the order that the preference says.
func (l *RWLock) settle() (wakes []Wake) {
	for {
		i := l.next()
		if i < 0 {
			return wakes
		}
		w := l.waiting[i]
		l.waiting = slices.Delete(l.waiting, i, i+1)
		switch w.want {
		case read:
			l.readers = append(l.readers, w.who)
		case upgrade:
			l.readers = nil
			l.writer = w.who
		case write:
			l.writer = w.who
		}
		wakes = append(wakes, Wake{Who: w.who})
	}
}

// can reports whether a wish can be met now.
func (l *RWLock) can(w waiter[access]) bool {
	switch w.want {
	case read:
		return l.writer == ""
	case upgrade:
		return len(l.readers) == 1
	}
	return l.writer == "" && len(l.readers) == 0
}

// next returns the index of who is admitted next, -1 if nobody can be. An upgrade goes before everybody.
func (l *RWLock) next() int {
	if i := slices.IndexFunc(l.waiting, func(w waiter[access]) bool { return w.want == upgrade && l.can(w) }); i >= 0 {
		return i
	}
	first := func(want access) int {
		return slices.IndexFunc(l.waiting, func(w waiter[access]) bool { return w.want == want })
	}
	var order []int
	switch l.prefer {
	case Fair:
		order = []int{slices.IndexFunc(l.waiting, func(w waiter[access]) bool { return w.want != upgrade })}
	case ReadersFirst:
		order = []int{first(read), first(write)}
	case WritersFirst:
		order = []int{first(write)}
		if order[0] < 0 {
			order[0] = first(read)
		}
	}
	for _, i := range order {
		if i >= 0 && l.can(l.waiting[i]) {
			return i
		}
	}
	return -1
}
