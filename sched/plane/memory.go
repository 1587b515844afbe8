package plane

import (
	"slices"

	"dfs/cluster/fault"
	"dfs/osmodel/kv"
)

// entry and event are the model's, stored.
type (
	entry kv.Entry
	event kv.Event
)

func (e *entry) fields(f *fields) {
	f.text(&e.Key, KeyMax)
	f.bytes(&e.Value, ValueMax)
	f.uint(&e.Created)
	f.uint(&e.Modified)
	f.uint(&e.Version)
	f.uint(&e.Lease)
}

func (e *event) fields(f *fields) {
	(*entry)(&e.Entry).fields(f)
	f.bool(&e.Deleted)
}

// Fence is a condition on a semaphore: the grant with this token is not over.
type Fence struct {
	Semaphore string
	Token     uint64
}

// Commit carries out a transaction on the shared memory. Fences are further conditions. Result: KV, Revision.
type Commit struct {
	kv.Txn
	Fences []Fence
}

func (o *Commit) fields(f *fields) {
	list(f, &o.If, StepsMax, func(c *kv.Condition) {
		f.text(&c.Key, KeyMax+1) // one more, so that what is too long is answered with its own words
		f.byte((*uint8)(&c.Field))
		f.byte((*uint8)(&c.Is))
		f.uint(&c.Number)
		f.bytes(&c.Value, ValueMax+1)
		f.bool(&c.Absent)
	})
	for _, steps := range []*[]kv.Step{&o.Then, &o.Else} {
		list(f, steps, StepsMax, func(s *kv.Step) {
			f.byte((*uint8)(&s.Do))
			f.text(&s.Key, KeyMax+1)
			f.bytes(&s.Value, ValueMax+1)
			f.uint(&s.Lease)
		})
	}
	list(f, &o.Fences, StepsMax, func(c *Fence) {
		f.text(&c.Semaphore, NameMax)
		f.uint(&c.Token)
	})
}

func (o *Commit) check() error {
	if len(o.If) > StepsMax || len(o.Then) > StepsMax || len(o.Else) > StepsMax || len(o.Fences) > StepsMax {
		return over("kv", StepsMax, "conditions and steps of a transaction")
	}
	for _, c := range o.If {
		if err := checkKV(c.Key, c.Value); err != nil {
			return err
		}
		if c.Field > kv.Value || c.Is > kv.Greater {
			return fault.New("kv", fault.Invalid, "a condition of no known kind")
		}
	}
	for _, s := range slices.Concat(o.Then, o.Else) {
		if err := checkKV(s.Key, s.Value); err != nil {
			return err
		}
		if s.Do > kv.Delete {
			return fault.New("kv", fault.Invalid, "a step of no known kind")
		}
	}
	return nil
}

func checkKV(k string, v []byte) error {
	switch err := kv.Check(k, v); err {
	case kv.ErrKey:
		return fault.New("kv", fault.Invalid, "a key has 1 to %d bytes", KeyMax)
	case kv.ErrValue:
		return fault.New("kv", fault.TooBig, "a value has at most %d bytes", ValueMax)
	}
	return nil
}

func (o *Commit) apply(m *machine) (Result, error) {
	c := m.counters()
	before := *c
	t := o.Txn
	for _, fence := range o.Fences {
		if !m.holds(fence.Semaphore, fence.Token) {
			t = kv.Txn{If: []kv.Condition{{Key: "\x00", Field: kv.Version, Number: ^uint64(0)}}, Else: o.Else} // never holds
		}
	}
	mem := &memory{m: m}
	out := kv.Run(mem, t, c.Revision+1)
	if mem.refused != nil {
		return Result{}, mem.refused
	}
	if c.Keys > KeysMax && c.Keys > before.Keys {
		return Result{}, over("kv", KeysMax, "keys")
	}
	if c.KeyBytes > KeyBytes && c.KeyBytes > before.KeyBytes {
		return Result{}, over("kv", KeyBytes, "bytes of keys and values")
	}
	m.record(out.Events)
	out.Events = nil
	out.Found = shown(t, out)
	return Result{KV: &out, Revision: c.Revision}, nil
}

// shown is what the answer tells of entries: values only where a step asked for one.
func shown(t kv.Txn, o kv.Outcome) []*kv.Entry {
	steps := t.Then
	if !o.Held {
		steps = t.Else
	}
	for i, e := range o.Found {
		if e != nil && steps[i].Do != kv.Get {
			e.Value = nil
		}
	}
	return o.Found
}

// memory is the replicated map as the model's Memory.
type memory struct {
	m       *machine
	refused error // to bind a key to a session
}

var _ kv.Memory = (*memory)(nil)

// Load implements kv.Memory.
func (x *memory) Load(k string) (kv.Entry, bool) {
	var e entry
	ok := x.m.load(key(keyEntry, k), &e)
	return kv.Entry(e), ok
}

// Store implements kv.Memory.
func (x *memory) Store(e kv.Entry) {
	old, there := x.Load(e.Key)
	if there {
		x.count(old, -1)
		if old.Lease != 0 && old.Lease != e.Lease {
			x.m.disown(old.Lease, keyEntry, e.Key)
		}
	}
	if e.Lease != 0 {
		if err := x.m.own(e.Lease, keyEntry, e.Key); err != nil && x.refused == nil {
			x.refused = err
		}
	}
	x.count(e, 1)
	x.m.save(key(keyEntry, e.Key), (*entry)(&e))
}

// Remove implements kv.Memory.
func (x *memory) Remove(e kv.Entry) {
	if e.Lease != 0 {
		x.m.disown(e.Lease, keyEntry, e.Key)
	}
	x.count(e, -1)
	x.m.delete(key(keyEntry, e.Key))
}

func (x *memory) count(e kv.Entry, sign int) {
	c := x.m.counters()
	c.Keys += uint64(sign)
	c.KeyBytes += uint64(sign * (len(e.Key) + len(e.Value)))
}

// dropKeys deletes keys whose session has ended, as one revision.
func (m *machine) dropKeys(keys []string) {
	var events []kv.Event
	mem := &memory{m: m}
	for _, k := range keys {
		if e, ok := mem.Load(k); ok {
			mem.Remove(e)
			events = append(events, kv.Deletion(e, m.counters().Revision+1))
		}
	}
	m.record(events)
}

// record makes events the next revision, and forgets the oldest ones that are too many.
func (m *machine) record(events []kv.Event) {
	if len(events) == 0 {
		return
	}
	c := m.counters()
	c.Revision++
	for i, e := range events {
		b := encode((*event)(&e))
		m.put(key(keyEvent, c.Revision, uint64(i)), b)
		c.Events++
		c.EventLen += uint64(len(b))
	}
	m.topic(TopicKeys)
	for m.err == nil && (c.Events > HistoryMax || c.EventLen > HistoryLen) {
		m.forgetRevision()
	}
}

// forgetRevision drops the events of the oldest revision.
func (m *machine) forgetRevision() {
	c := m.counters()
	oldest := c.Compacted + 1
	ks, vs := m.keys(key(keyEvent, oldest), nil, OwnedMax)
	for i, k := range ks {
		m.delete(k)
		c.Events--
		c.EventLen -= uint64(len(vs[i]))
	}
	c.Compacted = oldest
}
