package coherence

import (
	"testing"
	"time"

	"dfs/cluster/lease"
	"dfs/fs/meta"
)

const (
	me    = 1
	other = 2
	dirD  = meta.Ino(10)
	fileF = meta.Ino(11)
	dirE  = meta.Ino(12)
)

func create(index, session uint64, name string) meta.Change {
	return meta.Change{Index: index, Session: session, Attrs: []meta.Ino{dirD}, Names: []meta.Name{{Dir: dirD, Name: name}}}
}

// leased returns a mount that has its lease.
func leased(session, applied uint64, epochOK bool) *Mount {
	m := NewMount(session, applied, epochOK)
	m.Leased()
	return m
}

// finish carries out every notify that m wants sent, except name notifies in directories of stuck.
func finish(m *Mount, stuck ...meta.Ino) (held []Notify) {
	for {
		ns := m.Notifies()
		if len(ns) == 0 {
			return held
		}
		for _, n := range ns {
			m.Begun(n.ID)
			if n.Kind == InvalEntry && len(stuck) > 0 && n.Ino == stuck[0] {
				held = append(held, n)
				continue
			}
			m.Done(n.ID)
		}
	}
}

func TestAnAnswerFollowsTheThreeMoments(t *testing.T) {
	m := leased(me, 4, true)
	m.Release(lease.NewSeen(4, nil))
	obj := Entry(dirD, "a")
	if d := m.Read(obj); d != (Decision{At: 4, Cache: true}) {
		t.Fatalf("quiet: %+v", d)
	}
	m.Apply(create(5, other, "a"))
	if d := m.Read(obj); d != (Decision{At: 4}) {
		t.Fatalf("applied, not taken in: %+v, want the old state, not to be kept", d)
	}
	finish(m)
	if d := m.Read(obj); d != (Decision{Wait: true}) {
		t.Fatalf("taken in, not released: %+v, want a wait", d)
	}
	if d := m.Read(Entry(dirD, "b")); d != (Decision{At: 5, Cache: true}) {
		t.Fatalf("another name: %+v", d)
	}
	m.Release(lease.NewSeen(5, nil))
	if d := m.Read(obj); d != (Decision{At: 5, Cache: true}) {
		t.Fatalf("released: %+v", d)
	}
}

func TestANameNotifyBehindAHeldDirectoryIsSettledByTheEpoch(t *testing.T) {
	for _, holdFirst := range []bool{true, false} {
		m := leased(me, 0, true)
		if holdFirst {
			m.Hold(dirD)
		}
		m.Apply(create(1, other, "a"))
		stuck := finish(m, dirD)
		if !holdFirst {
			if m.Taken().Has(1) {
				t.Fatal("taken in before its notify was done")
			}
			m.Hold(dirD)
			finish(m, dirD)
		}
		if !m.Taken().Has(1) {
			t.Fatalf("holdFirst=%v: the change waits for the directory", holdFirst)
		}
		for _, n := range stuck {
			m.Done(n.ID)
		}
		m.Free(dirD)
	}
}

func TestWithoutAnEpochTheValidityHandedOutIsWaitedOut(t *testing.T) {
	m := leased(me, 0, false)
	m.Named(dirD, 250*time.Millisecond)
	m.Hold(dirD)
	m.Apply(create(1, other, "a"))
	finish(m, dirD)
	m.Tick(100 * time.Millisecond)
	m.Tick(250 * time.Millisecond)
	if m.Taken().Has(1) {
		t.Fatalf("taken in %v before the validity was over", m.Taken())
	}
	m.Tick(250*time.Millisecond + DeliverySlack + 1)
	if !m.Taken().Has(1) {
		t.Fatal("the validity is over and the change still waits")
	}
}

func TestARenameTakesTheValidityAlong(t *testing.T) {
	m := leased(me, 0, false)
	m.Named(dirD, 250*time.Millisecond)
	m.Hold(dirD, dirE)
	m.Apply(meta.Change{Index: 1, Session: me, Names: []meta.Name{{Dir: dirD, Name: "a"}, {Dir: dirE, Name: "a"}}})
	m.Apply(meta.Change{Index: 2, Session: other, Names: []meta.Name{{Dir: dirE, Name: "a"}}})
	finish(m, dirE)
	m.Tick(0)
	m.Tick(250 * time.Millisecond)
	if m.Taken().Has(2) {
		t.Fatal("taken in while the moved name is valid")
	}
}

func TestANameNotifyThatDoesNotComeBackIsSettledByTheEpoch(t *testing.T) {
	m := leased(me, 0, true)
	m.Apply(create(1, other, "a"))
	finish(m, dirD)
	m.Tick(0)
	m.Tick(DeliverySlack)
	if ns := m.Notifies(); len(ns) > 0 {
		t.Fatalf("%v while a listing's reply may be on its way", ns)
	}
	m.Tick(DeliverySlack + 1)
	finish(m, dirD)
	if !m.Taken().Has(1) {
		t.Fatal("the change waits for a lock that nobody may ever release")
	}
}

func TestChangesOfOneObjectAreTakenInInOrder(t *testing.T) {
	m := leased(me, 0, true)
	m.Apply(create(1, other, "a"))
	first := m.Notifies()
	m.Apply(create(2, other, "b"))
	finish(m)
	if m.Taken().Has(2) {
		t.Fatal("the second change of a directory overtook the first")
	}
	m.Apply(meta.Change{Index: 3, Session: other, Attrs: []meta.Ino{fileF}})
	finish(m)
	if got := m.Taken(); !got.Has(3) || got.Prefix != 0 {
		t.Fatalf("taken %+v: a change elsewhere must not wait", got)
	}
	for _, n := range first {
		m.Done(n.ID)
	}
	if m.Taken().Prefix != 3 {
		t.Fatalf("taken %+v", m.Taken())
	}
}

func TestOldBytesReadDuringAnInvalidationAreForgottenAgain(t *testing.T) {
	m := leased(me, 0, true)
	m.Apply(meta.Change{Index: 1, Session: other, Data: []meta.Data{{Ino: fileF}}, Attrs: []meta.Ino{fileF}})
	n := m.Notifies()[0]
	m.Begun(n.ID)
	if d := m.Read(Bytes(fileF)); d.At != 0 || d.Wait {
		t.Fatalf("%+v", d)
	}
	m.Done(n.ID)
	if m.Taken().Has(1) {
		t.Fatal("taken in although old bytes were read meanwhile")
	}
	finish(m)
	if !m.Taken().Has(1) {
		t.Fatal("never taken in")
	}
}

func TestOldBytesReadAfterTheirInvalidationAreForgottenAgain(t *testing.T) {
	m := leased(me, 0, true)
	m.Apply(create(1, other, "a"))
	held := m.Notifies()
	m.Apply(meta.Change{Index: 2, Session: other, Data: []meta.Data{{Ino: fileF}}, Attrs: []meta.Ino{fileF, dirD}})
	finish(m)
	if d := m.Read(Bytes(fileF)); d.At != 1 || d.Wait {
		t.Fatalf("%+v", d)
	}
	for _, n := range held {
		m.Done(n.ID)
	}
	if m.Taken().Has(2) {
		t.Fatal("taken in although old bytes were read after their invalidation")
	}
	finish(m)
	if !m.Taken().Has(2) {
		t.Fatal("never taken in")
	}
}

func TestOwnChangesLeaveTheirOwnNamesAndPagesAlone(t *testing.T) {
	m := leased(me, 0, true)
	m.Hold(dirD)
	m.Apply(create(1, me, "a"))
	m.Apply(meta.Change{Index: 2, Session: me, Data: []meta.Data{{Ino: fileF}}, Attrs: []meta.Ino{fileF}})
	for _, n := range m.Notifies() {
		if n.Kind != InvalAttr {
			t.Fatalf("%+v for a change of our own", n)
		}
	}
}

func TestAfterAResetNothingIsAnsweredBeforeItIsReleased(t *testing.T) {
	m := leased(me, 0, true)
	m.Reset(9)
	if d := m.Read(Attr(fileF)); !d.Wait {
		t.Fatalf("%+v", d)
	}
	m.Release(lease.NewSeen(9, nil))
	if d := m.Read(Attr(fileF)); d.Wait || d.At != 9 {
		t.Fatalf("%+v", d)
	}
}

func TestFloorKeepsWhatMayStillBeRead(t *testing.T) {
	m := leased(me, 3, true)
	m.Apply(create(4, other, "a"))
	m.Apply(create(5, other, "b"))
	if f := m.Floor(); f != 3 {
		t.Fatalf("floor %d", f)
	}
	finish(m)
	if f := m.Floor(); f != 5 {
		t.Fatalf("floor %d after all is taken in", f)
	}
}

func TestWithoutALeaseNoRequestIsWaitedFor(t *testing.T) {
	m := NewMount(me, 0, true)
	m.Apply(create(1, other, "a"))
	if ns := m.Notifies(); len(ns) > 0 || !m.Taken().Has(1) {
		t.Fatalf("%v to be sent before there is a lease; taken in %v", ns, m.Taken())
	}
	m.Leased()
	m.Apply(create(2, other, "b"))
	m.Dropped()
	m.Apply(create(3, other, "c"))
	if ns := m.Notifies(); len(ns) > 0 || m.Taken().Prefix != 3 {
		t.Fatalf("%v to be sent after the caches were dropped; taken in %v", ns, m.Taken())
	}
}

// What was prepared is taken in like a change, and nothing is answered about it until it is known what came of it.
func TestWhatIsPreparedIsTakenInEarly(t *testing.T) {
	m := leased(me, 4, true)
	m.Release(lease.NewSeen(4, nil))
	obj := Entry(dirD, "a")
	m.Prepare(create(5, other, "a"))
	if d := m.Read(obj); d != (Decision{At: 4}) || m.Early() {
		t.Fatalf("prepared, not taken in: %+v, want the old state, not to be kept", d)
	}
	finish(m)
	if !m.Early() || m.Taken().Prefix != 4 || m.Applied() != 4 {
		t.Fatalf("taken in early: %v, %+v, applied %d", m.Early(), m.Taken(), m.Applied())
	}
	if d := m.Read(obj); !d.Wait {
		t.Fatalf("taken in, and not known whether it is so: %+v", d)
	}
	if d := m.Read(Attr(fileF)); d != (Decision{At: 4, Cache: true}) {
		t.Fatalf("another object: %+v", d)
	}
	m.Release(lease.NewSeen(5, nil)) // the leader knows before this mount does
	if d := m.Read(obj); !d.Wait {
		t.Fatalf("released, not applied: %+v", d)
	}
	m.Apply(create(5, other, "a"))
	if d := m.Read(obj); d != (Decision{At: 5, Cache: true}) || m.Taken().Prefix != 5 || m.Early() || len(m.Notifies()) > 0 {
		t.Fatalf("applied: %+v, taken %+v", d, m.Taken())
	}
	if !m.Clean(obj) || len(m.ops) > 0 {
		t.Fatal("something is left")
	}
}

func TestWhatWasPreparedInVainLeavesNothing(t *testing.T) {
	m := leased(me, 4, true)
	m.Release(lease.NewSeen(4, nil))
	m.Prepare(meta.Change{Index: 5, Session: other, Attrs: []meta.Ino{fileF}, Names: []meta.Name{{Dir: dirD, Name: "a"}}}, meta.Change{Index: 5, Refused: true})
	late := finish(m, dirD)
	m.Unprepare()
	for _, n := range late {
		m.Done(n.ID)
	}
	for _, obj := range []Object{Entry(dirD, "a"), Attr(fileF), List(dirD)} {
		if d := m.Read(obj); d != (Decision{At: 4, Cache: true}) || !m.Clean(obj) {
			t.Fatalf("%v: %+v", obj, d)
		}
	}
	if len(m.ops)+len(m.order)+len(m.refused)+len(m.dirs) > 0 {
		t.Fatalf("left: %+v", m)
	}
	m.Prepare(create(9, other, "c"))
	if m.prepared != nil {
		t.Fatal("prepared before its turn")
	}
	m.Apply(create(5, other, "b"))
	finish(m)
	if m.Taken().Prefix != 5 {
		t.Fatalf("taken %+v", m.Taken())
	}
}

// One who prepared one entry and is given another in its place forgets the first.
func TestAnotherEntryInThePlaceOfThePrepared(t *testing.T) {
	m := leased(me, 4, true)
	m.Release(lease.NewSeen(4, nil))
	m.Prepare(create(5, other, "a"))
	finish(m)
	m.Unprepare()
	m.Prepare(create(5, me, "b"))
	if m.Early() {
		t.Fatal("taken in by the word of another")
	}
	finish(m)
	m.Apply(create(5, me, "b"))
	m.Release(lease.NewSeen(5, nil))
	if d := m.Read(Entry(dirD, "a")); d != (Decision{At: 5, Cache: true}) {
		t.Fatalf("%+v", d)
	}
}
