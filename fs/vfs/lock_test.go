package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore/kv/mem"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/fs/fstest"
	"dfs/fs/lock"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// mates are two mounts of one drive, with a session each.
type mates struct {
	a, b   *vfs.FS
	am, bm *meta.Local
	blocks *fstest.Blocks
	ops    atomic.Int32 // locks and unlocks that b asked for
	deaf   atomic.Bool  // nobody is told of what is applied
	refuse func() error // of b's store: its ops happen, and this is what is heard of them
}

const mateSession = 77

func newMates(t *testing.T) *mates {
	t.Helper()
	am, err := meta.NewLocal(mem.New(), meta.LocalOptions{Peers: 3})
	must(t, err)
	m := &mates{am: am}
	am.Machine().Follow(m)
	m.bm, err = am.Join(mateSession, 1)
	must(t, err)
	blocks := fstest.NewBlocks()
	blocks.Peer = am.Peers()[0]
	m.blocks = blocks
	recall := func(fs **vfs.FS) func(context.Context, uint64, meta.Ino) error {
		return func(ctx context.Context, _ uint64, ino meta.Ino) error { return (*fs).Recall(ctx, ino) }
	}
	m.a = vfs.New(am, blocks, vfs.Alone{Store: am}, vfs.Options{Session: am.Session(), Recall: recall(&m.b)})
	m.b = vfs.New(mate{m.bm, m}, blocks, vfs.Alone{Store: m.bm}, vfs.Options{Session: mateSession, Recall: recall(&m.a)})
	return m
}

// mate is b's store.
type mate struct {
	*meta.Local
	m *mates
}

func (s mate) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	switch op.(type) {
	case meta.Lock, meta.Unlock:
		s.m.ops.Add(1)
	}
	r, err := s.Local.Apply(ctx, op)
	if f := s.m.refuse; f != nil && err == nil {
		err = f()
	}
	return r, err
}

// Applied implements state.Follower.
func (m *mates) Applied(a state.Applied) {
	for _, c := range a.Changes {
		if ch, ok := c.What.(*meta.Change); ok && m.b != nil && !m.deaf.Load() {
			m.a.Applied(*ch)
			m.b.Applied(*ch)
		}
	}
}

func (m *mates) Reset(uint64) {
	m.a.Reset()
	m.b.Reset()
}

// shared makes a file that both have open.
func (m *mates) shared(t *testing.T, name string) (ino meta.Ino, a, b vfs.Handle) {
	t.Helper()
	ino, a = create(t, m.a, name)
	must(t, m.a.Flush(bg, a))
	o, err := m.b.Open(bg, ino, update)
	must(t, err)
	return ino, a, o.Handle
}

// queued waits until so many requests for locks of ino wait.
func (m *mates) queued(t *testing.T, ino meta.Ino, n int) {
	t.Helper()
	for len(m.table(t, ino).Waits) != n {
		runtime.Gosched()
	}
}

func (m *mates) table(t *testing.T, ino meta.Ino) lock.Table {
	t.Helper()
	v, err := m.am.At(0)
	must(t, err)
	defer v.Close()
	tab, err := v.Locks(ino)
	must(t, err)
	return tab
}

// excl is an exclusive lock of all bytes for an owner, shar a shared one, flock a flock.
func excl(owner uint64) lock.Lock {
	return lock.Lock{Owner: lock.Owner{ID: owner}, PID: 1000 + uint32(owner), Write: true, End: lock.EndOfAll}
}

func shar(owner uint64) lock.Lock {
	l := excl(owner)
	l.Write = false
	return l
}

func flock(owner uint64) lock.Lock {
	l := excl(owner)
	l.Whole = true
	return l
}

func isKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !errors.Is(err, k) {
		t.Fatalf("%v, want %v", err, k)
	}
}

// What is written under a lock on one mount is there for who gets the lock on another, without a close.
func TestALockBringsWhatTheLastHolderWrote(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(1), true, nil))
	isKind(t, m.b.Lock(bg, b, shar(1), false, nil), fault.Locked)
	got := begin(func() error { return m.b.Lock(bg, b, shar(1), true, nil) })
	m.queued(t, ino, 1)
	put(t, m.a, a, 0, "written under the lock")
	must(t, m.a.Unlock(bg, a, excl(1)))
	must(t, <-got)
	if s := read(t, m.b, b); s != "written under the lock" {
		t.Fatalf("%q", s)
	}
	// The same by an exclusive lock that becomes a shared one.
	must(t, m.b.Lock(bg, b, excl(1), false, nil))
	put(t, m.b, b, 0, "WRITTEN")
	must(t, m.b.Lock(bg, b, shar(1), false, nil))
	must(t, m.a.Lock(bg, a, shar(5), false, nil))
	if s := read(t, m.a, a); s != "WRITTEN under the lock" {
		t.Fatalf("%q", s)
	}
}

// What is this mount's alone is not handed in with an unlock: who looks at it asks first.
func TestUnlockOfWhatIsAloneCostsOneOp(t *testing.T) {
	m := newMates(t)
	ino, h := create(t, m.b, "f")
	must(t, m.b.Lock(bg, h, excl(1), false, nil))
	put(t, m.b, h, 0, "bytes")
	must(t, m.b.Unlock(bg, h, excl(1)))
	if m.b.Dirty() == 0 {
		t.Fatal("flushed")
	}
	if n := m.ops.Load(); n != 2 {
		t.Fatalf("%d ops", n)
	}
	if s := content(t, m.a, ino); s != "bytes" {
		t.Fatalf("%q", s)
	}
}

// An interrupt ends a wait, and only that.
func TestInterruptedWaits(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	stop := make(chan struct{})
	got := begin(func() error { return m.b.Lock(bg, b, excl(1), true, stop) })
	m.queued(t, ino, 1)
	close(stop)
	isKind(t, <-got, fault.Canceled)
	if tab := m.table(t, ino); len(tab.Waits) != 0 {
		t.Fatalf("%+v", tab)
	}
	must(t, m.a.Unlock(bg, a, excl(1)))
	must(t, m.b.Lock(bg, b, excl(1), true, stop)) // it is free: there is nothing to interrupt
}

// A waiter whose interrupt comes after it was granted has the lock.
func TestGrantedBeforeTheInterrupt(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	stop := make(chan struct{})
	got := begin(func() error { return m.b.Lock(bg, b, excl(1), true, stop) })
	m.queued(t, ino, 1)
	must(t, m.a.Unlock(bg, a, excl(1)))
	close(stop)
	must(t, <-got)
	if tab := m.table(t, ino); len(tab.Held) != 1 || tab.Held[0].Owner != (lock.Owner{Session: mateSession, ID: 1}) {
		t.Fatalf("%+v", tab)
	}
}

// A program that is killed while its close hands in what it wrote keeps its lock until that is done.
func TestLocksOutlastTheirProgramsFlush(t *testing.T) {
	m := newMates(t)
	running(t, m.a)
	quiet, other := create(t, m.a, "other")
	for put(t, m.a, other, 0, "x"); m.a.Dirty() > 0; {
		runtime.Gosched() // until Run runs
	}
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	must(t, m.a.Lock(bg, other, excl(1), false, nil))
	put(t, m.a, a, 0, "last words")
	placing, placed := make(chan struct{}), make(chan struct{})
	place := sync.OnceFunc(func() { close(placed) })
	t.Cleanup(place)
	m.blocks.OnWrite = func([]byte) error {
		close(placing)
		<-placed
		return nil
	}
	dying, die := context.WithCancel(bg)
	closed := begin(func() error { return m.a.Closed(dying, a, 1) })
	<-placing
	die()
	isKind(t, <-closed, fault.Canceled)
	isKind(t, m.a.Closed(dying, other, 1), fault.Canceled)
	for !emptyTable(m, t, quiet) {
		runtime.Gosched() // until what is owed was paid
	}
	isKind(t, m.b.Lock(bg, b, excl(1), false, nil), fault.Locked)
	got := begin(func() error { return m.b.Lock(bg, b, excl(1), true, nil) })
	m.queued(t, ino, 1)
	place()
	must(t, <-got)
	if s := read(t, m.b, b); s != "last words" {
		t.Fatalf("%q", s)
	}
}

func TestDeadlockAcrossMounts(t *testing.T) {
	m := newMates(t)
	_, a1, b1 := m.shared(t, "f")
	two, a2, b2 := m.shared(t, "g")
	must(t, m.a.Lock(bg, a1, excl(1), false, nil))
	must(t, m.b.Lock(bg, b2, excl(1), false, nil))
	got := begin(func() error { return m.a.Lock(bg, a2, excl(1), true, nil) })
	m.queued(t, two, 1)
	isKind(t, m.b.Lock(bg, b1, excl(1), true, nil), fault.Deadlock)
	must(t, m.b.Unlock(bg, b2, excl(1)))
	must(t, <-got)
}

// Closing a descriptor ends its owner's range locks on the file, whichever descriptor it is; the end of an open ends what was locked
// through it.
func TestClosesEndLocks(t *testing.T) {
	m := newMates(t)
	ino, a, _ := m.shared(t, "f")
	other, err := m.a.Open(bg, ino, update)
	must(t, err)
	part := excl(2)
	part.From, part.End = 10, 20
	low := excl(1)
	low.End = 10
	must(t, m.a.Lock(bg, a, low, false, nil))
	must(t, m.a.Lock(bg, a, part, false, nil))
	must(t, m.a.Lock(bg, a, flock(3), false, nil))
	must(t, m.a.Closed(bg, other.Handle, 1))
	if tab := m.table(t, ino); len(tab.Held) != 2 || slices.ContainsFunc(tab.Held, func(l lock.Lock) bool { return l.Owner.ID == 1 }) {
		t.Fatalf("%+v", tab)
	}
	m.a.Release(other.Handle)
	if tab := m.table(t, ino); len(tab.Held) != 2 {
		t.Fatalf("%+v", tab)
	}
	m.a.Release(a)
	if tab := m.table(t, ino); !tab.Empty() {
		t.Fatalf("%+v", tab)
	}
}

// Opens that only read need not tell of their closes, until somebody locks ranges. Those that were there before are remembered.
func TestQuietOpens(t *testing.T) {
	m := newMates(t)
	ino, a, _ := m.shared(t, "f")
	open := func(pid uint32) vfs.Opened {
		o, err := m.a.Open(bg, ino, vfs.Mode{Read: true, PID: pid})
		must(t, err)
		return o
	}
	before, others := open(1001), open(4242)
	must(t, m.a.Lock(bg, a, flock(9), false, nil))
	if !before.Quiet || !open(1).Quiet {
		t.Fatal("closes are told though nobody locked a range")
	}
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	if open(1).Quiet {
		t.Fatal("quiet after a range was locked")
	}
	m.a.Release(others.Handle)
	if tab := m.table(t, ino); len(tab.Held) != 2 {
		t.Fatalf("another process's close ended a lock: %+v", tab)
	}
	m.a.Release(before.Handle)
	if tab := m.table(t, ino); len(tab.Held) != 1 || !tab.Held[0].Whole {
		t.Fatalf("%+v", tab)
	}
}

func TestWhoHoldsALock(t *testing.T) {
	m := newMates(t)
	_, a, b := m.shared(t, "f")
	l := shar(4)
	l.From, l.End = 100, 200
	must(t, m.a.Lock(bg, a, l, false, nil))
	ask := func(fs *vfs.FS, h vfs.Handle, q lock.Lock) (lock.Lock, bool) {
		held, locked, err := fs.Locked(bg, h, q)
		must(t, err)
		return held, locked
	}
	if held, locked := ask(m.b, b, excl(4)); !locked || held.From != 100 || held.End != 200 || held.Write || held.PID != 0 {
		t.Fatalf("%+v, %v", held, locked)
	}
	if held, locked := ask(m.a, a, excl(5)); !locked || held.PID != 1004 {
		t.Fatalf("%+v, %v", held, locked)
	}
	for _, q := range []lock.Lock{shar(5), excl(4), flock(5)} {
		if held, locked := ask(m.a, a, q); locked {
			t.Fatalf("%+v is in the way of %+v", held, q)
		}
	}
}

// A mount whose session has ended has lost its locks: what was written under them comes to nothing, and handles say so. Who waits asks anew.
func TestLocksLostWithTheSession(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	two, a2, b2 := m.shared(t, "g")
	must(t, m.b.Lock(bg, b, excl(1), false, nil))
	put(t, m.b, b, 0, "late")
	must(t, m.a.Lock(bg, a2, excl(1), false, nil))
	waiting := begin(func() error { return m.b.Lock(bg, b2, excl(1), true, nil) })
	m.queued(t, two, 1)

	next, err := m.am.Join(mateSession+1, 1) // ends the one before
	must(t, err)
	m.queued(t, two, 0)
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	put(t, m.a, a, 0, "mine")
	must(t, m.a.Unlock(bg, a, excl(1)))
	*m.bm = *next
	m.b.Renew(mateSession + 1)
	isKind(t, m.b.Flush(bg, b), fault.Ended)
	_, err = m.b.Write(bg, b, 0, []byte("later"), false)
	isKind(t, err, fault.Ended)
	_, err = m.b.Read(bg, b, 0, make([]byte, 10))
	isKind(t, err, fault.Ended)
	isKind(t, m.b.Lock(bg, b, excl(1), false, nil), fault.Ended)
	if s := content(t, m.b, ino); s != "mine" {
		t.Fatalf("%q", s)
	}
	m.b.Release(b)

	m.queued(t, two, 1)
	must(t, m.a.Unlock(bg, a2, excl(1)))
	must(t, <-waiting)
	if held := m.table(t, two).Held; len(held) != 1 || held[0].Owner.Session != mateSession+1 {
		t.Fatalf("%+v", held)
	}
}

// A lock about which nobody knows whether it was granted is given up, as soon as that can be done.
func TestUnknownOutcomes(t *testing.T) {
	m := newMates(t)
	ino, _, b := m.shared(t, "f")
	m.refuse = func() error { return fault.Timeout }
	isKind(t, m.b.Lock(bg, b, excl(1), false, nil), fault.Timeout)
	if tab := m.table(t, ino); len(tab.Held) != 1 {
		t.Fatalf("%+v", tab)
	}
	m.refuse = nil
	running(t, m.b)
	for !emptyTable(m, t, ino) {
		runtime.Gosched()
	}
}

func emptyTable(m *mates, t *testing.T, ino meta.Ino) bool {
	tab := m.table(t, ino)
	return tab.Empty()
}

// After a snapshot was installed there was nobody to tell of a grant: who waits looks.
func TestWaitersLookAfterASnapshot(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(1), false, nil))
	got := begin(func() error { return m.b.Lock(bg, b, excl(1), true, nil) })
	m.queued(t, ino, 1)
	m.deaf.Store(true)
	must(t, m.a.Unlock(bg, a, excl(1)))
	m.b.Reset()
	must(t, <-got)
}

// Nobody is passed over: among those who wait for the same bytes, on whichever mount, the first is first.
func TestTheQueueIsFair(t *testing.T) {
	m := newMates(t)
	ino, a, b := m.shared(t, "f")
	must(t, m.a.Lock(bg, a, excl(100), false, nil))
	var order []uint64
	var all []<-chan error
	for i := range uint64(10) {
		fs, h := m.a, a
		if i%2 == 0 {
			fs, h = m.b, b
		}
		all = append(all, begin(func() error { return fs.Lock(bg, h, excl(i), true, nil) }))
		m.queued(t, ino, int(i)+1)
	}
	must(t, m.a.Unlock(bg, a, excl(100)))
	for i := range uint64(10) {
		must(t, <-all[i])
		held := m.table(t, ino).Held
		order = append(order, held[0].Owner.ID)
		fs, h := m.a, a
		if i%2 == 0 {
			fs, h = m.b, b
		}
		must(t, fs.Unlock(bg, h, excl(i)))
	}
	if !slices.IsSorted(order) {
		t.Fatalf("order %v", order)
	}
}

// Programs on two mounts lock, wait, are interrupted and close as they like: no two ever hold what excludes the other, and when all
// have closed their files nothing is left, neither in the metadata nor of what the mounts know.
func TestRandomLocks(t *testing.T) {
	m := newMates(t)
	running(t, m.a)
	running(t, m.b)
	ino, a, b := m.shared(t, "f")
	m.a.Release(a)
	m.b.Release(b)
	const slots = 6
	var writers, readers [slots]atomic.Int32
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	program := func(fs *vfs.FS, id uint64) error {
		r := rand.New(rand.NewPCG(seed, id))
		o, err := fs.Open(bg, ino, update)
		if err != nil {
			return err
		}
		defer fs.Release(o.Handle)
		for range 150 {
			l := lock.Lock{Owner: lock.Owner{ID: id}, Write: r.IntN(2) == 0, From: r.Uint64N(slots)}
			l.End = l.From + 1 + r.Uint64N(slots-l.From)
			stop := make(chan struct{})
			wait := r.IntN(3) > 0
			patience := time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, func() { close(stop) })
			err := fs.Lock(bg, o.Handle, l, wait, stop)
			patience.Stop()
			switch fault.KindOf(err) {
			case fault.Locked, fault.Canceled, fault.Deadlock:
				continue
			}
			if err != nil {
				return err
			}
			for i := l.From; i < l.End; i++ {
				if l.Write && writers[i].Add(1) > 1 || l.Write && readers[i].Load() > 0 || !l.Write && writers[i].Load() > 0 {
					return fmt.Errorf("byte %d is held twice", i)
				} else if !l.Write {
					readers[i].Add(1)
				}
			}
			runtime.Gosched()
			for i := l.From; i < l.End; i++ {
				if l.Write {
					writers[i].Add(-1)
				} else {
					readers[i].Add(-1)
				}
			}
			if r.IntN(4) == 0 {
				err = fs.Closed(bg, o.Handle, id)
			} else {
				err = fs.Unlock(bg, o.Handle, l)
			}
			if err != nil {
				return err
			}
		}
		return fs.Lock(bg, o.Handle, lock.Lock{Owner: lock.Owner{ID: id}, From: 100 + id, End: 101 + id}, false, nil) // for Release to give up
	}
	var all []<-chan error
	for id := range uint64(8) {
		fs := m.a
		if id%2 == 0 {
			fs = m.b
		}
		all = append(all, begin(func() error { return program(fs, id+1) }))
	}
	for _, end := range all {
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
	if tab := m.table(t, ino); !tab.Empty() {
		t.Errorf("%+v", tab)
	}
}
