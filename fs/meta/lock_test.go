package meta

import (
	"errors"
	"slices"
	"testing"

	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/lock"
)

// party is one session that proposes.
type party struct {
	*drive
	session, seq uint64
}

// join opens a session of a peer's.
func (d *drive) join(session uint64, peer int) *party {
	p := &party{drive: d, session: session}
	p.say(state.Encode(state.OpenSession{Peer: d.peers[peer], Incarnation: session}))
	return p
}

func (p *party) say(body []byte) []byte {
	p.t.Helper()
	p.seq++
	return p.entry(raft.Proposal{Session: p.session, Seq: p.seq, Low: p.seq, Body: body})[0]
}

func (p *party) op(op Op) (Result, error) {
	p.t.Helper()
	return ResultOf(p.say(Encode(op)))
}

// lock asks for bytes [from, end) exclusively, as request from+1 of owner; queued says that it waits.
func (p *party) lock(ino Ino, owner, from, end uint64, wait bool) (queued bool, err error) {
	p.t.Helper()
	l := lock.Lock{Owner: lock.Owner{Session: 4711, ID: owner}, Write: true, From: from, End: end}
	r, err := p.op(Lock{Ino: ino, Lock: l, Wait: wait, ID: from + 1})
	return r.More, err
}

func (p *party) must(want bool) func(bool, error) {
	return func(got bool, err error) {
		p.t.Helper()
		if err != nil || got != want {
			p.t.Fatal(got, err)
		}
	}
}

func (p *party) unlock(ino Ino, owner, from, end uint64) {
	p.t.Helper()
	if _, err := p.op(Unlock{Ino: ino, Owner: owner, From: from, End: end}); err != nil {
		p.t.Fatal(err)
	}
}

func (d *drive) locks(ino Ino) lock.Table {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	t, err := v.Locks(ino)
	if err != nil {
		d.t.Fatal(err)
	}
	return t
}

// lockless fails unless nothing at all about locks is kept.
func (d *drive) lockless() {
	d.t.Helper()
	for k := range d.dump() {
		if k[1] == 'k' || k[1] == 'l' {
			d.t.Fatalf("%x is left", k)
		}
	}
}

func TestLocksAcrossSessions(t *testing.T) {
	d := newDrive(t, 3)
	f := d.file("f")
	a, b := d.join(10, 1), d.join(20, 2)
	a.must(false)(a.lock(f, 1, 0, 10, false))
	if c := d.last(); !slices.Equal(c.Locked, []Ino{f}) || len(c.Attrs) > 0 {
		t.Fatalf("%+v", c)
	}
	if _, err := b.lock(f, 1, 5, 6, false); !errors.Is(err, fault.Locked) { // the same owner's number, another session
		t.Fatal(err)
	}
	b.must(true)(b.lock(f, 1, 5, 6, true))
	a.unlock(f, 1, 0, 5)
	if tab := d.locks(f); len(tab.Held) != 1 || tab.Held[0].Owner != (lock.Owner{Session: 10, ID: 1}) || len(tab.Waits) != 1 {
		t.Fatalf("%+v", tab)
	}
	a.unlock(f, 1, 5, 10)
	if c := d.last(); !slices.Equal(c.Woken, []Woken{{20, 6}}) {
		t.Fatalf("%+v", c)
	}
	b.unlock(f, 1, 0, lock.EndOfAll)
	d.lockless()
	if _, err := a.lock(999, 1, 0, 1, false); !errors.Is(err, fault.Stale) {
		t.Fatal(err)
	}
	if _, err := a.lock(f, 1, 3, 3, false); !errors.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
}

func TestCancelledLocks(t *testing.T) {
	d := newDrive(t, 2)
	f := d.file("f")
	a := d.join(10, 1)
	a.must(false)(a.lock(f, 1, 0, 10, false))
	a.must(true)(a.lock(f, 2, 5, 6, true))
	for _, still := range []bool{true, false} {
		if r, err := a.op(Unlock{Ino: f, Owner: 2, Cancel: 6}); err != nil || r.More != still {
			t.Fatal(r, err)
		}
	}
	a.unlock(f, 1, 0, lock.EndOfAll)
	d.lockless()
}

// Who would wait for himself in the end is told at once, across files and sessions.
func TestDeadlocks(t *testing.T) {
	d := newDrive(t, 3)
	f, g, h := d.file("f"), d.file("g"), d.file("h")
	a, b := d.join(10, 1), d.join(20, 2)
	a.must(false)(a.lock(f, 1, 0, 10, false))
	b.must(false)(b.lock(g, 1, 0, 10, false))
	a.must(false)(a.lock(h, 3, 0, 10, false))
	a.must(true)(a.lock(g, 1, 5, 6, true))                                   // a.1 waits for b.1
	b.must(true)(b.lock(h, 1, 5, 6, true))                                   // b.1 waits for a.3
	if _, err := a.lock(f, 3, 2, 3, true); !errors.Is(err, fault.Deadlock) { // a.3 would wait for a.1
		t.Fatal(err)
	}
	if tab := d.locks(f); len(tab.Waits) != 0 {
		t.Fatalf("%+v", tab)
	}
	a.must(true)(a.lock(f, 4, 2, 3, true)) // a.4 holds nothing: no circle
	whole := Lock{Ino: f, Lock: lock.Lock{Owner: lock.Owner{ID: 5}, Whole: true, Write: true, End: lock.EndOfAll}, Wait: true, ID: 9}
	a.must(false)(func() (bool, error) { r, err := a.op(whole); return r.More, err }())
}

// The end of a session frees what it held, to those who wait, in as many ops as that takes.
func TestLocksEndWithTheirSession(t *testing.T) {
	d := newDrive(t, 3)
	a, b := d.join(10, 1), d.join(20, 2)
	var files []Ino
	for i := range 3 {
		f := d.file(string(rune('a' + i)))
		files = append(files, f)
		a.must(false)(a.lock(f, 1, 0, 10, false))
		a.must(true)(a.lock(f, 2, 0, 10, true))
		b.must(true)(b.lock(f, 1, 0, 1, true))
	}
	again := d.join(11, 1) // a's next incarnation
	if c := d.last(); !slices.Equal(c.Woken, []Woken{{20, 1}, {20, 1}, {20, 1}}) {
		t.Fatalf("%+v", c)
	}
	v := d.view()
	who, err := v.Lockers()
	inos, err2 := v.Locked(0, 10)
	v.Close()
	if err := errors.Join(err, err2); err != nil || !slices.Equal(who, []uint64{20}) || !slices.Equal(inos, files) {
		t.Fatal(who, inos, err)
	}
	if r, err := again.op(EndLocks{Session: 20}); err != nil || r.More {
		t.Fatal(r, err)
	}
	d.lockless()
}

func TestManyLocksOfASessionEndInSteps(t *testing.T) {
	d := newDrive(t, 2)
	a := d.join(10, 1)
	for i := range 2000 {
		a.must(false)(a.lock(d.file(string(rune('a'+i%26))+string(rune('a'+i/26))), 1, 0, 1, false))
	}
	again := d.join(11, 1)
	steps := 0
	for more := true; more; steps++ {
		r, err := again.op(EndLocks{Session: 10})
		if more = r.More; err != nil {
			t.Fatal(err)
		}
	}
	if steps < 2 {
		t.Errorf("%d steps: this shows little", steps)
	}
	d.lockless()
}

func TestLocksAreBounded(t *testing.T) {
	d := newDrive(t, 2)
	f := d.file("f")
	a := d.join(10, 1)
	for i := range uint64(LocksOfFile) {
		a.must(false)(a.lock(f, 1, 3*i, 3*i+2, false))
	}
	before := d.dump()
	if _, err := a.lock(f, 1, 9000, 9001, false); !errors.Is(err, fault.TooManyLocks) {
		t.Fatal(err)
	}
	if _, err := a.op(Unlock{Ino: f, Owner: 1, From: 0, End: 1}); err != nil {
		t.Fatal(err)
	}
	a.must(false)(a.lock(f, 1, 0, 1, false))
	if after := d.dump(); len(after) != len(before) {
		t.Fatal("a refused lock left something")
	}
	a.unlock(f, 1, 0, lock.EndOfAll)
	d.lockless()
}

// A file that is reaped takes its locks with it.
func TestLocksOfWhatIsGone(t *testing.T) {
	d := newDrive(t, 2)
	f := d.file("f")
	a := d.join(10, 1)
	a.must(false)(a.lock(f, 1, 0, 10, false))
	d.do(Unlink{Dir: Root, Name: "f"})
	a.must(false)(a.lock(f, 1, 10, 20, false)) // it is open still
	d.do(Reap{Inos: []Ino{f}})
	d.lockless()
	a.unlock(f, 1, 0, lock.EndOfAll)
	d.lockless()
}
