package node

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/fs/meta"
	"dfs/net/wire"
)

func TestNotesTravel(t *testing.T) {
	for _, n := range []note{
		{},
		{Session: 1<<64 - 1, Taken: 5, Synced: 7, Confirmed: 9, Mounted: true, Many: true},
		{Session: 3, Mounted: true, Held: []meta.Ino{1, 1 << 60, 2}},
		{Held: make([]meta.Ino, heldMax)},
	} {
		got, err := decodeNote(n.encode())
		if err != nil || !reflect.DeepEqual(got, n) {
			t.Errorf("%+v became %+v, %v", n, got, err)
		}
	}
	long := note{Held: make([]meta.Ino, heldMax)}.encode()
	for _, b := range [][]byte{nil, long[:len(long)-1], append(long, 0)} {
		if _, err := decodeNote(b); err == nil {
			t.Errorf("%d bytes are no note", len(b))
		}
	}
}

func FuzzNote(f *testing.F) {
	f.Add(note{Session: 3, Mounted: true, Held: []meta.Ino{1, 1 << 60, 2}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNote(b)
		if err != nil {
			return
		}
		if again, err := decodeNote(n.encode()); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("%+v became %+v, %v", n, again, err)
		}
	})
}

func FuzzRecall(f *testing.F) {
	f.Add((&recall{Session: 3, Ino: 1 << 60}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again recall
		if m.Decode(b) != nil {
			return
		}
		if err := again.Decode(m.Append(nil)); err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

var _ = []wire.Message{&recall{}, &recalled{}}

func TestWalk(t *testing.T) {
	l, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	make := func(dir meta.Ino, name string, typ meta.Type, target string) meta.Ino {
		t.Helper()
		r, err := l.Apply(t.Context(), meta.Create{Dir: dir, Name: name, Type: typ, Mode: 0o755, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		return r.Inode.Ino
	}
	a := make(meta.Root, "a", meta.Dir, "")
	b := make(a, "b", meta.Dir, "")
	f := make(b, "f", meta.File, "")
	up := make(b, "up", meta.Symlink, "../../a")
	make(meta.Root, "down", meta.Symlink, "a/./b")
	make(meta.Root, "out", meta.Symlink, "/etc")
	make(meta.Root, "above", meta.Symlink, "../../a")
	make(meta.Root, "ping", meta.Symlink, "pong/x")
	make(meta.Root, "pong", meta.Symlink, "ping/x")
	v, err := l.At(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, c := range []struct {
		path string
		want meta.Ino
		kind fault.Kind
	}{
		{path: "", want: meta.Root},
		{path: "/", want: meta.Root},
		{path: ".", want: meta.Root},
		{path: "/a/b/f", want: f},
		{path: "a//b/./f", want: f},
		{path: "../../a", want: a},
		{path: "a/b/..", want: a},
		{path: "a/b/../../..", want: meta.Root},
		{path: "a/b/up", want: up}, // the last name is not followed
		{path: "a/b/up/", want: a},
		{path: "a/b/up/b/f", want: f},
		{path: "down/f", want: f},
		{path: "down/..", want: a}, // above where the symlink leads
		{path: "above/b", want: b},
		{path: "down/up/b/up/b/f", want: f},
		{path: "a/x", kind: fault.NotExist},
		{path: "a/b/f/x", kind: fault.NotDir},
		{path: "a/" + strings.Repeat("x", 300), kind: fault.NameTooLong},
		{path: "out/passwd", kind: fault.Loop},
		{path: "ping/x", kind: fault.Loop},
	} {
		got, err := walk(v, c.path, func(meta.Inode) bool { return true })
		switch {
		case c.kind != 0 && !errors.Is(err, c.kind):
			t.Errorf("%q: %v, want %v", c.path, err, c.kind)
		case c.kind == 0 && (err != nil || got.Ino != c.want):
			t.Errorf("%q: inode %d, want %d, %v", c.path, got.Ino, c.want, err)
		}
	}
}

func TestTheRosterJoinsFactsAndHints(t *testing.T) {
	r := newRoster(pid(1), nil)
	if !r.isMember(pid(9)) {
		t.Error("a peer that knows nobody yet refuses those who know it")
	}
	r.setMembers(7, []cluster.Member{
		{ID: pid(1), Addr: "a:1", Capacity: 1000},
		{ID: pid(2), Addr: "b:2", Capacity: 1000},
		{ID: pid(3), Addr: "c:3", Capacity: 1000},
	})
	r.setVoters(pids(1, 2))
	r.setVoters(pids(2))
	r.hint(map[cluster.PeerID]hints{
		pid(1): {seen: cluster.Dead, stored: 5},
		pid(2): {seen: cluster.Alive, stored: 6, capacity: 5000, load: 2},
		pid(9): {seen: cluster.Alive},
	})
	v := r.view()
	if len(v.Peers) != 3 || v.Index != 7 || v.Self != pid(1) {
		t.Fatalf("%+v", v)
	}
	for _, c := range []struct {
		id       byte
		seen     cluster.State
		capacity int64
		voter    bool
	}{
		{1, cluster.Alive, 1000, false}, // whoever asks is alive
		{2, cluster.Alive, 5000, true},  // its own word on its capacity is newer than the fact
		{3, cluster.Suspect, 1000, false},
	} {
		p := v.Find(pid(c.id))
		if p.Seen != c.seen || p.Capacity != c.capacity || p.Voter != c.voter || p.Reserve != c.capacity/100 {
			t.Errorf("%d: %+v", c.id, p)
		}
	}
	if r.isMember(pid(9)) {
		t.Error("a hint made a member")
	}
	addr := func(n byte) string { a, _ := r.addr(pid(n)); return a }
	r.found(pid(2), "new:2")
	if addr(2) != "new:2" || addr(3) != "c:3" || addr(9) != "" {
		t.Errorf("%q %q %q", addr(2), addr(3), addr(9))
	}
	r.found(pid(2), "b:2")
	if addr(2) != "b:2" {
		t.Errorf("%q", addr(2))
	}
	r.setMembers(8, []cluster.Member{{ID: pid(1)}, {ID: pid(2)}})
	for range partingTicks - 1 {
		if r.tick() || !r.isMember(pid(3)) {
			t.Error("a peer that was removed is cut off before it can know")
		}
	}
	if !r.tick() || r.isMember(pid(3)) || r.tick() || !r.isMember(pid(2)) {
		t.Error("a peer that was removed is never cut off, or another is")
	}
}

func TestHealth(t *testing.T) {
	peer := func(name string, fact, seen cluster.State) cluster.Peer {
		return cluster.Peer{Member: cluster.Member{ID: cluster.PeerID{name[0]}, Name: name, State: fact}, Seen: seen}
	}
	well := []cluster.Peer{peer("a", cluster.Alive, cluster.Alive), peer("b", cluster.Draining, cluster.Alive)}
	status := func(change ...func(*admin.Status)) (s admin.Status) {
		s.Cluster.Leader, s.Cluster.Voters, s.Cluster.VotersTarget, s.Self.Ready = "a", 1, 1, true
		for _, f := range change {
			f(&s)
		}
		return s
	}
	for _, c := range []struct {
		name           string
		peers          []cluster.Peer
		s              admin.Status
		health, reason string
	}{
		{"well", well, status(), admin.Healthy, ""},
		{"no leader", well, status(func(s *admin.Status) { s.Cluster.Leader = "" }), admin.Unavailable, "no voter is known"},
		{"not ready", well, status(func(s *admin.Status) { s.Self.Ready, s.Self.Reason = false, "starting" }), admin.Unavailable, "starting"},
		{"away", []cluster.Peer{well[0], peer("b", cluster.Alive, cluster.Dead), peer("c", cluster.Lost, cluster.Alive)}, status(), admin.Degraded, "b is dead, c is leaving"},
		{"voters", well, status(func(s *admin.Status) { s.Cluster.VotersTarget = 3 }), admin.Degraded, "1 of 3 voters"},
		{"copies", well, status(func(s *admin.Status) { s.Repair.ExtentsBelowTarget = 4 }), admin.Degraded, "4 extents are below"},
	} {
		h, why := (&Node{}).health(cluster.NewView(pid(1), 1, c.peers), c.s)
		if h != c.health || !strings.Contains(why, c.reason) || (why == "") != (c.reason == "") {
			t.Errorf("%s: %s, %q", c.name, h, why)
		}
	}
}

func TestLostReplicasDoNotStand(t *testing.T) {
	v := cluster.NewView(pid(1), 1, []cluster.Peer{
		{Member: cluster.Member{ID: pid(1)}},
		{Member: cluster.Member{ID: pid(2), State: cluster.Lost}},
		{Member: cluster.Member{ID: pid(3)}, Seen: cluster.Dead},
	})
	if all, among := standing(&v, pids(1, 2, 9)); all != 2 || among != 1 {
		t.Fatalf("%d, %d", all, among)
	}
}

func TestTheGateOpensForWhatIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := map[uint64]error{}
		for _, index := range []uint64{5, 7, 9} {
			go func() {
				err := g.wait(ctx, index)
				g.mu.Lock()
				defer g.mu.Unlock()
				ended[index] = err
			}()
		}
		synctest.Wait()
		if len(ended) != 0 {
			t.Fatal(ended)
		}
		g.open(lease.NewSeen(5, []uint64{7}))
		synctest.Wait()
		if len(ended) != 2 || ended[5] != nil || ended[7] != nil || g.prefix() != 5 {
			t.Fatal(ended)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !errors.Is(ended[9], fault.Timeout) {
			t.Fatal(ended)
		}
	})
}
