package ipc

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

func TestBlockedSendersAndReceivers(t *testing.T) {
	q, err := NewQueue(1, 8)
	if err != nil {
		t.Fatal(err)
	}
	if _, blocked, _, err := q.Receive("r", 8); !blocked || err != nil {
		t.Fatal(blocked, err)
	}
	wantError(t, q.Notify("n"), nil)
	wantError(t, q.Notify("m"), ErrBusy)
	blocked, wakes, notify, err := q.Send("s1", Message{Body: body("1")})
	if blocked || notify != "" || err != nil || len(wakes) != 1 || wakes[0].Who != "r" || string(wakes[0].Message.Body) != "1" {
		t.Errorf("a blocked receiver takes it without a notification: %v %v %q %v", blocked, wakes, notify, err)
	}
	if _, _, notify, err := q.Send("s2", Message{Body: body("2")}); notify != "n" || err != nil {
		t.Errorf("notify %q, %v", notify, err)
	}
	if blocked, _, _, err := q.Send("s3", Message{Body: body("3"), Priority: 9}); !blocked || err != nil {
		t.Error(blocked, err)
	}
	if blocked, _, _, err := q.Send("s4", Message{Body: body("4")}); !blocked || err != nil {
		t.Error(blocked, err)
	}
	_, _, _, err = q.Send("s4", Message{})
	wantError(t, err, ErrWaiting)
	m, wakes, err := q.TryReceive(8)
	if string(m.Body) != "2" || err != nil || !slices.Equal(names(wakes), []string{"s3"}) {
		t.Errorf("%s %v %v", m.Body, wakes, err)
	}
	if wakes := q.Expire("s4"); len(wakes) != 1 || wakes[0].Err != ErrTimedOut || q.Expire("s4") != nil {
		t.Errorf("%v", wakes)
	}
	if m, _, err := q.TryReceive(8); string(m.Body) != "3" || err != nil || q.Len() != 0 {
		t.Errorf("%s %v", m.Body, err)
	}
}

func TestNamesOfQueues(t *testing.T) {
	n := NewNames()
	for _, bad := range []string{"", "/", "q", "/a/b", "/" + strings.Repeat("x", 255)} {
		_, err := n.Open(bad, true, false, 0, 0)
		wantError(t, err, ErrInvalid)
	}
	_, err := n.Open("/q", false, false, 0, 0)
	wantError(t, err, ErrNoEntry)
	a, err := n.Open("/q", true, true, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Open("/q", true, true, 0, 0)
	wantError(t, err, ErrExist)
	b, err := n.Open("/q", true, false, 0, 0)
	if err != nil || b.Queue != a.Queue {
		t.Fatal("another queue", err)
	}
	if _, _, err := a.TrySend(Message{Body: body("m")}); err != nil {
		t.Fatal(err)
	}
	wantError(t, n.Unlink("/q"), nil)
	wantError(t, n.Unlink("/q"), ErrNoEntry)
	_, err = n.Open("/q", false, false, 0, 0)
	wantError(t, err, ErrNoEntry)
	if m, _, err := b.TryReceive(8); string(m.Body) != "m" || err != nil {
		t.Errorf("the unlinked queue is gone: %s %v", m.Body, err)
	}
	for range 2 { // the second time does nothing
		if left := a.Close(); left != 1 {
			t.Errorf("%d opens are left", left)
		}
	}
	if left := b.Close(); left != 0 {
		t.Errorf("%d opens are left", left)
	}
}

func TestTypedQueueWaits(t *testing.T) {
	q, err := NewTypedQueue(4)
	if err != nil {
		t.Fatal(err)
	}
	if _, blocked, _, err := q.Receive("r2", 2, 9, false, false); !blocked || err != nil {
		t.Fatal(blocked, err)
	}
	if _, wakes, err := q.Send("s", Message{Type: 1, Body: body("abc")}, false); len(wakes) != 0 || err != nil {
		t.Error(wakes, err)
	}
	if blocked, _, err := q.Send("s2", Message{Type: 2, Body: body("de")}, false); !blocked || err != nil {
		t.Error(blocked, err)
	}
	_, _, err = q.Send("s3", Message{Type: 2, Body: body("de")}, true)
	wantError(t, err, ErrAgain)
	_, _, _, err = q.Receive("r1", 1, 2, false, true)
	wantError(t, err, ErrSize)
	m, _, wakes, err := q.Receive("r1", 1, 2, true, true) // truncated; room for s2, whose message r2 waits for
	if string(m.Body) != "ab" || err != nil || !slices.Equal(names(wakes), []string{"s2", "r2"}) || string(wakes[1].Message.Body) != "de" {
		t.Errorf("%s %v %v", m.Body, wakes, err)
	}
	for _, bad := range []Message{{Type: 0}, {Type: -1}, {Type: 1, Body: body("abcde")}} {
		_, _, err := q.Send("s", bad, true)
		wantError(t, err, ErrInvalid)
	}
	if _, blocked, _, _ := q.Receive("r9", 9, 9, false, false); !blocked {
		t.Error("not blocked")
	}
	if wakes := q.Remove(); len(wakes) != 1 || wakes[0].Err != ErrRemoved {
		t.Error(wakes)
	}
	_, _, err = q.Send("s", Message{Type: 1}, true)
	wantError(t, err, ErrRemoved)
}

func TestBroadcast(t *testing.T) {
	top := NewTopic(2)
	wantError(t, top.Subscribe("a"), nil)
	wantError(t, top.Subscribe("b"), nil)
	wantError(t, top.Subscribe("a"), ErrExist)
	if n := top.Publish(Message{Body: body("1")}); n != 2 {
		t.Errorf("%d copies", n)
	}
	wantError(t, top.Subscribe("late"), nil)
	_, _, err := top.Receive("late")
	wantError(t, err, ErrAgain)
	_, _, err = top.Receive("stranger")
	wantError(t, err, ErrNoEntry)
	for _, who := range []string{"a", "b"} {
		if m, _, err := top.Receive(who); string(m.Body) != "1" || err != nil {
			t.Errorf("%s: %s %v", who, m.Body, err)
		}
		_, _, err := top.Receive(who)
		wantError(t, err, ErrAgain)
	}
	top.Unsubscribe("b")
	for range 3 {
		top.Publish(Message{})
	}
	if _, lost, err := top.Receive("a"); lost != 1 || err != nil {
		t.Errorf("lost %d, %v", lost, err)
	}
}

// value = initial + posts - completed waits, and never below 0; nobody waits while there is something to take.
func TestSemaphoreInvariant(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 1))
		initial := r.IntN(4)
		sem, err := NewSemaphore(initial, 6)
		if err != nil {
			t.Fatal(err)
		}
		posts, done := 0, 0
		var order []string
		for i := range 200 {
			who := fmt.Sprint(i)
			switch r.IntN(4) {
			case 0:
				if sem.TryWait() == nil {
					done++
				}
			case 1:
				if blocked, _ := sem.Wait(who); blocked {
					order = append(order, who)
				} else {
					done++
				}
			case 2:
				wakes, err := sem.Post()
				if err != nil {
					break
				}
				posts++
				if len(wakes) > 0 {
					if wakes[0].Who != order[0] {
						t.Fatalf("seed %d: %s before %s", s, wakes[0].Who, order[0])
					}
					order = order[1:]
					done++
				}
			case 3:
				if len(order) > 0 {
					k := r.IntN(len(order))
					if w := sem.Expire(order[k]); len(w) != 1 || w[0].Err != ErrTimedOut {
						t.Fatal(w)
					}
					order = slices.Delete(order, k, k+1)
				}
			}
			if v := sem.Value(); v != initial+posts-done || v < 0 || v > 0 && len(order) > 0 || !slices.Equal(sem.Waiting(), order) {
				t.Fatalf("seed %d: value %d = %d + %d - %d, waiting %v", s, v, initial, posts, done, order)
			}
		}
	}
	full, _ := NewSemaphore(1, 1)
	_, err := full.Post()
	wantError(t, err, ErrOverflow)
	_, err = NewSemaphore(2, 1)
	wantError(t, err, ErrInvalid)
}

func TestSemaphoreSets(t *testing.T) {
	s, err := NewSet(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetValue(0, 1); err != nil {
		t.Fatal(err)
	}
	both := []SetOp{{0, -1, true}, {1, -1, true}}
	if blocked, _, err := s.Op("a", both, false); !blocked || err != nil || s.Values()[0] != 1 {
		t.Errorf("a part of the vector happened: %v %v %v", blocked, err, s.Values())
	}
	_, _, err = s.Op("b", both, true)
	wantError(t, err, ErrAgain)
	if blocked, _, err := s.Op("z", []SetOp{{1, 0, false}, {0, 0, false}}, false); !blocked || err != nil {
		t.Error(blocked, err)
	}
	_, wakes, err := s.Op("b", []SetOp{{1, 1, false}}, false)
	if err != nil || !slices.Equal(names(wakes), []string{"a", "z"}) { // a takes both, then z sees two zeros
		t.Errorf("%v %v", wakes, err)
	}
	s.Exit("a") // undone
	if !slices.Equal(s.Values(), []int{1, 1}) {
		t.Error(s.Values())
	}
	if _, _, err := s.Op("c", both, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetValue(0, 5); err != nil {
		t.Fatal(err)
	}
	s.Exit("c") // the undo of number 0 was cleared
	if !slices.Equal(s.Values(), []int{5, 1}) {
		t.Error(s.Values())
	}
	_, _, err = s.Op("c", []SetOp{{0, MaxSetValue, false}}, false)
	wantError(t, err, ErrOverflow)
	_, _, err = s.Op("c", []SetOp{{2, 1, false}}, false)
	wantError(t, err, ErrInvalid)
	if blocked, _, _ := s.Op("d", []SetOp{{0, -9, false}}, false); !blocked {
		t.Error("not blocked")
	}
	if wakes := s.Remove(); len(wakes) != 1 || wakes[0].Err != ErrRemoved {
		t.Error(wakes)
	}
	_, _, err = s.Op("d", both, false)
	wantError(t, err, ErrRemoved)
}

func TestMesaMonitor(t *testing.T) {
	m := NewMonitor(Mesa)
	enter(t, m, "a", false)
	_, err := m.Enter("a")
	wantError(t, err, ErrDeadlock)
	enter(t, m, "b", true)
	_, err = m.Enter("b")
	wantError(t, err, ErrWaiting)
	if wakes, err := m.Wait("a", "full"); err != nil || !slices.Equal(names(wakes), []string{"b"}) {
		t.Error(wakes, err)
	}
	enter(t, m, "c", true)
	blocked, wakes, err := m.Signal("b", "full")
	if blocked || len(wakes) != 0 || err != nil || m.Inside() != "b" {
		t.Error("the signaller goes on", blocked, wakes, err)
	}
	if wakes, err := m.Leave("b"); err != nil || !slices.Equal(names(wakes), []string{"c"}) {
		t.Error("c was there before a came back", wakes, err)
	}
	if wakes, err := m.Leave("c"); err != nil || !slices.Equal(names(wakes), []string{"a"}) {
		t.Error(wakes, err)
	}
	_, err = m.Leave("b")
	wantError(t, err, ErrNotOwner)
	_, _, err = m.Signal("b", "full")
	wantError(t, err, ErrNotOwner)
}

func TestHoareMonitor(t *testing.T) {
	m := NewMonitor(Hoare)
	enter(t, m, "a", false)
	if _, err := m.Wait("a", "full"); err != nil {
		t.Fatal(err)
	}
	enter(t, m, "b", false)
	enter(t, m, "c", true)
	blocked, wakes, err := m.Signal("b", "full")
	if !blocked || err != nil || !slices.Equal(names(wakes), []string{"a"}) || m.Inside() != "a" {
		t.Error("the signalled one runs at once", blocked, wakes, err)
	}
	if wakes, err := m.Leave("a"); err != nil || !slices.Equal(names(wakes), []string{"b"}) {
		t.Error("the signaller goes before those at the door", wakes, err)
	}
	wantError(t, m.Broadcast("b", "full"), ErrInvalid)
	if blocked, _, err := m.Signal("b", "empty"); blocked || err != nil {
		t.Error("a signal that nobody waits for is lost")
	}
}

func enter(t *testing.T, m *Monitor, who string, blocked bool) {
	t.Helper()
	if got, err := m.Enter(who); got != blocked || err != nil {
		t.Errorf("%s enters: %v, %v", who, got, err)
	}
}

func TestBroadcastInAMonitor(t *testing.T) {
	m := NewMonitor(Mesa)
	for _, who := range []string{"a", "b"} {
		enter(t, m, who, false)
		if _, err := m.Wait(who, "go"); err != nil {
			t.Fatal(err)
		}
	}
	enter(t, m, "c", false)
	wantError(t, m.Broadcast("c", "go"), nil)
	var order []string
	for who := "c"; ; {
		wakes, err := m.Leave(who)
		if err != nil {
			t.Fatal(err)
		}
		if len(wakes) == 0 {
			break
		}
		who = wakes[0].Who
		order = append(order, who)
	}
	if strings.Join(order, "") != "ab" {
		t.Error(order)
	}
}

func TestReadWriteLockInvariant(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 2))
		l := NewRWLock(Preference(r.IntN(3)))
		waiting := map[string]bool{}
		for range 200 {
			who := string(rune('a' + r.IntN(6)))
			var wakes []Wake
			var blocked bool
			var err error
			switch r.IntN(5) {
			case 0, 1:
				blocked, err = l.Read(who)
			case 2:
				blocked, err = l.Write(who)
			default:
				wakes, err = l.Release(who)
			}
			if err == nil && blocked {
				waiting[who] = true
			}
			for _, w := range wakes {
				if !waiting[w.Who] {
					t.Fatalf("seed %d: %s was woken and did not wait", s, w.Who)
				}
				delete(waiting, w.Who)
			}
			readers, writer := l.Holders()
			if writer != "" && len(readers) > 0 || writer == "" && len(readers) == 0 && len(waiting) > 0 {
				t.Fatalf("seed %d: readers %v, writer %q, waiting %v", s, readers, writer, waiting)
			}
		}
	}
}

func TestPreferences(t *testing.T) {
	for p, want := range map[Preference]string{Fair: "w r2", ReadersFirst: "r2 w", WritersFirst: "w r2"} {
		l := NewRWLock(p)
		var order []string
		note := func(who string, blocked bool, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if !blocked {
				order = append(order, who)
			}
		}
		b, err := l.Read("r1")
		note("r1", b, err)
		b, err = l.Write("w")
		note("w", b, err)
		b, err = l.Read("r2")
		note("r2", b, err)
		for _, who := range []string{"r1", "r2", "w", "r2"} {
			wakes, err := l.Release(who)
			if err == nil {
				order = append(order, names(wakes)...)
			}
		}
		if got := strings.Join(order, " "); got != "r1 "+want {
			t.Errorf("preference %d: %s, want r1 %s", p, got, want)
		}
	}
}

// Every classic problem, over many orders of play: the right form never ends in a deadlock, the wrong one does in some
// order.
func TestClassicProblems(t *testing.T) {
	for name, make := range map[string]func(wrong bool) *Stage{
		"philosophers": func(wrong bool) *Stage { return Philosophers(5, 3, !wrong) },
		"buffer":       func(wrong bool) *Stage { return Buffer(2, 4, 2, wrong) },
		"readers":      func(wrong bool) *Stage { return ReadersWriters(3, 2, 3, Fair, wrong) },
		"barber":       func(wrong bool) *Stage { return Barber(6, 2, wrong) },
	} {
		dead := 0
		for s := *seed; s < *seed+300; s++ {
			if o := make(false).Play(rand.New(rand.NewPCG(s, 3)), 10_000); len(o.Blocked) > 0 || o.Lines == 10_000 {
				t.Fatalf("%s, seed %d: %+v", name, s, o)
			}
			if o := make(true).Play(rand.New(rand.NewPCG(s, 3)), 10_000); len(o.Blocked) > 0 {
				dead++
			}
		}
		if dead == 0 {
			t.Errorf("%s: no order of 300 deadlocks the wrong form", name)
		}
	}
}

func TestNothingIsLostInTheBuffer(t *testing.T) {
	for s := *seed; s < *seed+100; s++ {
		stage := Buffer(3, 5, 2, false)
		stage.Play(rand.New(rand.NewPCG(s, 4)), 10_000)
		puts, takes := 0, 0
		for _, line := range stage.Log {
			switch {
			case strings.Contains(line, "puts"):
				puts++
			case strings.Contains(line, fmt.Sprintf("takes %d", takes+1)):
				takes++
			}
			if puts-takes > 2 || takes > puts {
				t.Fatalf("seed %d: %v", s, stage.Log)
			}
		}
		if puts != 15 || takes != 15 {
			t.Fatalf("seed %d: %d put, %d taken in order", s, puts, takes)
		}
	}
}
