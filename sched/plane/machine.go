package plane

import (
	"bytes"
	"encoding/binary"
	"slices"

	"dfs/cluster/fault"
	"dfs/cluster/state"
)

// Keys. Numbers are big-endian, so that order of keys is order of numbers; names end with a zero byte where something follows.
//
//	03 'z'                          the plane has stopped, and why
//	03 'c'                          counters
//	03 's' session                  session
//	03 'o' session kind name        what a session has
//	03 't' id                       alarm
//	03 'k' key                      entry of the shared memory
//	03 'h' revision n               event of it
const (
	keyStopped  = 'z'
	keyCounters = 'c'
	keySession  = 's'
	keyOwned    = 'o'
	keyAlarm    = 't'
	keyEntry    = 'k'
	keyEvent    = 'h'
)

var (
	stoppedKey  = []byte{state.TagPlane, keyStopped}
	countersKey = []byte{state.TagPlane, keyCounters}
)

// key is kind, then parts one after the other: strings and numbers.
func key(kind byte, parts ...any) []byte {
	k := []byte{state.TagPlane, kind}
	for _, p := range parts {
		switch p := p.(type) {
		case uint64:
			k = binary.BigEndian.AppendUint64(k, p)
		case string:
			k = append(k, p...)
		case byte:
			k = append(k, p)
		}
	}
	return k
}

const end = byte(0) // of a name

type reader interface {
	Get(key []byte) ([]byte, bool, error)
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
}

// machine carries out one op. A failure of the store sticks in err: what follows does not count then.
type machine struct {
	tx     state.Tx
	c      state.Context
	ch     Change
	count  counters
	loaded bool
	err    error
}

// counters is what is counted over all.
type counters struct {
	Last       uint64 // token, id or number given out last
	Revision   uint64 // of the shared memory
	Compacted  uint64 // events up to this revision are gone
	Keys       uint64
	KeyBytes   uint64
	Events     uint64
	EventLen   uint64
	Sessions   uint64
	Semaphores uint64
	Queues     uint64
	Arenas     uint64
}

func (c *counters) fields(f *fields) {
	for _, v := range []*uint64{&c.Last, &c.Revision, &c.Compacted, &c.Keys, &c.KeyBytes, &c.Events, &c.EventLen,
		&c.Sessions, &c.Semaphores, &c.Queues, &c.Arenas} {
		f.uint(v)
	}
}

func (m *machine) counters() *counters {
	if !m.loaded {
		m.load(countersKey, &m.count)
		m.loaded = true
	}
	return &m.count
}

// finish writes what was counted.
func (m *machine) finish() {
	if m.loaded {
		m.save(countersKey, &m.count)
	}
}

// token returns a number above every one before: the log index where that is.
func (m *machine) token() uint64 {
	c := m.counters()
	c.Last = max(c.Last+1, m.c.Index)
	return c.Last
}

func (m *machine) topic(t string) {
	if !slices.Contains(m.ch.Topics, t) {
		m.ch.Topics = append(m.ch.Topics, t)
	}
}

func (m *machine) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *machine) load(k []byte, r message) bool {
	ok, err := load(m.tx, k, r)
	if err != nil {
		m.fail(err)
	}
	return ok && err == nil
}

func load(tx reader, k []byte, r message) (bool, error) {
	b, ok, err := tx.Get(k)
	if err != nil || !ok {
		return false, err
	}
	if err := decode(b, r); err != nil {
		return false, fault.Because("plane read", fault.Corrupt, err)
	}
	return true, nil
}

func (m *machine) save(k []byte, r message) { m.put(k, encode(r)) }

func (m *machine) put(k, v []byte) {
	if len(v) > valueMax {
		m.fail(fault.New("plane", fault.TooBig, "one record of more than %d bytes", valueMax))
		return
	}
	if err := m.tx.Set(k, v); err != nil {
		m.fail(err)
	}
}

const valueMax = 64 << 10 // of the replicated map

func (m *machine) delete(k []byte) {
	if err := m.tx.Delete(k); err != nil {
		m.fail(err)
	}
}

// keys returns the keys below prefix from (nil: all) on, at most limit, and their values.
func (m *machine) keys(prefix, from []byte, limit int) (ks, vs [][]byte) {
	err := m.tx.Scan(prefix, from, func(k, v []byte) bool {
		if len(ks) == limit {
			return false
		}
		ks, vs = append(ks, bytes.Clone(k)), append(vs, bytes.Clone(v))
		return true
	})
	if err != nil {
		m.fail(err)
	}
	return ks, vs
}

// Alarm is something that ends by itself unless its stamp changes first.
type Alarm struct {
	ID    uint64 // of a session, or the receipt of a message
	Stamp uint64
	After int64  // nanoseconds
	Queue string // of a receipt
}

func (a *Alarm) fields(f *fields) {
	f.uint(&a.ID)
	f.uint(&a.Stamp)
	f.int(&a.After)
	f.text(&a.Queue, NameMax)
}

func (m *machine) arm(a Alarm) {
	a.Stamp = m.token()
	m.save(key(keyAlarm, a.ID), &a)
	m.ch.Armed = append(m.ch.Armed, a)
}

func (m *machine) disarm(id uint64) {
	m.delete(key(keyAlarm, id))
	m.ch.Disarmed = append(m.ch.Disarmed, id)
}

// Ring says that an alarm's time is over. It does nothing if the stamp is another by now.
type Ring struct{ ID, Stamp uint64 }

func (o *Ring) fields(f *fields) {
	f.uint(&o.ID)
	f.uint(&o.Stamp)
}
func (*Ring) check() error { return nil }

func (o *Ring) apply(m *machine) (Result, error) {
	var a Alarm
	if !m.load(key(keyAlarm, o.ID), &a) || a.Stamp != o.Stamp {
		return Result{}, nil
	}
	if a.Queue != "" {
		m.comeBack(a.Queue, a.ID)
	} else {
		m.endSession(a.ID)
	}
	return Result{ID: a.ID}, nil
}
