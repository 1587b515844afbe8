package plane

import (
	"encoding/binary"

	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/osmodel/kv"
)

// View answers questions about the plane's state as of one index. It is as safe for concurrent use as its reader.
type View struct{ r reader }

// NewView returns the state that r shows. The reader remains the caller's to close.
func NewView(r reader) View { return View{r} }

// Stopped returns why the plane has stopped, and whether it has.
func (v View) Stopped() (why string, stopped bool, err error) { return stoppedWhy(v.r) }

// Get returns an entry of the shared memory.
func (v View) Get(k string) (e kv.Entry, ok bool, err error) {
	ok, err = load(v.r, key(keyEntry, k), (*entry)(&e))
	return e, ok, err
}

// List returns at most limit entries whose keys begin with prefix and are above after, in order.
func (v View) List(prefix, after string, limit int) (es []kv.Entry, err error) {
	from := key(keyEntry, after)
	if after != "" {
		from = append(from, 0)
	}
	err = each(v.r, key(keyEntry, prefix), from, limit, func(e *entry) bool { es = append(es, kv.Entry(*e)); return true })
	return es, err
}

// Revision returns the newest revision of the shared memory.
func (v View) Revision() (uint64, error) {
	c, err := v.counters()
	return c.Revision, err
}

// Since returns events of revision from and later: whole revisions, one at least, and no further one once they are limit or many
// bytes. fault.Stale: some are gone.
func (v View) Since(from uint64, limit int) (es []kv.Event, err error) {
	c, err := v.counters()
	if err != nil {
		return nil, err
	}
	if from <= c.Compacted && c.Compacted > 0 {
		return nil, fault.New("kv watch", fault.Stale, "revision %d: the history begins at %d", from, c.Compacted+1)
	}
	size, full := 0, false
	err = each(v.r, key(keyEvent), key(keyEvent, from), unbounded, func(e *event) bool {
		if full = full || len(es) > 0 && e.Modified != es[len(es)-1].Modified && (len(es) >= limit || size > askedBytes); full {
			return false
		}
		size += len(e.Key) + len(e.Value)
		es = append(es, kv.Event(*e))
		return true
	})
	return es, err
}

// Session returns a session. fault.NotExist.
func (v View) Session(id uint64) (s Session, err error) {
	return s, must(v.r, key(keySession, id), &s, "session")
}

// Sessions returns all sessions, oldest first.
func (v View) Sessions() (all []Session, err error) {
	err = each(v.r, key(keySession), nil, SessionsMax, func(s *Session) bool { all = append(all, *s); return true })
	return all, err
}

// Alarms returns all alarms, by id.
func (v View) Alarms() (all []Alarm, err error) {
	err = each(v.r, key(keyAlarm), nil, unbounded, func(a *Alarm) bool { all = append(all, *a); return true })
	return all, err
}

// Semaphore returns one semaphore. fault.NotExist.
func (v View) Semaphore(name string) (s Semaphore, err error) {
	return s, must(v.r, key(keySemaphore, name), &s, "semaphore "+name)
}

// Semaphores returns all semaphores, by name.
func (v View) Semaphores() (all []Semaphore, err error) {
	err = each(v.r, key(keySemaphore), nil, SemaphoresMax, func(s *Semaphore) bool { all = append(all, *s); return true })
	return all, err
}

// Queue returns one queue. fault.NotExist.
func (v View) Queue(name string) (q Queue, err error) {
	return q, must(v.r, key(keyQueue, name), &q, "queue "+name)
}

// Queues returns all queues, by name.
func (v View) Queues() (all []Queue, err error) {
	err = each(v.r, key(keyQueue), nil, QueuesMax, func(q *Queue) bool { all = append(all, *q); return true })
	return all, err
}

// Ready returns at most limit messages of a queue that any may receive, in order.
func (v View) Ready(q Queue, limit int) (all []Message, err error) {
	prefix := key(keyMessage, q.Name, end, uint64(0))
	err = each(v.r, prefix, binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], q.Low), limit, func(m *Message) bool { all = append(all, *m); return true })
	return all, err
}

// Flying returns at most limit messages of a queue that were received and are not settled.
func (v View) Flying(q Queue, limit int) (all []Message, err error) {
	err = each(v.r, key(keyFlight, q.Name, end), nil, limit, func(m *Message) bool { all = append(all, *m); return true })
	return all, err
}

// HasCopy reports whether there is a copy of a broadcast for a session.
func (v View) HasCopy(queue string, session uint64) (has bool, err error) {
	err = each(v.r, key(keyMessage, queue, end, session), nil, 1, func(*Message) bool { has = session != 0; return true })
	return has, err
}

// Bank returns the bank.
func (v View) Bank() (b Bank, err error) {
	_, err = load(v.r, key(keyBank), &b)
	return b, err
}

// Arena returns one simulated memory. fault.NotExist.
func (v View) Arena(name string) (a Arena, err error) {
	return a, must(v.r, key(keyArena, name), &a, "memory "+name)
}

// Arenas returns all simulated memories, by name.
func (v View) Arenas() (all []Arena, err error) {
	err = each(v.r, key(keyArena), nil, ArenasMax, func(a *Arena) bool { all = append(all, *a); return true })
	return all, err
}

func (v View) counters() (c counters, err error) {
	_, err = load(v.r, countersKey, &c)
	return c, err
}

const unbounded = 1 << 30

// each decodes the values of the keys below prefix from (nil: all) on, at most limit, until fn returns false.
func each[T any, P interface {
	*T
	message
}](r reader, prefix, from []byte, limit int, fn func(P) bool) error {
	var bad error
	err := r.Scan(prefix, from, func(_, v []byte) bool {
		if limit <= 0 {
			return false
		}
		limit--
		x := P(new(T))
		if bad = decode(v, x); bad != nil {
			bad = fault.Because("plane read", fault.Corrupt, bad)
			return false
		}
		return fn(x)
	})
	if err != nil {
		return err
	}
	return bad
}

func must(r reader, k []byte, m message, what string) error {
	ok, err := load(r, k, m)
	if err == nil && !ok {
		err = fault.New("plane", fault.NotExist, "%s", what)
	}
	return err
}

// Prefix is what all keys of the plane's state begin with.
func Prefix() []byte { return []byte{state.TagPlane} }
