package node

import (
	"errors"
	"path/filepath"
	"testing"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/fs/lock"
	"dfs/fs/meta"
)

// Locks are the cluster's: one peer's keep the other out, are listed by both, and are free when their peer has gone.
func TestLocksOfTwoPeers(t *testing.T) {
	dir := t.TempDir()
	a := up(t, filepath.Join(dir, "a"))
	b := up(t, filepath.Join(dir, "b"), a.token())
	ino := a.write("f", make([]byte, 512))
	ask := func(l *live, id uint64, wait bool) (meta.Result, error) {
		x := lock.Lock{Owner: lock.Owner{ID: 1}, PID: 7, Write: true, From: 10, End: 20}
		return l.store.ApplyEarly(t.Context(), meta.Lock{Ino: ino, Lock: x, Wait: wait, ID: id})
	}
	if _, err := ask(b, 1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(a, 1, false); !errors.Is(err, fault.Locked) {
		t.Fatal(err)
	}
	if r, err := ask(a, 2, true); err != nil || !r.More {
		t.Fatal(r, err)
	}
	of := func(l *live) admin.Lock {
		return admin.Lock{Kind: admin.LockRange, Mode: admin.LockExcl, Offset: 10, Length: 10, Peer: l.id.ID().String(), PID: 7,
			Session: sessionText(l.session.id.Load())}
	}
	want := admin.LockedFile{Ino: uint64(ino), Held: []admin.Lock{of(b)}, Waiting: []admin.Lock{of(a)}}
	a.lists("/f", want)
	b.until("it has heard of the wait", func() bool {
		doc, err := b.Locks(t.Context(), "")
		return err == nil && len(doc.Files) == 1 && len(doc.Files[0].Waiting) == 1
	})
	b.lists("", want)
	if _, err := a.Locks(t.Context(), "/"); !errors.Is(err, fault.IsDir) {
		t.Fatal(err)
	}
	b.stop()
	a.until("the lock is its own", func() bool {
		doc, err := a.Locks(t.Context(), "/f")
		return err == nil && len(doc.Files[0].Held) == 1 && doc.Files[0].Held[0] == of(a)
	})
}

// lists checks what a peer lists of a path.
func (l *live) lists(path string, want admin.LockedFile) {
	l.t.Helper()
	want.Path = path
	doc, err := l.Locks(l.t.Context(), path)
	if err != nil || len(doc.Files) != 1 {
		l.t.Fatalf("%+v, %v", doc, err)
	}
	got := doc.Files[0]
	if got.Path != path || got.Ino != want.Ino || len(got.Held) != 1 || len(got.Waiting) != 1 || got.Held[0] != want.Held[0] || got.Waiting[0] != want.Waiting[0] {
		l.t.Fatalf("%+v, want %+v", got, want)
	}
}
