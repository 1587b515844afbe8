package state

import (
	"bytes"
	"slices"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/net/wire"
)

// Apply applies one entry. An entry that is in the state already is never applied again: fault.Invalid.
func (m *Machine) Apply(index uint64, ps []raft.Proposal) ([][]byte, error) {
	if index <= m.Applied() {
		return nil, fault.New("state apply", fault.Invalid, "entry %d after %d", index, m.Applied())
	}
	if len(ps) == 0 {
		m.setApplied(index) // not stored: after a restart such entries are replayed, which changes nothing
		return nil, nil
	}
	p := m.prepared
	if m.prepared = nil; p != nil && !p.is(index, ps) {
		p.e.tx.Close()
		p = nil
	}
	if p == nil {
		var err error
		if p, err = m.work(index, ps); err != nil {
			return nil, err
		}
	}
	defer p.e.tx.Close()
	if err := p.e.tx.Commit(); err != nil {
		return nil, fault.Wrap("state commit", err)
	}
	m.setApplied(index)
	a := p.applied()
	for _, f := range m.followers {
		f.Applied(a)
	}
	return p.results, nil
}

// prepared is an entry that is worked out and not committed.
type prepared struct {
	e       entry
	ps      []raft.Proposal
	results [][]byte
}

// is reports whether p is the entry at index with these proposals.
func (p *prepared) is(index uint64, ps []raft.Proposal) bool {
	return p.e.index == index && slices.EqualFunc(p.ps, ps, func(a, b raft.Proposal) bool {
		return a.Session == b.Session && a.Seq == b.Seq && a.Low == b.Low && a.Time == b.Time && bytes.Equal(a.Body, b.Body)
	})
}

func (p *prepared) applied() Applied {
	return Applied{Index: p.e.index, Changes: p.e.changes, Refused: p.e.refused}
}

// work works an entry out in a transaction of its own.
func (m *Machine) work(index uint64, ps []raft.Proposal) (_ *prepared, err error) {
	p := &prepared{ps: ps, results: make([][]byte, len(ps)), e: entry{m: m, tx: m.store.Begin(index), index: index}}
	defer func() {
		if err != nil {
			p.e.tx.Close()
		}
	}()
	for i, one := range ps {
		if p.results[i], err = p.e.proposal(uint32(i), one); err != nil {
			return nil, fault.Wrap("state apply", err)
		}
	}
	if err := p.e.tx.Set(appliedKey, wire.AppendUint(nil, index)); err != nil {
		return nil, fault.Wrap("state apply", err)
	}
	return p, nil
}

// Prepare implements raft.Preparer.
func (m *Machine) Prepare(index uint64, ps []raft.Proposal) error {
	m.Unprepare()
	if index <= m.Applied() {
		return fault.New("state prepare", fault.Invalid, "entry %d after %d", index, m.Applied())
	}
	p, err := m.work(index, ps)
	if err != nil {
		return err
	}
	m.prepared = p
	a := p.applied()
	for _, f := range m.followers {
		if f, ok := f.(Foreseer); ok {
			f.Prepared(a)
		}
	}
	return nil
}

// Unprepare implements raft.Preparer.
func (m *Machine) Unprepare() {
	if m.prepared != nil {
		m.prepared.e.tx.Close()
		m.prepared = nil
	}
}

// entry is one log entry being applied.
type entry struct {
	m       *Machine
	tx      kv.Txn
	index   uint64
	changes []Change
	refused bool
	bytes   int // written so far
	writes  int
}

// proposal applies one proposal, or answers it from its session's window. An error means the store failed.
func (e *entry) proposal(n uint32, p raft.Proposal) ([]byte, error) {
	c := Context{Index: e.index, Op: n, Session: p.Session, Time: p.Time}
	o := newOverlay(e.tx)
	s, known, err := readSession(o, p.Session)
	if err != nil {
		return nil, err
	}
	if known {
		if r, done, err := s.answered(o, p); err != nil || done {
			e.refused = true // it tells of the entry that it repeats
			return r, err
		}
	} else if !opens(p.Body) {
		return EncodeResult(nil, ended(p.Session)), nil
	}
	payload, changes, opErr := e.run(o, c, p.Body)
	if o.broken != nil {
		return nil, o.broken
	}
	if opErr == nil && (e.writes+len(o.writes) > EntryWrites || e.bytes+o.bytes > EntryBytes) && n > 0 {
		opErr = fault.New("apply", fault.Busy, "entry %d is full", e.index)
	}
	if opErr != nil {
		o, changes, e.refused = newOverlay(e.tx), nil, true
	}
	if len(changes) == 0 {
		e.refused = true // its answer is about what was there before
	}
	result := EncodeResult(payload, opErr)
	o.free = true
	if err := settle(o, p, result); err != nil {
		return nil, err
	}
	e.bytes += o.bytes
	e.writes += len(o.writes)
	for _, ch := range changes {
		ch.Session, ch.Seq = p.Session, p.Seq
		e.changes = append(e.changes, ch)
	}
	return result, o.flush()
}

// run hands the body to its part.
func (e *entry) run(o *overlay, c Context, body []byte) ([]byte, []Change, error) {
	if len(body) == 0 {
		return nil, nil, fault.New("apply", fault.Invalid, "no body")
	}
	tag := body[0]
	if tag == TagFacts {
		return e.facts(o, c, body[1:])
	}
	part, ok := e.m.parts[tag]
	if !ok {
		return nil, nil, fault.New("apply", fault.Unsupported, "tag %d", tag)
	}
	payload, what, err := part.Apply(o, c, body[1:])
	if err != nil || what == nil {
		return payload, nil, err
	}
	return payload, []Change{{Tag: tag, What: what}}, nil
}

// tell gives an event to all parts.
func (e *entry) tell(o *overlay, c Context, ev Event) ([]Change, error) {
	var changes []Change
	for _, tag := range e.m.tags {
		what, err := e.m.parts[tag].Event(o, c, ev)
		if err != nil {
			return nil, err
		}
		if what != nil {
			changes = append(changes, Change{Tag: tag, What: what})
		}
	}
	return changes, nil
}
