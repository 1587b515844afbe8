package plane

import (
	"encoding/binary"
	"slices"
	"time"

	"dfs/cluster/fault"
)

// Session is a client, for as long as somebody renews it. What it has ends with it.
type Session struct {
	ID    uint64
	TTL   int64    // nanoseconds without a renewal until it ends
	Owner string   // the process it stands for; sessions of one owner are one process in the wait-for graph
	Home  string   // the peer whose sidecar renews it; "" nobody's
	Owned uint64   // things it has
	Given []uint64 // the newest of its waits that were taken back: one that arrives late is refused
}

func (s *Session) fields(f *fields) {
	f.uint(&s.ID)
	f.int(&s.TTL)
	f.text(&s.Owner, OwnerMax)
	f.text(&s.Home, OwnerMax)
	f.uint(&s.Owned)
	list(f, &s.Given, givenMax, f.uint)
}

// Process returns the name of the process in the wait-for graph.
func (s Session) Process() string {
	if s.Owner != "" {
		return s.Owner
	}
	return sessionName(s.ID)
}

// Open begins a session. Result: ID.
type Open struct {
	TTL   int64
	Owner string
	Home  string
}

func (o *Open) fields(f *fields) {
	f.int(&o.TTL)
	f.text(&o.Owner, OwnerMax)
	f.text(&o.Home, OwnerMax)
}

func (o *Open) check() error {
	for _, name := range []string{o.Owner, o.Home} {
		if name != "" {
			if err := checkName("session", name); err != nil {
				return err
			}
		}
	}
	return checkTTL("session", o.TTL)
}

func (o *Open) apply(m *machine) (Result, error) {
	c := m.counters()
	if c.Sessions >= SessionsMax {
		return Result{}, over("session", SessionsMax, "sessions")
	}
	c.Sessions++
	s := Session{ID: m.token(), TTL: o.TTL, Owner: o.Owner, Home: o.Home}
	m.save(key(keySession, s.ID), &s)
	m.arm(Alarm{ID: s.ID, After: s.TTL})
	return Result{ID: s.ID}, nil
}

// Renew says that the clients of some sessions are there. Result: Gone, those that have ended.
type Renew struct{ Sessions []uint64 }

func (o *Renew) fields(f *fields) { list(f, &o.Sessions, renewedMax, f.uint) }
func (*Renew) check() error       { return nil }

func (o *Renew) apply(m *machine) (Result, error) {
	var res Result
	for _, id := range o.Sessions {
		var s Session
		if m.load(key(keySession, id), &s) {
			m.arm(Alarm{ID: id, After: s.TTL})
		} else {
			res.Gone = append(res.Gone, id)
		}
	}
	return res, nil
}

// Close ends a session at once. One that has ended is no error.
type Close struct{ Session uint64 }

func (o *Close) fields(f *fields) { f.uint(&o.Session) }
func (*Close) check() error       { return nil }

func (o *Close) apply(m *machine) (Result, error) {
	m.endSession(o.Session)
	return Result{}, nil
}

// session returns a session that must be there. fault.Stale: fault.Ended is what the log says of a daemon's.
func (m *machine) session(id uint64) (Session, error) {
	var s Session
	if !m.load(key(keySession, id), &s) {
		return s, fault.New("plane", fault.Stale, "session %d has ended", id)
	}
	return s, nil
}

// own notes that a session has something. fault.Stale, fault.Quota.
func (m *machine) own(id uint64, kind byte, name string) error {
	s, err := m.session(id)
	if err != nil {
		return err
	}
	k := key(keyOwned, id, kind, name)
	if _, ok, err := m.tx.Get(k); err != nil || ok {
		return err
	}
	if s.Owned >= OwnedMax {
		return over("session", OwnedMax, "things of one session")
	}
	s.Owned++
	m.save(key(keySession, id), &s)
	m.put(k, nil)
	return nil
}

// disown is the opposite; a session that has ended, or has no such thing, is no error.
func (m *machine) disown(id uint64, kind byte, name string) {
	k := key(keyOwned, id, kind, name)
	_, ok, err := m.tx.Get(k)
	if err != nil {
		m.fail(err)
	}
	var s Session
	if !ok || !m.load(key(keySession, id), &s) {
		return
	}
	s.Owned--
	m.save(key(keySession, id), &s)
	m.delete(k)
}

// endSession frees everything a session has.
func (m *machine) endSession(id uint64) {
	var s Session
	if !m.load(key(keySession, id), &s) {
		return
	}
	prefix := key(keyOwned, id)
	ks, _ := m.keys(prefix, nil, OwnedMax)
	m.delete(key(keySession, id))
	m.disarm(id)
	m.counters().Sessions--
	var bound []string
	for _, k := range ks {
		m.delete(k)
		switch kind, name := k[len(prefix)], string(k[len(prefix)+1:]); kind {
		case keyEntry:
			bound = append(bound, name)
		case keySemaphore:
			m.leaveSemaphore(name, id)
		case keyFlight:
			n := len(name) - 9
			m.comeBack(name[:n], binary.BigEndian.Uint64([]byte(name[n+1:])))
		case keyQueue:
			m.unsubscribe(name, id)
		case keyBank:
			m.leaveBank(name)
		}
	}
	m.dropKeys(bound)
	slices.Sort(m.ch.Topics)
}

// ttl is a time as ops carry it.
func ttl(d time.Duration) int64 { return int64(d) }
