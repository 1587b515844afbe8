package node

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/lock"
	"dfs/fs/meta"
	"dfs/osmodel/kv"
	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

// plane is the sidecar's way to the peer, once it is there.
func (l *live) plane() *link.Remote {
	l.t.Helper()
	c := link.Dial(l.data)
	l.until("its plane answers", func() bool {
		_, _, err := c.Ask(l.t.Context(), plane.Ask{What: plane.AskEntry, Name: "is it there"}, false)
		return !errors.Is(err, fault.Unreachable)
	})
	return c
}

// planeOp proposes as the sidecar does.
func (l *live) planeOp(op plane.Op) plane.Result {
	l.t.Helper()
	r, err := l.plane().Propose(l.t.Context(), op)
	if err != nil {
		l.t.Fatalf("%T: %v", op, err)
	}
	return r
}

func setKey(k, v string) *plane.Commit {
	return &plane.Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: k, Value: []byte(v)}}}}
}

// What one peer's sidecar has been told another's sees at once; a peer's own memory is only there.
func TestThePlaneOfTwoPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := up(t, filepath.Join(dir, "a"))
	b := up(t, filepath.Join(dir, "b"), a.token())
	toA, toB := a.plane(), b.plane()
	ctx := t.Context()
	for i := range 20 {
		from, at := a, toB
		if i%2 == 1 {
			from, at = b, toA
		}
		want := string(rune('a' + i))
		from.planeOp(setKey("k", want))
		if r, _, err := at.Ask(ctx, plane.Ask{What: plane.AskEntry, Name: "k"}, true); err != nil || string(r.Entries[0].Value) != want {
			t.Fatalf("%+v %v", r, err)
		}
	}
	if _, age, err := toB.Ask(ctx, plane.Ask{What: plane.AskEntry, Name: "k"}, false); err != nil || age < 0 || age > time.Minute {
		t.Fatal(age, err)
	}
	if _, err := toA.ProposeAt(ctx, "b", setKey("own", "b's")); err != nil {
		t.Fatal(err)
	}
	if r, err := toB.AskAt(ctx, "", plane.Ask{What: plane.AskEntry, Name: "own"}); err != nil || string(r.Entries[0].Value) != "b's" {
		t.Fatal(err)
	}
	if _, err := toA.AskAt(ctx, "", plane.Ask{What: plane.AskEntry, Name: "own"}); !errors.Is(err, fault.NotExist) {
		t.Fatal("a peer's own memory is everybody's: ", err)
	}
	if toA.Self() != "a" || toB.Self() != "b" {
		t.Fatal(toA.Self(), toB.Self())
	}

	// A session that nobody renews ends, and who follows hears of it.
	s := b.planeOp(&plane.Open{TTL: int64(time.Second)})
	b.planeOp(&plane.Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: "bound", Lease: s.ID}}}})
	heard := make(chan struct{}, 100)
	go toB.Follow(ctx, func([]string) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	<-heard
	late := time.After(30 * time.Second)
	for {
		_, _, err := toB.Ask(ctx, plane.Ask{What: plane.AskEntry, Name: "bound"}, true)
		if errors.Is(err, fault.NotExist) {
			break
		}
		select {
		case <-heard:
		case <-late:
			t.Fatal("the session does not end")
		}
	}

	// A restart loses nothing but a peer's own memory.
	b.stop()
	b = up(t, b.data)
	if r, _, err := b.plane().Ask(ctx, plane.Ask{What: plane.AskEntry, Name: "k"}, true); err != nil || string(r.Entries[0].Value) != "t" {
		t.Fatal(err)
	}
}

// A circle through a semaphore and a file lock is one.
func TestDeadlocksThroughFileLocks(t *testing.T) {
	t.Parallel()
	a := up(t, filepath.Join(t.TempDir(), "a"))
	ino := a.write("f", content(1))
	locks := func(pid uint32, wait bool) {
		t.Helper()
		l := lock.Lock{Owner: lock.Owner{ID: uint64(pid)}, PID: pid, Write: true, End: 10}
		if r, err := a.store.Apply(t.Context(), meta.Lock{Ino: ino, Lock: l, Wait: wait, ID: uint64(pid)}); err != nil || r.More != wait {
			t.Fatal(r.More, err)
		}
	}
	a.planeOp(&plane.CreateSemaphore{Name: "s", Permits: 1})
	one := a.planeOp(&plane.Open{TTL: int64(time.Hour), Owner: "a/100"})
	two := a.planeOp(&plane.Open{TTL: int64(time.Hour), Owner: "a/200"})
	check := func() plane.Deadlock {
		t.Helper()
		r, _, err := a.plane().Ask(t.Context(), plane.Ask{What: plane.AskGraph}, true)
		if err != nil {
			t.Fatal(err)
		}
		return r.Graph().Check()
	}
	locks(100, false)
	a.planeOp(&plane.Wait{Name: "s", Session: two.ID, Ask: 1, Permits: 1})
	locks(200, true)
	if d := check(); len(d.Deadlocked) != 0 {
		t.Fatalf("%+v", d)
	}
	a.planeOp(&plane.Wait{Name: "s", Session: one.ID, Ask: 1, Permits: 1})
	d := check()
	slices.Sort(d.Deadlocked)
	if !slices.Equal(d.Deadlocked, []string{"a/100", "a/200"}) || len(d.Victims) != 1 {
		t.Fatalf("%+v", d)
	}
}
