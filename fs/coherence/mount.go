package coherence

import (
	"slices"
	"time"

	"dfs/cluster/lease"
	"dfs/fs/meta"
)

// NotifyKind is what the kernel is told.
type NotifyKind uint8

const (
	InvalAttr   NotifyKind = iota // forget the inode's attributes; never waits
	InvalBytes                    // forget attributes and pages; waits for pages that a read holds
	InvalEntry                    // forget a name; waits for requests that hold the directory
	ExpireEpoch                   // forget every name; never waits
)

// Notify is one message for the kernel. The driver sends it, in any order and as slowly as the kernel likes, and calls
// Begun just before and Done after.
type Notify struct {
	ID   uint64
	Kind NotifyKind
	Ino  meta.Ino // of InvalEntry: the directory
	Name string
}

// Decision says how one object may be read now.
type Decision struct {
	At    uint64 // read the state after this index
	Wait  bool   // not now: ask again after the next release
	Cache bool   // the kernel may keep the answer
}

// Mount is what one mount's kernel has taken in. Not safe for concurrent use.
type Mount struct {
	session  uint64
	epochOK  bool
	named    time.Duration // no name was answered with a longer validity while epochOK; of use when it ends
	bare     bool          // no lease since the caches were dropped: nothing the kernel has may be used, nothing new is given
	applied  uint64
	taken    lease.Seen // changes the kernel has taken in
	released lease.Seen
	barrier  uint64 // up to here it is not known what changed: nothing is answered before all of it is released

	prepared *op // of the entry after applied, if that was prepared

	ops     map[uint64]*op      // changes not taken in, or not known to be released, and prepared ones
	order   []uint64            // their indexes, ascending
	objects map[Object][]uint64 // of those, the ones that changed the object, ascending
	refused []uint64            // of those, the ones that failed and are not taken in, ascending
	waiting map[uint64]*notify  // notifies not done
	dirs    map[meta.Ino]*dir
	lastID  uint64
	out     []Notify
	epoch   uint64 // ID of the epoch notify under way; 0 none
}

type op struct {
	index   uint64
	objects []Object
	open    int        // notifies that must be done before this is taken in
	bytes   []meta.Ino // files whose pages the kernel must forget
	refused bool       // an answer of it tells of anything before it: it is taken in after all that
	taken   bool
	early   bool // it is not applied yet, and perhaps never will be
}

type notify struct {
	Notify
	op       *op
	begun    bool
	again    bool          // bytes from before the change were read meanwhile: send it once more
	waits    bool          // a Tick has seen it
	since    time.Duration // when that was
	expiring bool          // the epoch notify under way does its work
	moot     bool          // the op no longer waits for it
}

// dir is a directory some request of ours holds, or whose names the kernel may keep.
type dir struct {
	held    int           // requests in the daemon's hands that hold its lock exclusively
	until   time.Duration // the last validity handed out for a name in it ends
	pending int           // name notifies not done and not moot
}

// NewMount returns the state of a mount whose kernel knows nothing, on a replica at applied. Changes made by
// session are its own. With epochOK, names can be expired without a lock.
func NewMount(session, applied uint64, epochOK bool) *Mount {
	m := &Mount{session: session, epochOK: epochOK, bare: true}
	m.Reset(applied)
	return m
}

// EpochOK says whether names can be expired without a lock, from now on: where something is mounted inside the drive they
// cannot, for that would be detached. Validities handed out before end at until or earlier.
func (m *Mount) EpochOK(ok bool, until time.Duration) {
	if m.epochOK && !ok {
		m.named = until
	}
	m.epochOK = ok
}

// Reset forgets everything: the kernel's caches are dropped, the state is that after index, and nobody knows what
// changed on the way there.
func (m *Mount) Reset(index uint64) {
	m.applied, m.barrier = index, index
	m.taken = lease.NewSeen(index, nil)
	m.ops, m.order, m.refused, m.prepared = map[uint64]*op{}, nil, nil, nil
	m.objects = map[Object][]uint64{}
	m.waiting = map[uint64]*notify{}
	held := map[meta.Ino]*dir{}
	for ino, d := range m.dirs {
		if d.held > 0 {
			held[ino] = &dir{held: d.held}
		}
	}
	m.dirs = held
	m.out, m.epoch = nil, 0
}

// Apply takes the changes of the next log entry, whose state is readable already: one for each session's op, all of
// one index.
func (m *Mount) Apply(cs ...meta.Change) {
	index := cs[0].Index
	o := m.prepared
	if o != nil && o.index != index {
		m.Unprepare()
		o = nil
	}
	for i := m.applied + 1; i < index; i++ {
		m.taken = addSeen(m.taken, i) // entries that changed nothing
	}
	m.applied = index
	if o != nil {
		m.prepared, o.early = nil, false
		m.settle(o)
		return
	}
	m.begin(&op{index: index}, cs)
}

// Prepare takes the changes of the entry after Applied, which is in the log and may still be replaced: Apply or Unprepare
// follows. The kernel takes them in like others; an answer about what they touch, once they are taken in, waits until they are applied.
func (m *Mount) Prepare(cs ...meta.Change) {
	m.Unprepare()
	if cs[0].Index != m.applied+1 {
		return
	}
	m.prepared = &op{index: cs[0].Index, early: true}
	m.begin(m.prepared, cs)
}

// Early reports whether what was prepared, and everything before it, is taken in.
func (m *Mount) Early() bool {
	return m.prepared != nil && m.prepared.taken && m.taken.Prefix+1 == m.prepared.index
}

// Unprepare says that what was prepared will not be applied.
func (m *Mount) Unprepare() {
	o := m.prepared
	if o == nil {
		return
	}
	m.prepared = nil
	for _, n := range m.waiting {
		if n.op == o && !n.moot {
			n.moot = true
			if n.Kind == InvalEntry {
				m.dirOf(n.Ino).pending--
				m.prune(n.Ino)
			}
		}
	}
	m.refused = slices.DeleteFunc(m.refused, func(i uint64) bool { return i == o.index })
	m.remove(o)
}

// begin notes what an entry changes and what the kernel must forget for it.
func (m *Mount) begin(o *op, cs []meta.Change) {
	for _, c := range cs {
		m.take(o, c)
	}
	if len(o.objects) > 0 || o.refused {
		m.ops[o.index] = o
		m.order = append(m.order, o.index)
		for _, obj := range o.objects {
			if is := m.objects[obj]; len(is) == 0 || is[len(is)-1] != o.index {
				m.objects[obj] = append(is, o.index)
			}
		}
	} else {
		o.taken = true
	}
	if o.refused {
		m.refused = append(m.refused, o.index)
	}
	m.settle(o)
	m.unlock()
}

// take notes what one change touches and what the kernel must forget for it.
func (m *Mount) take(o *op, c meta.Change) {
	o.refused = o.refused || c.Refused
	own := c.Session == m.session
	if c.Local {
		if own {
			m.takeLocal(o, c)
		}
		return
	}
	content := map[meta.Ino]bool{}
	for _, d := range c.Data {
		o.objects = append(o.objects, Bytes(d.Ino))
		if !own || d.Merged {
			content[d.Ino] = true
			o.bytes = append(o.bytes, d.Ino)
			m.notify(o, Notify{Kind: InvalBytes, Ino: d.Ino})
		}
	}
	for _, ino := range c.Attrs {
		o.objects = append(o.objects, Attr(ino))
		if !content[ino] {
			m.notify(o, Notify{Kind: InvalAttr, Ino: ino})
		}
	}
	if own {
		m.carry(c.Names)
	}
	for _, n := range c.Names {
		o.objects = append(o.objects, Entry(n.Dir, n.Name), List(n.Dir))
		if own && m.dirOf(n.Dir).held > 0 {
			continue // the answer to the request that made the change tells the kernel
		}
		m.notify(o, Notify{Kind: InvalEntry, Ino: n.Dir, Name: n.Name})
	}
}

// takeLocal notes a change of what was this mount's alone. No other kernel can know anything of it, and ours was told of names and
// bytes when it asked for the change. Attributes that changed with another inode's change may be in it all the same, by a reply
// that was overtaken.
func (m *Mount) takeLocal(o *op, c meta.Change) {
	m.carry(c.Names)
	told := make(map[meta.Ino]bool, len(c.Granted))
	for _, ino := range c.Granted {
		told[ino] = true // made here: the kernel has its attributes from the answer that said so, or knows that it changed them since
	}
	for _, ino := range c.Attrs {
		if !told[ino] {
			told[ino] = true
			o.objects = append(o.objects, Attr(ino))
			m.notify(o, Notify{Kind: InvalAttr, Ino: ino})
		}
	}
}

// carry notes that a rename of ours takes the name's validity with it into the other directory.
func (m *Mount) carry(names []meta.Name) {
	if m.epochOK {
		return
	}
	var until time.Duration
	for _, n := range names {
		if d := m.dirs[n.Dir]; d != nil {
			until = max(until, d.until)
		}
	}
	for _, n := range names {
		if until > 0 {
			m.dirOf(n.Dir).until = until
		}
	}
}

// notify makes the kernel's taking in of o wait for n. Before there is a lease there is nothing to tell; and a name notify
// could wait for a request that waits for the lease.
func (m *Mount) notify(o *op, n Notify) {
	if m.bare {
		return
	}
	m.lastID++
	n.ID = m.lastID
	o.open++
	m.waiting[n.ID] = &notify{Notify: n, op: o}
	if n.Kind == InvalEntry {
		m.dirOf(n.Ino).pending++
	}
	m.out = append(m.out, n)
}

// Notifies returns what the kernel is to be told now, and forgets it.
func (m *Mount) Notifies() []Notify {
	out := m.out
	m.out = nil
	return out
}

// Begun says that a notify is about to be sent.
func (m *Mount) Begun(id uint64) {
	if n := m.waiting[id]; n != nil {
		n.begun, n.again = true, false
	}
}

// Done says that the kernel has acted on a notify.
func (m *Mount) Done(id uint64) {
	if id == m.epoch && id != 0 {
		m.epochDone()
		return
	}
	n := m.waiting[id]
	if n == nil {
		return
	}
	if n.again {
		n.begun, n.again = false, false
		m.out = append(m.out, n.Notify)
		return
	}
	delete(m.waiting, id)
	m.close(n)
}

// close counts a notify as done for its op.
func (m *Mount) close(n *notify) {
	if n.moot {
		return
	}
	n.moot = true
	if n.Kind == InvalEntry {
		m.dirOf(n.Ino).pending--
		m.prune(n.Ino)
	}
	n.op.open--
	m.settle(n.op)
}

// Leased says that there is a lease: from now on the kernel is given answers to keep.
func (m *Mount) Leased() { m.bare = false }

// Dropped says that the lease was lost and the kernel's caches are gone: all that was applied is taken in, and what
// follows too, until the next lease.
func (m *Mount) Dropped() {
	m.bare = true
	for _, n := range m.waiting {
		n.moot = true
	}
	m.waiting = map[uint64]*notify{}
	for _, d := range m.dirs {
		d.pending, d.until = 0, 0
	}
	m.out, m.epoch = nil, 0
	for _, i := range slices.Clone(m.order) {
		if o := m.ops[i]; o != nil {
			o.open = 0
			m.settle(o)
		}
	}
}

// Hold says that a request which holds the locks of these directories, exclusively, has reached the daemon; Free that
// it is being answered.
func (m *Mount) Hold(dirs ...meta.Ino) {
	for _, ino := range dirs {
		m.dirOf(ino).held++
	}
	m.unlock()
}

// Free undoes one Hold.
func (m *Mount) Free(dirs ...meta.Ino) {
	for _, ino := range dirs {
		m.dirOf(ino).held--
		m.prune(ino)
	}
}

// unlock sees to it that no name notify waits for a directory that a request of ours holds.
func (m *Mount) unlock() {
	if !m.epochOK || m.epoch != 0 || !m.blocked() {
		return
	}
	m.expire()
	// It settles what is blocked now, and only that: where no request of ours holds the directory, a listing's
	// reply may be on its way, and would install old names under the new epoch.
	for _, n := range m.waiting {
		if n.Kind == InvalEntry && !n.moot && m.dirOf(n.Ino).held > 0 {
			n.expiring = true
		}
	}
}

// expire makes the kernel forget all names.
func (m *Mount) expire() {
	m.lastID++
	m.epoch = m.lastID
	m.out = append(m.out, Notify{ID: m.epoch, Kind: ExpireEpoch})
}

func (m *Mount) blocked() bool {
	for _, d := range m.dirs {
		if d.held > 0 && d.pending > 0 {
			return true
		}
	}
	return false
}

func (m *Mount) epochDone() {
	var settled []*notify
	for _, n := range m.waiting {
		if n.expiring {
			n.expiring = false
			settled = append(settled, n)
		}
	}
	m.epoch = 0
	for _, n := range inOrder(settled) {
		m.close(n)
	}
	m.unlock()
}

// Tick lets time pass. A name notify that does not come back waits for a lock that this side cannot know of: a rename
// of ours holds one directory while it waits for another, or a look-up waits for a release with two of them locked. So
// before such waits meet and close a circle, the names are expired without the notify: by the epoch once no
// listing's reply from before the change can be on its way any more; on kernels without one, by letting the validity handed
// out for names of the directory run out.
func (m *Mount) Tick(now time.Duration) {
	var over []*notify
	for _, n := range m.waiting {
		switch {
		case n.Kind != InvalEntry || n.moot || n.expiring:
		case !n.waits:
			n.waits, n.since = true, now
		case m.epochOK && now-n.since > DeliverySlack:
			over = append(over, n)
		case !m.epochOK && now > max(m.named, m.dirOf(n.Ino).until)+DeliverySlack:
			over = append(over, n)
		}
	}
	switch {
	case len(over) == 0:
	case !m.epochOK:
		for _, n := range inOrder(over) {
			m.close(n)
		}
	case m.epoch == 0:
		m.expire()
		for _, n := range over {
			n.expiring = true
		}
	}
}

func inOrder(ns []*notify) []*notify {
	slices.SortFunc(ns, func(a, b *notify) int { return int(int64(a.ID - b.ID)) })
	return ns
}

// settle marks an op taken in when its notifies are done and every earlier op on its objects is taken in, and then
// looks at those that waited for it.
func (m *Mount) settle(o *op) {
	if !o.taken {
		if o.open > 0 || !m.first(o) {
			return
		}
		o.taken = true
	}
	if o.early {
		return
	}
	m.taken = addSeen(m.taken, o.index)
	var next []uint64
	for _, obj := range o.objects {
		for _, i := range m.objects[obj] {
			if i > o.index {
				next = append(next, i)
				break
			}
		}
	}
	if o.refused {
		m.refused = slices.DeleteFunc(m.refused, func(i uint64) bool { return i == o.index })
	}
	m.forget(o)
	if len(m.refused) > 0 {
		next = append(next, m.refused[0])
	}
	for _, i := range next {
		if p := m.ops[i]; p != nil && !p.taken {
			m.settle(p)
		}
	}
}

// first reports whether every earlier op on o's objects is taken in; of one that was refused, every earlier op.
func (m *Mount) first(o *op) bool {
	if o.refused && m.taken.Prefix+1 < o.index {
		return false
	}
	for _, obj := range o.objects {
		for _, i := range m.objects[obj] {
			if i >= o.index {
				break
			}
			if !m.ops[i].taken {
				return false
			}
		}
	}
	return true
}

// forget drops an op that is taken in and released.
func (m *Mount) forget(o *op) {
	if o.taken && !o.early && m.released.Has(o.index) {
		m.remove(o)
	}
}

// remove drops an op.
func (m *Mount) remove(o *op) {
	if m.ops[o.index] != o {
		return
	}
	delete(m.ops, o.index)
	if at, ok := slices.BinarySearch(m.order, o.index); ok {
		m.order = slices.Delete(m.order, at, at+1)
	}
	for _, obj := range o.objects {
		left := slices.DeleteFunc(m.objects[obj], func(i uint64) bool { return i == o.index })
		if len(left) == 0 {
			delete(m.objects, obj)
		} else {
			m.objects[obj] = left
		}
	}
}

// Release takes what is known to be released by now.
func (m *Mount) Release(seen lease.Seen) {
	m.released = seen
	if seen.Prefix >= m.barrier {
		m.barrier = 0
	}
	for _, i := range slices.Clone(m.order) {
		if o := m.ops[i]; o != nil {
			m.forget(o)
		}
	}
}

// Taken returns what the kernel has taken in.
func (m *Mount) Taken() lease.Seen { return m.taken }

// Applied returns the index of the last change seen.
func (m *Mount) Applied() uint64 { return m.applied }

// Floor returns the lowest index a Decision may still ask for.
func (m *Mount) Floor() uint64 {
	for _, i := range m.order {
		if !m.ops[i].taken {
			return min(i-1, m.applied)
		}
	}
	return m.applied
}

// Read decides about one object. An answer about bytes from before a change makes the kernel forget
// them once more, if it was told to forget them already.
func (m *Mount) Read(obj Object) Decision {
	if m.released.Prefix < m.barrier {
		return Decision{Wait: true}
	}
	for _, i := range m.objects[obj] {
		o := m.ops[i]
		if !o.taken {
			if obj.kind == content {
				m.again(o, obj.ino)
			}
			return Decision{At: i - 1}
		}
		if o.early || !m.released.Has(i) {
			return Decision{Wait: true}
		}
	}
	d := Decision{At: m.applied, Cache: true}
	if !m.epochOK && (obj.kind == entry || obj.kind == list) {
		if at := m.dirs[obj.ino]; at != nil && at.pending > 0 {
			d.Cache = false // or the validity that is being waited out would never end
		}
	}
	return d
}

// again sees to it that pages of ino are forgotten after this moment, for o.
func (m *Mount) again(o *op, ino meta.Ino) {
	for _, n := range m.waiting {
		if n.op == o && n.Kind == InvalBytes && n.Ino == ino {
			n.again = n.begun
			return
		}
	}
	if slices.Contains(o.bytes, ino) { // they were, and the op waits for an earlier one
		m.notify(o, Notify{Kind: InvalBytes, Ino: ino})
	}
}

// Clean reports whether nothing about obj is pending or unreleased.
func (m *Mount) Clean(obj Object) bool { return len(m.objects[obj]) == 0 }

// Named says that a name of dir was answered with a validity that ends at until.
func (m *Mount) Named(dir meta.Ino, until time.Duration) {
	if m.epochOK {
		return
	}
	d := m.dirOf(dir)
	d.until = max(d.until, until)
}

func (m *Mount) dirOf(ino meta.Ino) *dir {
	d := m.dirs[ino]
	if d == nil {
		d = &dir{}
		m.dirs[ino] = d
	}
	return d
}

// prune forgets directories about which there is nothing to know. Where validity has to be waited out they stay, bounded
// by sweep.
func (m *Mount) prune(ino meta.Ino) {
	if d := m.dirs[ino]; d != nil && d.held == 0 && d.pending == 0 && d.until == 0 {
		delete(m.dirs, ino)
	}
}

// Sweep forgets validities that ended before now.
func (m *Mount) Sweep(now time.Duration) {
	for ino, d := range m.dirs {
		if d.until != 0 && now > d.until+DeliverySlack {
			d.until = 0
			m.prune(ino)
		}
	}
}

// addSeen returns s with index.
func addSeen(s lease.Seen, index uint64) lease.Seen {
	if s.Has(index) {
		return s
	}
	at, _ := slices.BinarySearch(s.Except, index)
	return lease.NewSeen(s.Prefix, slices.Insert(slices.Clone(s.Except), at, index))
}
