package banker

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// digits turns "743" into 7, 4, 3.
func digits(s string) []int64 {
	v := make([]int64, len(s))
	for i, d := range s {
		v[i] = int64(d - '0')
	}
	return v
}

func names(prefix string, from, n int) (ids []string) {
	for i := range n {
		ids = append(ids, prefix+string(rune('0'+from+i)))
	}
	return ids
}

// bank makes one of processes with claims and allocations.
func bank(t *testing.T, total []int64, ids []string, claims, held [][]int64) *Bank {
	t.Helper()
	b, err := New(total)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if err := b.Register(id, claims[i], held[i]); err != nil {
			t.Fatal(id, err)
		}
	}
	return b
}

func each(vs ...string) (all [][]int64) {
	for _, v := range vs {
		all = append(all, digits(v))
	}
	return all
}

// osc is the snapshot of Silberschatz, Galvin, Gagne, Operating System Concepts, 10th edition, section 8.6.3.
func osc(t *testing.T) *Bank {
	t.Helper()
	return bank(t, []int64{10, 5, 7}, names("P", 0, 5), each("753", "322", "902", "222", "433"), each("010", "200", "302", "211", "002"))
}

func accepts(t *testing.T, b *Bank, orders ...string) {
	t.Helper()
	for _, o := range orders {
		if err := b.Verify(strings.Split(o, ",")); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	found, safe := b.Safe()
	if !safe {
		t.Fatal("unsafe")
	}
	if err := b.Verify(found); err != nil {
		t.Errorf("its own order %v: %v", found, err)
	}
}

func request(t *testing.T, b *Bank, id, want string, outcome Outcome) {
	t.Helper()
	if got, err := b.Request(id, digits(want)); got != outcome || err != nil {
		t.Errorf("%s requests %s: %v, %v; want %v", id, want, got, err, outcome)
	}
}

func TestG16_Snapshot_OSC_8_6_3(t *testing.T) {
	b := osc(t)
	for i, want := range each("743", "122", "600", "011", "431") {
		if got := b.Processes()[i].Need(); !slices.Equal(got, want) {
			t.Errorf("need of P%d: %v, want %v", i, got, want)
		}
	}
	if !slices.Equal(b.Available(), digits("332")) {
		t.Errorf("available %v", b.Available())
	}
	accepts(t, b, "P1,P3,P4,P2,P0", "P1,P3,P4,P0,P2")
	if b.Verify([]string{"P0", "P1", "P2", "P3", "P4"}) == nil {
		t.Error("P0 cannot be first")
	}
}

func TestG17_Request_OSC_8_6_3(t *testing.T) {
	b := osc(t)
	request(t, b, "P1", "102", Granted)
	if !slices.Equal(b.Available(), digits("230")) {
		t.Errorf("available %v", b.Available())
	}
	accepts(t, b, "P1,P3,P4,P0,P2")
}

func TestG18_WaitingAndUnsafe_OSC_8_6_3(t *testing.T) {
	b := osc(t)
	request(t, b, "P1", "102", Granted)
	request(t, b, "P4", "330", Waits)
	before := b.Clone()
	request(t, b, "P0", "020", Denied)
	if !reflect.DeepEqual(b, before) {
		t.Errorf("the denied request changed the state: %+v, %+v", b, before)
	}
}

func TestG19_TwelveUnits_OSC_8_6_1(t *testing.T) {
	claims, held := [][]int64{{10}, {4}, {9}}, [][]int64{{5}, {2}, {2}}
	b := bank(t, []int64{12}, names("P", 0, 3), claims, held)
	accepts(t, b, "P1,P0,P2")
	request(t, b, "P2", "1", Denied)
	after := bank(t, []int64{12}, names("P", 0, 3), claims, [][]int64{{5}, {2}, {3}})
	if order, safe := after.Safe(); safe {
		t.Errorf("safe by %v", order)
	}
	if err := after.Verify([]string{"P1"}); err == nil || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("only P1 can finish: %v", err)
	}
}

func TestG20_TenUnits_MOS(t *testing.T) { // Tanenbaum, Modern Operating Systems, deadlock chapter
	claims, held := [][]int64{{9}, {4}, {7}}, [][]int64{{3}, {2}, {2}}
	b := bank(t, []int64{10}, []string{"A", "B", "C"}, claims, held)
	accepts(t, b, "B,C,A")
	request(t, b, "A", "1", Denied)
	if _, safe := bank(t, []int64{10}, []string{"A", "B", "C"}, claims, [][]int64{{4}, {2}, {2}}).Safe(); safe {
		t.Error("safe after A got one more")
	}
}

// detection is the snapshot of OSC 8.7.2 with the request of P2.
func detection(p2 string) []Holder {
	held, want := each("010", "200", "303", "211", "002"), each("000", "202", p2, "100", "002")
	var hs []Holder
	for i, id := range names("P", 0, 5) {
		hs = append(hs, Holder{ID: id, Allocated: held[i], Request: want[i]})
	}
	return hs
}

func TestG21_Detection_OSC_8_7_2(t *testing.T) {
	deadlocked, finished := Detect(digits("000"), detection("000"))
	if len(deadlocked) != 0 || len(finished) != 5 {
		t.Errorf("deadlocked %v, finished %v", deadlocked, finished)
	}
	work := digits("000") // the book's order
	for _, i := range []int{0, 2, 3, 1, 4} {
		h := detection("000")[i]
		if !atMost(h.Request, work) {
			t.Errorf("%s wants %v of %v", h.ID, h.Request, work)
		}
		add(work, h.Allocated)
	}
}

func TestG22_Deadlock_OSC_8_7_2(t *testing.T) {
	deadlocked, finished := Detect(digits("000"), detection("001"))
	if !slices.Equal(deadlocked, names("P", 1, 4)) || !slices.Equal(finished, []string{"P0"}) {
		t.Errorf("deadlocked %v, finished %v", deadlocked, finished)
	}
}
