package delegate

import (
	"context"
	"errors"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/net/wire"
)

var _ meta.Store = (*Mount)(nil)

// Apply carries out op: here, where it touches nothing but what this mount has to itself, else through the log until it is
// released. A Result of what was done here has Index 0: there is nothing to wait for. Errors are those of the op, of below
// and of Coherence.Ready.
func (m *Mount) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	return m.do(ctx, op, m.below.Apply)
}

// ApplyEarly is Apply that does not wait for the release.
func (m *Mount) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	return m.do(ctx, op, m.below.ApplyEarly)
}

// ApplyUnder is ApplyEarly of an op that rests on what was done in a session. What is done here is not: what the session placed
// is kept as long as there is a journal.
func (m *Mount) ApplyUnder(ctx context.Context, session uint64, op meta.Op) (meta.Result, error) {
	return m.do(ctx, op, func(ctx context.Context, op meta.Op) (meta.Result, error) {
		return m.below.ApplyUnder(ctx, session, op)
	})
}

// Released returns once the entry at index is released.
func (m *Mount) Released(ctx context.Context, index uint64) error {
	return m.below.Released(ctx, index)
}

type apply func(ctx context.Context, op meta.Op) (meta.Result, error)

func (m *Mount) do(ctx context.Context, op meta.Op, below apply) (meta.Result, error) {
	if l, ok := op.(meta.Lock); ok { // the log must know of the file
		m.lock()
		after := m.touched[l.Ino]
		m.mu.Unlock()
		if err := m.until(ctx, after); err != nil {
			return meta.Result{}, err
		}
		return below(ctx, op)
	}
	for {
		m.lock()
		if len(m.held) == 0 && m.writes.Len() == 0 {
			m.mu.Unlock()
			return below(ctx, op)
		}
		t, err := m.look(op)
		if err != nil || !t.here {
			return m.through(ctx, op, t, err, below) // unlocks
		}
		if c, commit := op.(meta.Commit); commit && c.Synced && m.applied == m.last {
			return m.straight(ctx, c, t, below) // unlocks
		}
		m.mu.Unlock()
		if err := m.ready(ctx, op); err != nil {
			return meta.Result{}, err
		}
		m.lock()
		if t, err = m.look(op); err != nil || !t.here {
			return m.through(ctx, op, t, err, below)
		}
		r, doubts, err := m.tryHere(op, t)
		n := m.last
		m.mu.Unlock()
		for _, ino := range doubts {
			m.coh.Doubt(ino)
		}
		switch err {
		case nil:
			if !m.leased() { // others may have been given these inodes meanwhile: the log knows
				err = m.until(ctx, n)
			}
		case errNoNumbers, errFull:
			continue
		case errNotKept:
			m.lock()
			t, err := m.look(op)
			t.here = false
			return m.through(ctx, op, t, err, below)
		}
		return r, err
	}
}

// touches says what an op is about.
type touches struct {
	here   bool       // all of it is this mount's alone
	inos   []meta.Ino // the inodes
	want   meta.Ino   // what the name means that the op takes away; 0 nothing
	over   meta.Ino   // what the name means that a rename makes; 0 nothing
	ending []meta.Ino // grants that it ends
}

// look finds out what op touches. The caller has mu. A name that cannot be found leaves that to the op itself.
func (m *Mount) look(op meta.Op) (t touches, err error) {
	switch op := op.(type) {
	case meta.Create:
		t.inos = []meta.Ino{op.Dir}
		if op.Name == meta.Nameless {
			return t, nil // the leader is to know of an orphan before it could be asked about it
		}
	case meta.Link:
		t.inos = []meta.Ino{op.Dir, op.Ino}
	case meta.SetAttr:
		t.inos = []meta.Ino{op.Ino}
	case meta.Accessed:
		t.inos = op.Inos
	case meta.SetXattr:
		t.inos = []meta.Ino{op.Ino}
	case meta.RemoveXattr:
		t.inos = []meta.Ino{op.Ino}
	case meta.Unlink:
		err = m.lookAt(&t, op.Dir, op.Name)
	case meta.Rmdir:
		err = m.lookAt(&t, op.Dir, op.Name)
	case meta.Rename:
		if err = m.lookAt(&t, op.OldDir, op.OldName); err != nil {
			return t, err
		}
		source := t.want
		err = m.lookAt(&t, op.NewDir, op.NewName)
		t.over, t.want = t.want, source
		if err == nil && op.OldDir != op.NewDir && m.isDir(source) {
			return t, nil // whether it would be below itself is for the log to say
		}
	case meta.Commit:
		t.inos = []meta.Ino{op.Ino}
		if op.EndGrant {
			t.ending = t.inos
			return t, nil
		}
	case meta.EndGrant:
		t.inos, t.ending = op.Inos, op.Inos
		return t, nil
	case meta.Punch:
		t.inos = []meta.Ino{op.Ino}
		return t, nil
	case meta.Clone:
		t.inos = []meta.Ino{op.Src, op.Dst}
		return t, nil
	default:
		return t, nil
	}
	t.here = err == nil
	for _, ino := range t.inos {
		t.here = t.here && m.alone(ino) && m.busy[ino] == 0
	}
	return t, err
}

// lookAt adds a directory and what name means in it. Of directories that are nothing of ours, names are not looked up: what they
// mean may be, but then the log knows it.
func (m *Mount) lookAt(t *touches, dir meta.Ino, name string) error {
	t.inos = append(t.inos, dir)
	t.want = 0
	v := m.view()
	defer v.Close()
	st, err := v.Lookup(dir, name)
	if errors.Is(err, fault.NotExist) || errors.Is(err, fault.NotDir) || errors.Is(err, fault.NameTooLong) {
		return nil
	}
	if err != nil {
		return err
	}
	t.inos, t.want = append(t.inos, st.Ino), st.Ino
	return nil
}

func (m *Mount) isDir(ino meta.Ino) bool {
	if ino == 0 {
		return false
	}
	v := m.view()
	defer v.Close()
	st, err := v.Stat(ino)
	return err != nil || st.Type == meta.Dir
}

// view is the newest state with all that was done here. The caller has mu.
func (m *Mount) view() *meta.Image {
	r, index := m.below.Newest()
	return meta.NewView(meta.Over(r, m.writes), index)
}

// Why an op was not tried: the caller makes ready again.
var (
	errNoNumbers = errors.New("no inode numbers")
	errFull      = errors.New("the queue is full")
	errNotKept   = errors.New("the journal takes no more") // the log may
)

// tryHere carries op out on what is here, and queues it. What the kernel keeps of the inodes in doubts may be old by now. The
// caller has mu.
func (m *Mount) tryHere(op meta.Op, t touches) (res meta.Result, doubts []meta.Ino, err error) {
	if m.full() {
		return res, nil, errFull
	}
	switch o := op.(type) {
	case meta.Create:
		if m.free == m.end {
			return res, nil, errNoNumbers
		}
		o.Ino = m.free
		o.Grant = len(m.held) < heldMax
		op = o
	case meta.Unlink:
		o.Ino = t.want
		op = o
	case meta.Rmdir:
		o.Ino = t.want
		op = o
	case meta.Rename:
		o.Ino, o.Over = t.want, t.over
		if t.over == 0 {
			o.Over = meta.Nothing
		}
		op = o
	}
	r, _ := m.below.Newest()
	under := meta.Over(r, m.writes)
	defer under.Close()
	top := meta.Over(under, meta.Writes{})
	res, ch, err := meta.Try(top, m.session, m.last+1, op)
	if err != nil {
		return res, nil, err
	}
	q := queued{n: m.last + 1, op: op}
	enc := meta.Encode(op)
	if m.o.Journal != nil {
		if q.ticket, err = m.o.Journal.Append(KindOp, wire.AppendUint(nil, q.n), enc); err != nil {
			return res, nil, errNotKept
		}
	}
	q.bytes = len(enc)
	return res, m.keep(q, top, ch), nil
}

// keep makes what an op wrote part of what lies over the state, and queues the op.
func (m *Mount) keep(q queued, top *meta.Layer, ch *meta.Change) (doubts []meta.Ino) {
	now := m.o.Now()
	m.last, q.at = q.n, now
	wrote := 0 // an inherited ACL is many times its op
	top.Writes.Each(func(k, v []byte, set bool) {
		wrote += len(k) + len(v)
		if !meta.Private(k) {
			return
		}
		if set {
			m.writes = m.writes.Set(k, v)
		} else {
			m.writes = m.writes.Delete(k)
		}
		key := string(k)
		m.wrote[key] = q.n
		q.keys = append(q.keys, key)
	})
	q.bytes = max(q.bytes, wrote)
	m.bytes += q.bytes
	for _, ino := range ch.Granted {
		m.held[ino] = &held{lazy: true, at: now, made: q.n}
	}
	if o, ok := q.op.(meta.Create); ok {
		m.free = o.Ino + 1
	}
	for _, ino := range ch.Attrs {
		m.touched[ino] = q.n
		q.inos = append(q.inos, ino)
		if h := m.held[ino]; h != nil {
			h.at = now
			if h.kept && (h.typ == meta.Dir || !ordered(q.op)) {
				h.kept = false
				doubts = append(doubts, ino)
			}
		}
	}
	if len(m.queue) == 0 && m.last == m.applied+1 {
		m.oldest = now
	}
	m.queue = append(m.queue, q)
	poke(m.work)
	return doubts
}

// ordered reports whether the kernel itself tells an answer about a file's attributes from before op from one after it.
func ordered(op meta.Op) bool {
	switch op.(type) {
	case meta.Commit, meta.SetAttr:
		return true
	}
	return false
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// through brings op into the log, after whatever it depends on. The caller has mu, which is released.
func (m *Mount) through(ctx context.Context, op meta.Op, t touches, err error, below apply) (meta.Result, error) {
	if err != nil {
		m.mu.Unlock()
		return meta.Result{}, err
	}
	after := uint64(0)
	for _, ino := range t.inos {
		after = max(after, m.touched[ino])
		m.busy[ino]++
	}
	for _, ino := range t.ending {
		if h := m.held[ino]; h != nil {
			h.ending = true
		}
	}
	m.mu.Unlock()
	defer func() {
		m.lock()
		defer m.mu.Unlock()
		for _, ino := range t.inos {
			if m.busy[ino]--; m.busy[ino] == 0 {
				delete(m.busy, ino)
			}
		}
	}()
	if err := m.until(ctx, after); err != nil {
		return meta.Result{}, err
	}
	return below(ctx, op)
}

// straight brings a commit into the log whose bytes were synced, so that somebody waits for the log too: to try it here and to
// queue it would cost more than it saves. Nothing else is under way, or its place would not be behind that. Where it was
// this mount's alone until it was applied, it concerns nobody else, and there is no release to wait for. The caller has mu,
// which is released.
func (m *Mount) straight(ctx context.Context, op meta.Commit, t touches, below apply) (meta.Result, error) {
	r, err := m.through(ctx, op, t, nil, below)
	m.lock() // hears of the end of its grant, if that came before
	defer m.mu.Unlock()
	if err == nil && m.alone(op.Ino) {
		r.Index = 0
		m.held[op.Ino].at = m.o.Now()
	}
	return r, err
}

// ready waits for all that an op done here needs besides: the lease, room in the queue, inode numbers.
func (m *Mount) ready(ctx context.Context, op meta.Op) error {
	if err := m.coh.Ready(ctx); err != nil {
		return err
	}
	if err := m.below.Admit(op); err != nil {
		return err
	}
	for {
		m.lock()
		full, moved, numbers := m.full(), m.moved, m.free < m.end
		m.mu.Unlock()
		switch {
		case full:
			poke(m.urgent)
			if err := m.below.Wait(ctx, moved); err != nil {
				return err
			}
		case !numbers:
			if err := m.reserve(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// full reports whether ops have to wait: too many, too large, or the oldest too old. The caller has mu.
func (m *Mount) full() bool {
	n := m.last - m.applied
	return n >= queueMax || m.bytes >= bytesMax || n > 0 && m.o.Now().Sub(m.oldest) >= oldestMax
}

// reserve gets inode numbers. Two at once get two lots, and one is never used.
func (m *Mount) reserve(ctx context.Context) error {
	r, err := m.below.ApplyEarly(ctx, meta.Reserve{Count: reserveLot})
	if err != nil {
		return err
	}
	m.lock()
	defer m.mu.Unlock()
	m.free, m.end = r.Inode.Ino, r.Inode.Ino+reserveLot
	return nil
}
