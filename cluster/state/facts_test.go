package state

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
)

func every() []Fact {
	return []Fact{
		genesis(),
		Admit{Token: TokenID{1}, Member: member(2, "b")},
		SetMember{ID: cluster.PeerID{1}, Mask: 63, Name: "n", Addr: "a", Zone: "z", Host: "h", Capacity: -5, State: cluster.Lost},
		RemoveMember{ID: cluster.PeerID{2}},
		TokenCreate{Token: Token{ID: TokenID{3}, Key: [32]byte{4}, Expiry: 5, Uses: 6, Created: 7}},
		TokenRevoke{ID: TokenID{8}},
		OpenSession{Peer: cluster.PeerID{9}, Incarnation: 10},
		EndSession{Session: 11},
	}
}

func TestFactsReadBack(t *testing.T) {
	for _, f := range every() {
		b := Encode(f)
		if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%+v (%v), want %+v", got, err, f)
		}
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, fault.Invalid) {
				t.Errorf("%T cut to %d bytes: %v", f, n, err)
			}
		}
	}
}

func FuzzFact(f *testing.F) {
	for _, x := range every() {
		f.Add(Encode(x))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(Encode(x))
		if err != nil || !bytes.Equal(Encode(again), Encode(x)) {
			t.Fatalf("%+v became %+v (%v)", x, again, err)
		}
		l := begun(t)
		l.entry(raft.Proposal{Session: 1, Seq: 3, Low: 1, Body: b})
	})
}

func TestTheClusterBeginsOnce(t *testing.T) {
	l := begun(t)
	g, err := l.view().Genesis()
	want := genesis()
	if err != nil || !reflect.DeepEqual(g, want) {
		t.Fatalf("%+v %v", g, err)
	}
	m, err := l.view().Member(want.First.ID)
	if err != nil || m.Name != "host-a" || m.Joined != 1 || m.State != cluster.Alive {
		t.Fatalf("%+v %v", m, err)
	}
	l.want([]string{"exists"}, fact(1, 3, genesis()))
	if _, err := newLog(t).view().Genesis(); !errors.Is(err, fault.NotExist) {
		t.Fatal(err)
	}
}

func TestAdmission(t *testing.T) {
	l := begun(t)
	b, c, d := member(2, "host-a"), member(3, "host-a"), member(4, "")
	l.ok(fact(1, 3, TokenCreate{Token{ID: TokenID{1}, Uses: 2, Expiry: 2000}}), fact(1, 4, TokenCreate{Token{ID: TokenID{3}, Uses: 1}}),
		fact(1, 5, TokenCreate{Token{ID: TokenID{2}, Uses: 9, Expiry: 1000}}))
	l.want([]string{"exists"}, fact(1, 6, TokenCreate{Token{ID: TokenID{1}, Uses: 2}}))
	l.want([]string{"does not exist", "refused", "invalid"}, fact(1, 7, Admit{TokenID{9}, b}), fact(1, 8, Admit{TokenID{2}, b}),
		fact(1, 9, Admit{TokenID{1}, cluster.Member{ID: b.ID, Key: c.Key}}))
	l.ok(fact(1, 10, Admit{TokenID{1}, b}))
	a := l.applied[len(l.applied)-1].Changes
	if f := a[0].What.(*Facts); !f.Members || !f.Tokens || f.Admitted == nil || f.Admitted.ID != b.ID || f.Admitted.Name != "host-a-2" {
		t.Fatalf("%+v", f)
	}
	if e := a[1].What.(MembersChanged); a[1].Tag != TagMeta || len(e.Members) != 2 {
		t.Fatalf("%+v", e)
	}
	b.Addr = "elsewhere:1"
	l.ok(fact(1, 11, Admit{TokenID{1}, b})) // the same machine again: only its address
	l.ok(fact(1, 12, Admit{TokenID{1}, c}))
	l.want([]string{"refused"}, fact(1, 13, Admit{TokenID{1}, d}))
	l.ok(fact(1, 14, Admit{TokenID{3}, d}))
	all, err := l.view().Members()
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	got, _ := l.view().Member(b.ID)
	if got.Addr != "elsewhere:1" || got.Name != "host-a-2" || got.Joined != 5 {
		t.Fatalf("%+v", got)
	}
	got, _ = l.view().Member(c.ID)
	if got.Name != "host-a-3" {
		t.Fatalf("%+v", got)
	}
	got, _ = l.view().Member(d.ID)
	if got.Name != "peer-"+d.ID.Short() {
		t.Fatalf("%+v", got)
	}
	l.want([]string{"ok", "does not exist"}, fact(1, 15, TokenRevoke{TokenID{3}}), fact(1, 16, TokenRevoke{TokenID{3}}))
	tokens, err := l.view().Tokens()
	if err != nil || len(tokens) != 2 || tokens[0].Uses != 0 || tokens[1].Uses != 9 {
		t.Fatalf("%+v %v", tokens, err)
	}
	if tok, err := l.view().Token(TokenID{2}); err != nil || tok.Uses != 9 {
		t.Fatal(tok, err)
	}
}

// Who tries a token that is used up or has expired is told so: it is remembered for a day, and while there is room.
func TestDeadTokensAreRememberedForAWhile(t *testing.T) {
	l := begun(t)
	day := int64(24 * time.Hour)
	at := func(time int64, seq uint64, f Fact) raft.Proposal {
		p := fact(1, seq, f)
		p.Time = time
		return p
	}
	has := func(id byte) bool {
		_, err := l.view().Token(TokenID{id})
		return err == nil
	}
	l.ok(at(1, 3, TokenCreate{Token{ID: TokenID{1}, Uses: 1, Expiry: 2000}}), at(1, 4, TokenCreate{Token{ID: TokenID{2}, Uses: 0, Expiry: 2 * day}}),
		at(3000, 5, TokenCreate{Token{ID: TokenID{3}, Uses: 1}}))
	if !has(1) || !has(2) {
		t.Error("forgotten at once")
	}
	l.ok(at(2001+day, 6, TokenCreate{Token{ID: TokenID{4}, Uses: 1}}))
	if has(1) || !has(2) || !has(3) {
		t.Error("after a day: an expired one is there, or another is not")
	}
	for i := range tokensN - 3 {
		l.ok(at(day, uint64(7+i), TokenCreate{Token{ID: TokenID{9, byte(i >> 8), byte(i)}, Uses: 1}}))
	}
	if !has(2) {
		t.Error("forgotten while there is room")
	}
	l.ok(at(day, tokensN+4, TokenCreate{Token{ID: TokenID{5}, Uses: 1}}))
	if has(2) || !has(3) {
		t.Error("a dead one is in the way, or a live one is gone")
	}
	l.want([]string{"over quota"}, at(day, tokensN+5, TokenCreate{Token{ID: TokenID{6}, Uses: 1}}))
}

func TestMembersChange(t *testing.T) {
	l := begun(t)
	b := member(2, "b")
	l.ok(fact(1, 3, TokenCreate{Token{ID: TokenID{1}, Uses: 2}}), fact(1, 4, Admit{TokenID{1}, b}))
	l.ok(fact(1, 5, SetMember{ID: b.ID, Mask: SetName | SetZone | SetState | SetCapacity | SetAddr | SetHost, Name: "host-a", Zone: "z", State: cluster.Draining,
		Capacity: 5, Addr: "x:1", Host: "h"}))
	m, err := l.view().Member(b.ID)
	if err != nil || m.Name != "host-a-2" || m.Zone != "z" || m.State != cluster.Draining || m.Capacity != 5 || m.Addr != "x:1" || m.Host != "h" || len(m.Key) != 32 {
		t.Fatalf("%+v %v", m, err)
	}
	l.want([]string{"invalid", "does not exist"}, fact(1, 6, SetMember{ID: b.ID, Mask: SetState, State: cluster.Suspect}), fact(1, 7, SetMember{ID: cluster.PeerID{}}))
	l.ok(fact(9, 1, OpenSession{Peer: b.ID}))
	l.ok(fact(1, 8, RemoveMember{ID: b.ID}))
	if _, err := l.view().Session(9); !errors.Is(err, fault.NotExist) {
		t.Fatal("a removed member's session goes on:", err)
	}
	l.want([]string{"does not exist", "refused"}, fact(1, 9, RemoveMember{ID: b.ID}), fact(1, 10, RemoveMember{ID: member(1, "").ID}))
}

func TestSessions(t *testing.T) {
	l := begun(t)
	a := member(1, "").ID
	l.ok(fact(2, 1, OpenSession{Peer: a, Incarnation: 5}))
	if f := l.applied[len(l.applied)-1].Changes; f[0].What.(*Facts).Opened != 2 || !slices.Equal(f[0].What.(*Facts).Ended, []uint64{1}) ||
		f[1].What.(SessionEnded).Session != 1 {
		t.Fatalf("%+v", f)
	}
	l.want([]string{"the session has ended", "the session has ended"}, note(1, 3, 1, "sx"), fact(1, 1, OpenSession{Peer: a, Incarnation: 9})) // ended is ended
	l.want([]string{"stale"}, fact(3, 1, OpenSession{Peer: a, Incarnation: 4}))                                                               // a belated older one
	l.ok(fact(2, 2, OpenSession{Peer: a, Incarnation: 5}))                                                                                    // asked for again: nobody had heard the answer
	l.want([]string{"exists"}, fact(2, 3, OpenSession{Peer: a, Incarnation: 6}))
	s, err := l.view().Session(2)
	if err != nil || s.Peer != a || s.Incarnation != 5 || s.Opened != 2 {
		t.Fatalf("%+v %v", s, err)
	}
	l.ok(fact(2, 4, EndSession{Session: 2}))
	l.want([]string{"the session has ended"}, fact(2, 4, EndSession{Session: 2}))
	all, err := l.view().Sessions()
	if err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	r, _ := l.m.At(0)
	defer r.Close()
	if err := r.Scan([]byte{TagFacts, 'r'}, nil, func(k, _ []byte) bool { t.Errorf("%q is left", k); return true }); err != nil {
		t.Fatal(err)
	}
}

// However many sessions end, only the newest endings are remembered.
func TestEndedSessionsAreForgotten(t *testing.T) {
	l := begun(t)
	a := member(1, "").ID
	for i := range uint64(endedKept + 50) {
		l.ok(fact(100+i, 1, OpenSession{Peer: a}))
	}
	n := 0
	r, _ := l.m.At(0)
	defer r.Close()
	if err := r.Scan([]byte{TagFacts, 'e'}, nil, func(_, _ []byte) bool { n++; return true }); err != nil || n != endedKept {
		t.Fatal(n, err)
	}
}
