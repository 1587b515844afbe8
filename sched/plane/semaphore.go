package plane

import (
	"fmt"
	"slices"

	"dfs/cluster/fault"
)

const keySemaphore = 'w' // 03 'w' name

// Semaphore is a number of permits, those who hold some, and those who wait for some, first come first served.
// What is free is never below zero: Permits less what is held.
type Semaphore struct {
	Name    string
	Permits uint64
	Binary  bool // one permit, for ever
	Holders []Claimant
	Waiters []Claimant
}

// Claimant holds permits of a semaphore, or waits for them.
type Claimant struct {
	Session uint64
	Ask     uint64 // the client's number for it: repeating Wait with it is the same wait
	Permits uint64
	Token   uint64 // of a holder: grows with every grant in the cluster
}

func (c *Claimant) fields(f *fields) {
	f.uint(&c.Session)
	f.uint(&c.Ask)
	f.uint(&c.Permits)
	f.uint(&c.Token)
}

func (s *Semaphore) fields(f *fields) {
	f.text(&s.Name, NameMax)
	f.uint(&s.Permits)
	f.bool(&s.Binary)
	for _, l := range []*[]Claimant{&s.Holders, &s.Waiters} {
		list(f, l, HoldersMax, func(c *Claimant) { c.fields(f) })
	}
}

// Free returns how many permits nobody holds.
func (s *Semaphore) Free() uint64 {
	free := s.Permits
	for _, h := range s.Holders {
		free -= h.Permits
	}
	return free
}

// CreateSemaphore makes one. Making one that is there already, with the same permits, is no error: Outcome Repeat.
type CreateSemaphore struct {
	Name    string
	Permits uint64
	Binary  bool
}

func (o *CreateSemaphore) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	f.uint(&o.Permits)
	f.bool(&o.Binary)
}

func (o *CreateSemaphore) check() error {
	if o.Permits > PermitsMax || o.Binary && o.Permits > 1 {
		return fault.New("semaphore", fault.Invalid, "0 to %d permits, a binary one at most 1", PermitsMax)
	}
	return checkName("semaphore", o.Name)
}

func (o *CreateSemaphore) apply(m *machine) (Result, error) {
	var s Semaphore
	if m.load(key(keySemaphore, o.Name), &s) {
		if s.Binary == o.Binary && s.Permits == o.Permits {
			return Result{Outcome: Repeat}, nil
		}
		return Result{}, fault.New("semaphore", fault.Exist, "%s, with %d permits", o.Name, s.Permits)
	}
	c := m.counters()
	if c.Semaphores >= SemaphoresMax {
		return Result{}, over("semaphore", SemaphoresMax, "semaphores")
	}
	c.Semaphores++
	m.saveSemaphore(&Semaphore{Name: o.Name, Permits: o.Permits, Binary: o.Binary})
	return Result{}, nil
}

// DeleteSemaphore removes one. fault.Conflict if it is held or waited for, unless Force.
type DeleteSemaphore struct {
	Name  string
	Force bool
}

func (o *DeleteSemaphore) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.bool(&o.Force)
}

func (o *DeleteSemaphore) check() error { return checkName("semaphore", o.Name) }

func (o *DeleteSemaphore) apply(m *machine) (Result, error) {
	s, err := m.semaphore(o.Name)
	if err != nil {
		return Result{}, err
	}
	if n := len(s.Holders) + len(s.Waiters); n > 0 && !o.Force {
		return Result{}, fault.New("semaphore", fault.Conflict, "%s is held by %d and waited for by %d", o.Name, len(s.Holders), len(s.Waiters))
	}
	for _, c := range slices.Concat(s.Holders, s.Waiters) {
		m.disown(c.Session, keySemaphore, o.Name)
	}
	m.counters().Semaphores--
	m.delete(key(keySemaphore, o.Name))
	m.topic(TopicSemaphore(o.Name))
	return Result{}, nil
}

// Wait asks for permits. Result: Done and ID, the token; or Waits, and the topic of the semaphore tells when that
// changes. Try does not wait: fault.Refused. Avoid refuses, too, to wait where that would close a circle.
type Wait struct {
	Name    string
	Session uint64
	Ask     uint64
	Permits uint64
	Try     bool
	Avoid   bool
}

func (o *Wait) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Session)
	f.uint(&o.Ask)
	f.uint(&o.Permits)
	f.bool(&o.Try)
	f.bool(&o.Avoid)
}

func (o *Wait) check() error {
	if o.Permits == 0 || o.Permits > PermitsMax {
		return fault.New("semaphore", fault.Invalid, "1 to %d permits", PermitsMax)
	}
	return checkName("semaphore", o.Name)
}

func (o *Wait) apply(m *machine) (Result, error) {
	s, err := m.semaphore(o.Name)
	if err != nil {
		return Result{}, err
	}
	if i := find(s.Holders, o.Session, o.Ask); i >= 0 {
		return Result{ID: s.Holders[i].Token}, nil
	}
	if find(s.Waiters, o.Session, o.Ask) >= 0 {
		return Result{Outcome: Waits}, nil
	}
	session, err := m.session(o.Session)
	if err != nil {
		return Result{}, err
	}
	if slices.Contains(session.Given, o.Ask) {
		return Result{}, fault.New("semaphore", fault.Stale, "the wait for %s was taken back", o.Name)
	}
	if o.Permits > s.Permits && s.Binary {
		return Result{}, fault.New("semaphore", fault.Refused, "%s is binary: it never has %d permits", o.Name, o.Permits)
	}
	if len(s.Holders) >= HoldersMax || len(s.Waiters) >= HoldersMax {
		return Result{}, over("semaphore", HoldersMax, "who hold one semaphore, and as many who wait")
	}
	free := len(s.Waiters) == 0 && o.Permits <= s.Free()
	if !free && o.Try {
		return Result{}, fault.New("semaphore", fault.Refused, "%s has %d free permits, and %d wait", o.Name, s.Free(), len(s.Waiters))
	}
	if err := m.own(o.Session, keySemaphore, o.Name); err != nil {
		return Result{}, err
	}
	s.Waiters = append(s.Waiters, Claimant{Session: o.Session, Ask: o.Ask, Permits: o.Permits})
	m.admit(&s)
	m.saveSemaphore(&s)
	if i := find(s.Holders, o.Session, o.Ask); i >= 0 {
		return Result{ID: s.Holders[i].Token}, nil
	}
	if o.Avoid {
		if circle := m.circle(o.Session); len(circle) > 0 {
			return Result{}, deadlockError(circle)
		}
	}
	return Result{Outcome: Waits}, nil
}

// CancelWait takes a wait back, for good: should the Wait arrive only now, it is refused (fault.Stale). Result: Done and ID if it
// was granted before, else Waits.
type CancelWait struct {
	Name         string
	Session, Ask uint64
}

func (o *CancelWait) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Session)
	f.uint(&o.Ask)
}

func (o *CancelWait) check() error { return checkName("semaphore", o.Name) }

func (o *CancelWait) apply(m *machine) (Result, error) {
	s, err := m.semaphore(o.Name)
	if err != nil {
		return Result{}, err
	}
	if i := find(s.Holders, o.Session, o.Ask); i >= 0 {
		return Result{ID: s.Holders[i].Token}, nil
	}
	var session Session
	if m.load(key(keySession, o.Session), &session) {
		session.Given = append(session.Given, o.Ask)
		session.Given = session.Given[max(0, len(session.Given)-givenMax):]
		m.save(key(keySession, o.Session), &session)
	}
	if i := find(s.Waiters, o.Session, o.Ask); i >= 0 {
		s.Waiters = slices.Delete(s.Waiters, i, i+1)
		m.settle(&s, o.Session)
	}
	return Result{Outcome: Waits}, nil
}

// Signal gives back what a grant holds. fault.Stale if the grant with this token is over, or never was. Without a token
// it adds a permit that nobody held: the V of a producer.
type Signal struct {
	Name    string
	Token   uint64
	Permits uint64 // without a token: so many
}

func (o *Signal) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Token)
	f.uint(&o.Permits)
}

func (o *Signal) check() error {
	if o.Permits > PermitsMax {
		return fault.New("semaphore", fault.Invalid, "at most %d permits", PermitsMax)
	}
	return checkName("semaphore", o.Name)
}

func (o *Signal) apply(m *machine) (Result, error) {
	s, err := m.semaphore(o.Name)
	if err != nil {
		return Result{}, err
	}
	if o.Token == 0 {
		if s.Binary && s.Permits+o.Permits > 1 || s.Permits+o.Permits > PermitsMax {
			return Result{}, fault.New("semaphore", fault.Quota, "%s has %d permits, and takes no more", o.Name, s.Permits)
		}
		s.Permits += o.Permits
		m.settle(&s, 0)
		return Result{Count: int64(s.Free())}, nil
	}
	i := slices.IndexFunc(s.Holders, func(c Claimant) bool { return c.Token == o.Token })
	if i < 0 {
		return Result{}, fault.New("semaphore", fault.Stale, "the grant %d of %s is over", o.Token, o.Name)
	}
	session := s.Holders[i].Session
	s.Holders = slices.Delete(s.Holders, i, i+1)
	m.settle(&s, session)
	return Result{Count: int64(s.Free())}, nil
}

func (m *machine) semaphore(name string) (s Semaphore, err error) {
	if !m.load(key(keySemaphore, name), &s) {
		return s, fault.New("semaphore", fault.NotExist, "%s", name)
	}
	return s, nil
}

func (m *machine) saveSemaphore(s *Semaphore) {
	s.assert()
	m.save(key(keySemaphore, s.Name), s)
}

// settle follows a change of who holds or waits; session may have nothing left there.
func (m *machine) settle(s *Semaphore, session uint64) {
	m.admit(s)
	if !slices.ContainsFunc(slices.Concat(s.Holders, s.Waiters), func(c Claimant) bool { return c.Session == session }) {
		m.disown(session, keySemaphore, s.Name)
	}
	m.saveSemaphore(s)
}

// admit grants to those who wait, in their order, what is free.
func (m *machine) admit(s *Semaphore) {
	for len(s.Waiters) > 0 && s.Waiters[0].Permits <= s.Free() && len(s.Holders) < HoldersMax {
		c := s.Waiters[0]
		c.Token = m.token()
		s.Waiters = slices.Delete(s.Waiters, 0, 1)
		s.Holders = append(s.Holders, c)
	}
	m.topic(TopicSemaphore(s.Name))
}

// leaveSemaphore ends what a session has of a semaphore.
func (m *machine) leaveSemaphore(name string, session uint64) {
	s, err := m.semaphore(name)
	if err != nil {
		return
	}
	its := func(c Claimant) bool { return c.Session == session }
	s.Holders = slices.DeleteFunc(s.Holders, its)
	s.Waiters = slices.DeleteFunc(s.Waiters, its)
	m.settle(&s, session)
}

// holds reports whether the grant with a token is not over.
func (m *machine) holds(name string, token uint64) bool {
	s, err := m.semaphore(name)
	return err == nil && token != 0 && slices.ContainsFunc(s.Holders, func(c Claimant) bool { return c.Token == token })
}

// assert panics where more is held than there is: that is a bug here.
func (s *Semaphore) assert() {
	held := uint64(0)
	for _, h := range s.Holders {
		held += h.Permits
	}
	if held > s.Permits {
		panic(fmt.Sprintf("semaphore %s: %d of %d permits are held", s.Name, held, s.Permits))
	}
}

func find(cs []Claimant, session, ask uint64) int {
	return slices.IndexFunc(cs, func(c Claimant) bool { return c.Session == session && c.Ask == ask })
}
