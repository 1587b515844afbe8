package lock

import (
	"errors"
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
)

var seed = flag.Uint64("lock.seed", 0, "seed of the random histories; 0 takes the clock")

const (
	size   = 24 // bytes of the model's file; the last one stands for all that follow
	owners = 5
)

// model is what a table must be equal to, told byte by byte: what each owner holds of each byte, and who waits.
type model struct {
	bytes [2][owners][size]byte // by kind; 0, 'r' or 'w'
	waits []Wait
}

func kindOf(whole bool) int {
	if whole {
		return 1
	}
	return 0
}

func modeOf(l Lock) byte {
	if l.Write {
		return 'w'
	}
	return 'r'
}

func (m *model) free(l Lock) bool {
	for o := range owners {
		for i := l.From; i < min(l.End, size); i++ {
			if b := m.bytes[kindOf(l.Whole)][o][i]; o != int(l.Owner.ID) && b != 0 && (b == 'w' || l.Write) {
				return false
			}
		}
	}
	return true
}

func (m *model) set(l Lock, mode byte) {
	for i := l.From; i < min(l.End, size); i++ {
		m.bytes[kindOf(l.Whole)][l.Owner.ID][i] = mode
	}
}

func (m *model) holds(l Lock) bool {
	return m.bytes[kindOf(l.Whole)][l.Owner.ID] != [size]byte{}
}

// wake grants who may be, first come first served, and starts over after each.
func (m *model) wake() (ids []uint64) {
next:
	for i, w := range m.waits {
		if !m.free(w.Lock) {
			continue
		}
		if w.Polite && !m.holds(w.Lock) && slices.ContainsFunc(m.waits[:i], func(a Wait) bool { return a.Against(w.Lock) }) {
			continue
		}
		m.set(w.Lock, modeOf(w.Lock))
		m.waits = slices.Delete(m.waits, i, i+1)
		ids = append(ids, w.ID)
		goto next
	}
	return ids
}

// runs returns what the model holds as a table does.
func (m *model) runs() (all []Lock) {
	for k := range 2 {
		for o := range owners {
			for i := 0; i < size; {
				j := i + 1
				for j < size && m.bytes[k][o][j] == m.bytes[k][o][i] {
					j++
				}
				if b := m.bytes[k][o][i]; b != 0 {
					l := Lock{Owner: Owner{1, uint64(o)}, Whole: k == 1, Write: b == 'w', From: uint64(i), End: uint64(j)}
					if j == size {
						l.End = EndOfAll
					}
					all = append(all, l)
				}
				i = j
			}
		}
	}
	slices.SortFunc(all, Lock.compare)
	return all
}

func randomLock(r *rand.Rand) Lock {
	l := Lock{Owner: Owner{1, r.Uint64N(owners)}, Whole: r.IntN(4) == 0, Write: r.IntN(2) == 0, From: r.Uint64N(size - 1)}
	if l.End = l.From + 1 + r.Uint64N(size-1-l.From); r.IntN(4) == 0 {
		l.End = EndOfAll
	}
	if l.Whole {
		l.From, l.End = 0, EndOfAll
	}
	return l
}

func idsOf(ws []Wait) (ids []uint64) {
	for _, w := range ws {
		ids = append(ids, w.ID)
	}
	slices.Sort(ids)
	return ids
}

// Random histories of requests make the same table as a map of bytes does, and the same waiters are woken.
func TestAgainstByteMap(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-lock.seed %d", *seed)
	r := rand.New(rand.NewPCG(*seed, 1))
	for range 100 {
		var tab Table
		m := &model{}
		for n := range uint64(150) {
			l := randomLock(r)
			var woken []Wait
			var want []uint64
			switch r.IntN(6) {
			case 0, 1: // at once
				ok := m.free(l)
				if ok {
					m.set(l, modeOf(l))
					want = m.wake()
				}
				var got bool
				if got, woken = tab.Take(l); got != ok {
					t.Fatalf("take %+v: %v", l, got)
				}
			case 2: // waiting
				w := Wait{Lock: l, ID: n, Polite: !m.holds(l)}
				if l.Whole {
					m.set(l, 0)
				}
				m.waits = append(m.waits, w)
				want = m.wake()
				var ok bool
				ok, woken = tab.Ask(w)
				if ok != slices.Contains(want, n) {
					t.Fatalf("ask %+v: %v", w, ok)
				}
				want = slices.DeleteFunc(want, func(id uint64) bool { return id == n })
			case 3:
				id := r.Uint64N(n + 1)
				was := slices.ContainsFunc(m.waits, func(w Wait) bool { return w.ID == id })
				m.waits = slices.DeleteFunc(m.waits, func(w Wait) bool { return w.ID == id })
				want = m.wake()
				var waited bool
				if waited, woken = tab.Cancel(1, id); waited != was {
					t.Fatalf("cancel %d: %v", id, waited)
				}
			default:
				m.set(l, 0)
				want = m.wake()
				woken = tab.Release(l.Owner, l.Whole, l.From, l.End)
			}
			slices.Sort(want)
			if got := idsOf(woken); !slices.Equal(got, want) {
				t.Fatalf("woken %v, want %v", got, want)
			}
			if want := m.runs(); !slices.Equal(tab.Held, want) {
				t.Fatalf("held\n%v, want\n%v", tab.Held, want)
			}
			if !slices.EqualFunc(tab.Waits, m.waits, func(a, b Wait) bool { return a == b }) {
				t.Fatalf("waits\n%v, want\n%v", tab.Waits, m.waits)
			}
			again, err := Decode(tab.Append(nil))
			if err != nil || !slices.Equal(again.Held, tab.Held) || !slices.Equal(again.Waits, tab.Waits) {
				t.Fatalf("decoded %+v, %v", again, err)
			}
		}
	}
}

// write is owner id's exclusive range lock.
func write(id, from, end uint64) Lock {
	return Lock{Owner: Owner{1, id}, Write: true, From: from, End: end}
}

func shared(id, from, end uint64) Lock {
	l := write(id, from, end)
	l.Write = false
	return l
}

// A writer that waits is not starved by readers that come later, as long as these wait for their locks too.
func TestWritersDoNotStarve(t *testing.T) {
	var tab Table
	tab.Take(shared(1, 0, 10))
	if ok, _ := tab.Ask(Wait{Lock: write(2, 0, 10), ID: 2, Polite: true}); ok {
		t.Fatal("granted beside a reader")
	}
	if ok, _ := tab.Ask(Wait{Lock: shared(3, 5, 6), ID: 3, Polite: true}); ok {
		t.Fatal("a reader went ahead of the writer")
	}
	if ok, _ := tab.Ask(Wait{Lock: shared(4, 20, 30), ID: 4, Polite: true}); !ok {
		t.Fatal("other bytes have nothing to do with it")
	}
	if got := idsOf(tab.Release(Owner{1, 1}, false, 0, EndOfAll)); !slices.Equal(got, []uint64{2}) {
		t.Fatalf("woken %v", got)
	}
	if got := idsOf(tab.Release(Owner{1, 2}, false, 0, EndOfAll)); !slices.Equal(got, []uint64{3}) {
		t.Fatalf("woken %v", got)
	}
}

// An owner that holds a lock does not step back behind one who waits for it.
func TestHoldersDoNotStepBack(t *testing.T) {
	var tab Table
	tab.Take(shared(1, 0, 10))
	tab.Ask(Wait{Lock: write(2, 0, 20), ID: 2, Polite: true})
	if ok, _ := tab.Ask(Wait{Lock: write(1, 10, 20), ID: 3}); !ok {
		t.Fatal("it waits for who waits for it")
	}
}

// A converted flock is given up first, and comes back after those who waited for it.
func TestConversion(t *testing.T) {
	whole := func(id uint64, write bool) Lock {
		return Lock{Owner: Owner{1, id}, Whole: true, Write: write, End: EndOfAll}
	}
	var tab Table
	tab.Take(whole(1, false))
	tab.Take(whole(2, false))
	tab.Ask(Wait{Lock: whole(3, true), ID: 3, Polite: true})
	if ok, _ := tab.Ask(Wait{Lock: whole(1, true), ID: 4}); ok {
		t.Fatal("exclusive beside 2")
	}
	if got := idsOf(tab.Release(Owner{1, 2}, true, 0, EndOfAll)); !slices.Equal(got, []uint64{3}) {
		t.Fatalf("woken %v", got)
	}
	if got := idsOf(tab.Release(Owner{1, 3}, true, 0, EndOfAll)); !slices.Equal(got, []uint64{4}) {
		t.Fatalf("woken %v", got)
	}
}

// A session's end frees all of it.
func TestDrop(t *testing.T) {
	var tab Table
	a, b := write(1, 0, 10), write(1, 0, 10)
	b.Owner.Session = 2
	tab.Take(a)
	tab.Ask(Wait{Lock: b, ID: 7, Polite: true})
	if got := tab.Drop(1); len(got) != 1 || got[0].ID != 7 || !slices.Equal(tab.Held, []Lock{b}) {
		t.Fatalf("%v, then %+v", got, tab)
	}
	if tab.Drop(2); !tab.Empty() {
		t.Fatalf("%+v", tab)
	}
}

func TestTablesThatMakeNoSense(t *testing.T) {
	bad := []Table{
		{Held: []Lock{write(1, 5, 5)}},
		{Held: []Lock{write(1, 0, 5), write(1, 4, 6)}},
		{Held: []Lock{write(1, 0, 5), write(1, 5, 6)}},
		{Held: []Lock{write(1, 7, 8), write(1, 5, 6)}},
		{Held: []Lock{{Whole: true, From: 1, End: EndOfAll}}},
		{Held: []Lock{write(1, 0, EndOfAll+1)}},
		{Waits: []Wait{{Lock: write(1, 9, 3)}}},
	}
	for _, tab := range bad {
		if got, err := Decode(tab.Append(nil)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v decoded to %+v, %v", tab, got, err)
		}
	}
}

// What decodes encodes to the same table, and is one that keeps its order whatever is done to it.
func FuzzDecode(f *testing.F) {
	var tab Table
	tab.Take(write(1, 3, 9))
	tab.Take(shared(2, 11, EndOfAll))
	tab.Ask(Wait{Lock: write(3, 0, 100), ID: 9, Polite: true})
	f.Add(tab.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(tab.Append(nil))
		if err != nil || !reflect.DeepEqual(again, tab) {
			t.Fatalf("%+v became %+v, %v", tab, again, err)
		}
		tab.Take(shared(1, 2, 50))
		tab.Release(Owner{1, 1}, false, 10, 20)
		tab.Drop(2)
		if err := tab.check(); err != nil {
			t.Fatal(err)
		}
	})
}
