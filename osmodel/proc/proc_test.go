package proc

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

// world is a table with one node and its init.
func world(t *testing.T) (*Table, PID) {
	t.Helper()
	w := NewTable(Options{})
	init, err := w.AddNode("a")
	if err != nil {
		t.Fatal(err)
	}
	return w, init
}

func fork(t *testing.T, w *Table, parent PID, name string) PID {
	t.Helper()
	id, err := w.Fork(parent, "", name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func state(t *testing.T, w *Table, id PID) State {
	t.Helper()
	p, err := w.Find(id)
	if err != nil {
		t.Fatal(err)
	}
	return p.State
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestStates(t *testing.T) {
	all := []State{New, Ready, Running, Waiting, Zombie, Terminated}
	for _, from := range all[:4] {
		for _, to := range all {
			w, init := world(t)
			id := fork(t, w, init, "p")
			w.procs[id].State = from
			allowed := slices.Contains(moves[from], to)
			if err := w.Move(id, to); (err == nil) != allowed {
				t.Errorf("%s -> %s: %v", from, to, err)
			}
		}
	}
}

func TestAZombieWaitsForItsParent(t *testing.T) {
	w, init := world(t)
	parent := fork(t, w, init, "sh")
	child := fork(t, w, parent, "ls")
	_, _, err := w.Wait(parent, 0)
	wantError(t, err, ErrNoChild)
	must(t, w.Exit(child, 7))
	if s := state(t, w, child); s != Zombie {
		t.Errorf("%s before the wait", s)
	}
	wantError(t, w.Exit(child, 8), ErrEnded)
	wantError(t, w.Move(child, Ready), ErrEnded)
	id, status, err := w.Wait(parent, 0)
	if id != child || status != 7 || err != nil {
		t.Errorf("%d %d %v", id, status, err)
	}
	if s := state(t, w, child); s != Terminated {
		t.Errorf("%s after the wait", s)
	}
	_, _, err = w.Wait(parent, child)
	wantError(t, err, ErrNotChild)
}

func TestOrphansAreAdoptedAndReaped(t *testing.T) {
	w, init := world(t)
	parent := fork(t, w, init, "sh")
	alive, zombie := fork(t, w, parent, "alive"), fork(t, w, parent, "zombie")
	must(t, w.Exit(zombie, 1))
	must(t, w.Exit(parent, 0))
	if s := state(t, w, parent); s != Terminated {
		t.Errorf("a child of init is %s", s)
	}
	if s := state(t, w, zombie); s != Terminated {
		t.Errorf("the adopted zombie is %s", s)
	}
	p, err := w.Find(alive)
	if err != nil || p.Parent != init || p.State != New {
		t.Errorf("%+v, %v", p, err)
	}
	must(t, w.Exit(alive, 0))
	if s := state(t, w, alive); s != Terminated {
		t.Errorf("init did not reap: %s", s)
	}
}

func TestTerminateCascades(t *testing.T) {
	w, init := world(t)
	top := fork(t, w, init, "top")
	a, b := fork(t, w, top, "a"), fork(t, w, top, "b")
	c := fork(t, w, a, "c")
	other := fork(t, w, init, "other")
	ended, err := w.Terminate(top)
	if err != nil || !slices.Equal(ended, []PID{c, a, b, top}) {
		t.Errorf("%v, %v", ended, err)
	}
	for _, id := range ended {
		if s := state(t, w, id); s != Terminated {
			t.Errorf("%d is %s", id, s)
		}
	}
	if s := state(t, w, other); s != New {
		t.Errorf("the other one is %s", s)
	}
	_, err = w.Terminate(init)
	wantError(t, err, ErrInit)
}

func TestSignals(t *testing.T) {
	w, init := world(t)
	parent := fork(t, w, init, "sh")
	p := fork(t, w, parent, "p")
	must(t, w.Move(p, Ready))
	must(t, w.Move(p, Running))
	must(t, w.Signal(p, Stop))
	if s := state(t, w, p); s != Ready {
		t.Errorf("a stopped process is %s", s)
	}
	wantError(t, w.Move(p, Running), ErrStopped)
	must(t, w.Signal(p, Term)) // waits for CONT
	if s := state(t, w, p); s != Ready {
		t.Errorf("TERM ended a stopped process: %s", s)
	}
	must(t, w.Signal(p, Cont))
	if s := state(t, w, p); s != Zombie {
		t.Errorf("%s after CONT", s)
	}
	if _, status, err := w.Wait(parent, p); status != StatusTerm || err != nil {
		t.Errorf("%d, %v", status, err)
	}

	p = fork(t, w, parent, "catcher")
	must(t, w.Catch(p, true))
	must(t, w.Signal(p, Term))
	must(t, w.Signal(p, Term))
	if s, ok := w.Take(p); s != Term || !ok {
		t.Errorf("%q %v", s, ok)
	}
	if s, ok := w.Take(p); ok {
		t.Errorf("a second %q", s)
	}
	must(t, w.Signal(p, Stop))
	must(t, w.Signal(p, Kill))
	if _, status, err := w.Wait(parent, p); status != StatusKill || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	wantError(t, w.Signal(p, Kill), ErrEnded)
	wantError(t, w.Signal(init, Kill), ErrInit)
	wantError(t, w.Signal(parent, "USR1"), ErrSignal)
	wantError(t, w.Signal(999, Kill), ErrNoProcess)
}

func TestGroups(t *testing.T) {
	w, init := world(t)
	leader := fork(t, w, init, "job")
	a, b := fork(t, w, leader, "a"), fork(t, w, leader, "b")
	if got := w.Group(leader); !slices.Equal(got, []PID{leader, a, b}) {
		t.Errorf("children are not in their parent's group: %v", got)
	}
	must(t, w.SetGroup(b, b))
	hit, err := w.SignalGroup(leader, Kill)
	if err != nil || !slices.Equal(hit, []PID{leader, a}) {
		t.Errorf("%v, %v", hit, err)
	}
	if s := state(t, w, b); s != New {
		t.Errorf("b left the group and is %s", s)
	}
	_, err = w.SignalGroup(leader, Kill)
	wantError(t, err, ErrNoProcess)
	wantError(t, w.SetGroup(b, 999), ErrNoProcess)
}

func TestANodeThatIsGone(t *testing.T) {
	w, init := world(t)
	bInit, err := w.AddNode("b")
	must(t, err)
	here := fork(t, w, init, "here")
	there, err := w.Fork(here, "b", "there") // runs on b for a parent on a
	must(t, err)
	back, err := w.Fork(there, "a", "back")
	must(t, err)
	gone, err := w.RemoveNode("b")
	if err != nil || !slices.Equal(gone, []PID{bInit, there}) {
		t.Errorf("%v, %v", gone, err)
	}
	if id, status, err := w.Wait(here, 0); id != there || status != StatusKill || err != nil {
		t.Errorf("%d %d %v", id, status, err)
	}
	if p, err := w.Find(back); err != nil || p.Parent != init || !p.Alive() {
		t.Errorf("%+v %v", p, err)
	}
	_, err = w.Fork(here, "b", "late")
	wantError(t, err, ErrNode)
}

func TestTheTableIsBounded(t *testing.T) {
	w := NewTable(Options{Max: 3, Keep: 2})
	init, err := w.AddNode("a")
	must(t, err)
	for range 10 {
		id := fork(t, w, init, "p")
		must(t, w.Exit(id, 0))
	}
	if n := len(w.List()); n != 3 { // init and two remembered
		t.Errorf("%d entries", n)
	}
	fork(t, w, init, "p")
	fork(t, w, init, "q")
	_, err = w.Fork(init, "", "r")
	wantError(t, err, ErrFull)
}

// check says what is wrong with the table.
func (t *Table) check() error {
	live := 0
	for id, p := range t.procs {
		if p.State != Terminated {
			live++
		}
		if t.isInit(p) != (p.Parent == 0) && p.State != Terminated {
			return fmt.Errorf("%+v has no parent", p)
		}
		if p.State == Terminated || t.isInit(p) {
			continue
		}
		parent := t.procs[p.Parent]
		if parent == nil || !parent.Alive() || !slices.Contains(parent.Children, id) {
			return fmt.Errorf("%+v and its parent %+v", p, parent)
		}
		if p.State == Zombie && (t.isInit(parent) || len(p.Children) > 0) {
			return fmt.Errorf("zombie %+v of %+v", p, parent)
		}
		for _, c := range p.Children {
			if t.procs[c].Parent != id {
				return fmt.Errorf("%d lists %d, whose parent is %d", id, c, t.procs[c].Parent)
			}
		}
	}
	if live != t.live {
		return fmt.Errorf("%d live, counted %d", live, t.live)
	}
	return nil
}

func TestEveryHistoryKeepsTheTreeWhole(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 1))
		w := NewTable(Options{Max: 60, Keep: 20})
		nodes := []string{"a", "b", "c"}
		for _, n := range nodes {
			if _, err := w.AddNode(n); err != nil {
				t.Fatal(err)
			}
		}
		for range 300 {
			ids := w.pids()
			id := ids[r.IntN(len(ids))]
			node := nodes[r.IntN(len(nodes))]
			switch r.IntN(12) {
			case 0, 1, 2, 3:
				_, _ = w.Fork(id, node, "p")
			case 4:
				_ = w.Exit(id, r.IntN(3))
			case 5:
				_, _, _ = w.Wait(id, 0)
			case 6:
				_, _ = w.Terminate(id)
			case 7:
				_ = w.Signal(id, []Signal{Stop, Cont, Term, Kill}[r.IntN(4)])
			case 8:
				_, _ = w.SignalGroup(id, []Signal{Stop, Cont, Term, Kill}[r.IntN(4)])
			case 9:
				_ = w.SetGroup(id, ids[r.IntN(len(ids))])
			case 10:
				_ = w.Move(id, []State{Ready, Running, Waiting}[r.IntN(3)])
			case 11:
				if r.IntN(4) == 0 {
					_, _ = w.RemoveNode(node)
				} else {
					_, _ = w.AddNode(node)
				}
			}
			if err := w.check(); err != nil {
				t.Fatalf("seed %d: %v", s, err)
			}
			if len(w.pids()) == 0 {
				break
			}
		}
	}
}

func ExampleTable_WriteTree() {
	w := NewTable(Options{})
	init, _ := w.AddNode("host-a")
	sh, _ := w.Fork(init, "", "sh")
	build, _ := w.Fork(sh, "", "make")
	_, _ = w.Fork(build, "", "cc")
	done, _ := w.Fork(sh, "", "ls")
	_ = w.Exit(done, 0)
	_ = w.WriteTree(os.Stdout)
	_ = w.Exit(sh, 0)
	_ = w.WriteTree(os.Stdout)
	// Output:
	// 1 init (host-a) RUNNING
	// └─ 2 sh NEW
	//    ├─ 3 make NEW
	//    │  └─ 4 cc NEW
	//    └─ 5 ls ZOMBIE
	// 1 init (host-a) RUNNING
	// └─ 3 make NEW
	//    └─ 4 cc NEW
}
