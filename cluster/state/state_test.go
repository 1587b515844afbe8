package state

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
)

// notes is a Part for tests: a body is commands of one letter and one byte. It keeps count of what it is told.
//
//	s k   set key k to the entry's index        d k   delete key k
//	f k   fail with fault.Kind k                w k   write k*1000 keys
//	g k   append whether key k is there to the result
type notes struct{}

func (notes) Apply(tx Tx, c Context, body []byte) (result []byte, change any, err error) {
	for ; len(body) >= 2; body = body[2:] {
		key := []byte{TagMeta, body[1]}
		switch body[0] {
		case 's':
			err = tx.Set(key, fmt.Append(nil, c.Index))
		case 'd':
			err = tx.Delete(key)
		case 'g':
			v, ok, err := tx.Get(key)
			if err != nil {
				return nil, nil, err
			}
			result = fmt.Appendf(result, "%v%s", ok, v)
		case 'f':
			err = fault.New("notes", fault.Kind(body[1]), "asked to")
		case 'w':
			for i := range int(body[1]) * 1000 {
				if err == nil {
					err = tx.Set(fmt.Appendf([]byte{TagMeta}, "w%d.%d.%06d", c.Index, c.Op, i), nil)
				}
			}
		}
		if err != nil {
			return nil, nil, err
		}
		change = append([]byte(nil), body...)
	}
	return result, change, nil
}

func (notes) Event(tx Tx, c Context, e Event) (any, error) {
	switch e := e.(type) {
	case SessionEnded:
		return e, tx.Set(fmt.Appendf([]byte{TagMeta}, "ended%d", e.Session), nil)
	case MembersChanged:
		return e, tx.Set([]byte{TagMeta, 'm'}, fmt.Append(nil, len(e.Members)))
	}
	return nil, nil
}

type log struct {
	t        *testing.T
	m        *Machine
	kv       *mem.Store
	index    uint64
	applied  []Applied
	prepared []Applied
	resets   []uint64
}

func (l *log) Applied(a Applied)  { l.applied = append(l.applied, a) }
func (l *log) Prepared(a Applied) { l.prepared = append(l.prepared, a) }
func (l *log) Reset(index uint64) { l.resets = append(l.resets, index) }

func newLog(t *testing.T) *log {
	l := &log{t: t, kv: mem.New()}
	l.open()
	return l
}

// open opens the machine anew, as after a restart.
func (l *log) open() {
	l.t.Helper()
	m, err := New(l.kv, Options{Parts: map[byte]Part{TagMeta: notes{}}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.m = m
	m.Follow(l)
}

func (l *log) entry(ps ...raft.Proposal) []string {
	l.t.Helper()
	l.index++
	rs, err := l.m.Apply(l.index, ps)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, r := range rs {
		if b, err := DecodeResult(r); err != nil {
			out = append(out, fault.KindOf(err).String())
		} else {
			out = append(out, "ok"+string(b))
		}
	}
	return out
}

func (l *log) want(want []string, ps ...raft.Proposal) {
	l.t.Helper()
	if got := l.entry(ps...); !slices.Equal(got, want) {
		l.t.Fatalf("%q, want %q", got, want)
	}
}

func (l *log) ok(ps ...raft.Proposal) {
	l.t.Helper()
	for i, r := range l.entry(ps...) {
		if r[:2] != "ok" {
			l.t.Fatalf("proposal %d: %s", i, r)
		}
	}
}

func (l *log) view() View {
	r, _ := l.m.At(0)
	l.t.Cleanup(r.Close)
	return NewView(r)
}

func note(session, seq, low uint64, body string) raft.Proposal {
	return raft.Proposal{Session: session, Seq: seq, Low: low, Time: 1000, Body: append([]byte{TagMeta}, body...)}
}

func fact(session, seq uint64, f Fact) raft.Proposal {
	return raft.Proposal{Session: session, Seq: seq, Low: 1, Time: 1000, Body: Encode(f)}
}

func member(n byte, name string) cluster.Member {
	key := make([]byte, 32)
	key[0] = n
	return cluster.Member{ID: cluster.IDOf(key), Key: key, Name: name, Addr: fmt.Sprintf("h%d:7420", n), Capacity: 1 << 30}
}

func genesis() Genesis {
	return Genesis{ClusterID: [16]byte{1, 2}, Name: "amber-otter", CACert: []byte("cert"), WrappedKey: []byte("key"), Time: 5, First: member(1, "host-a")}
}

// begun returns a log with session 1 open and a first member.
func begun(t *testing.T) *log {
	l := newLog(t)
	l.ok(fact(1, 1, OpenSession{Peer: member(1, "").ID}), fact(1, 2, genesis()))
	return l
}

func TestProposalsAreAppliedExactlyOnce(t *testing.T) {
	l := begun(t)
	l.want([]string{"okfalse"}, note(1, 3, 1, "gxsx"))
	l.want([]string{"okfalse"}, note(1, 3, 1, "gxsx"))
	l.want([]string{"oktrue2", "okfalse", "oktrue2"}, note(1, 4, 1, "gx"), note(1, 5, 1, "gysy"), note(1, 4, 1, "gx"))
	l.open() // the window survives a restart
	l.want([]string{"okfalse", "okfalse"}, note(1, 3, 1, "gxsx"), note(1, 5, 1, "gysy"))
	l.want([]string{"ok"}, note(1, 6, 5, "dx"))
	l.want([]string{"stale", "stale", "okfalse"}, note(1, 3, 1, "sx"), note(1, 4, 4, "sx"), note(1, 5, 5, "sx"))
	l.want([]string{"exists"}, note(1, 7, 5, "f\x03"))
	l.want([]string{"exists"}, note(1, 7, 5, "sx")) // failures are kept too
	l.want([]string{"okfalse"}, note(1, 8, 8, "gx"))
	n := 0
	r, _ := l.m.At(0)
	defer r.Close()
	_ = r.Scan(resultsOf(1), nil, func(_, _ []byte) bool { n++; return true })
	if n != 1 {
		t.Fatalf("%d results are kept", n)
	}
}

func TestTheWindowIsBounded(t *testing.T) {
	l := begun(t)
	l.want([]string{"invalid", "ok", "invalid"}, note(1, Window+1, 1, "sx"), note(1, Window, 1, "sy"), note(1, 20, 21, "sx"))
	l.want([]string{"ok"}, note(1, Window+100, 101, "sx"))
}

func TestUnknownSessionsChangeNothing(t *testing.T) {
	l := begun(t)
	before := dump(t, l.kv)
	l.want([]string{"the session has ended", "the session has ended"}, note(77, 1, 1, "sx"), note(0, 1, 1, "sx"))
	strip := func(b []byte) string { // the applied index moves
		_, rest, _ := strings.Cut(string(b), "\n")
		return rest
	}
	if after := dump(t, l.kv); strip(after) != strip(before) {
		t.Fatal("something changed")
	}
	l.want([]string{"refused"}, fact(77, 1, OpenSession{Peer: cluster.PeerID{9}}))
}

func dump(t *testing.T, s *mem.Store) []byte {
	t.Helper()
	var b []byte
	r := s.At(s.Newest())
	defer r.Close()
	if err := r.Scan(nil, nil, func(k, v []byte) bool {
		b = fmt.Appendf(b, "%x=%x\n", k, v)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

// A failing proposal leaves nothing, wherever it fails, and the others of its entry stand.
func TestFailuresUndoTheirWrites(t *testing.T) {
	l := begun(t)
	l.want([]string{"ok", "exists", "oktrue2false"}, note(1, 3, 1, "sx"), note(1, 4, 1, "sydxszf\x03"), note(1, 5, 1, "gxgy"))
	l.want([]string{"unsupported", "invalid", "invalid", "invalid"},
		raft.Proposal{Session: 1, Seq: 6, Low: 1, Body: []byte{9}}, raft.Proposal{Session: 1, Seq: 7, Low: 1},
		raft.Proposal{Session: 1, Seq: 8, Low: 1, Body: []byte{TagFacts}}, raft.Proposal{Session: 1, Seq: 9, Low: 1, Body: []byte{TagFacts, 200}})
}

// An entry takes what fits its transaction; the rest is told to come again.
func TestEntriesAreBounded(t *testing.T) {
	l := begun(t)
	l.want([]string{"too big"}, note(1, 3, 1, "w\x0d"))
	l.want([]string{"ok", "busy", "busy", "ok"}, note(1, 4, 1, "w\x08"), note(1, 5, 1, "w\x01"), note(1, 6, 1, "w\x05"), note(1, 7, 1, "sx"))
	l.want([]string{"ok"}, note(1, 8, 1, "w\x01"))
}

func TestFollowersHearEverythingInOrder(t *testing.T) {
	l := begun(t)
	l.applied = nil
	l.ok(note(1, 3, 1, "sx"), note(1, 4, 1, ""), note(1, 5, 1, "sy"))
	l.entry() // raft's own entries are silent
	l.want([]string{"exists"}, note(1, 6, 1, "f\x03"))
	if len(l.applied) != 2 || l.applied[0].Index != 2 || l.applied[1].Index != 4 || len(l.applied[1].Changes) != 0 {
		t.Fatalf("%+v", l.applied)
	}
	ch := l.applied[0].Changes
	if len(ch) != 2 || ch[0].Session != 1 || ch[0].Seq != 3 || ch[1].Seq != 5 || ch[0].Tag != TagMeta || string(ch[0].What.([]byte)) != "sx" {
		t.Fatalf("%+v", ch)
	}
	if l.m.Applied() != 4 {
		t.Fatal(l.m.Applied())
	}
	l.open()
	if l.m.Applied() != 4 {
		t.Fatal("after a restart:", l.m.Applied())
	}
	if _, err := l.m.Apply(4, nil); !errors.Is(err, fault.Invalid) {
		t.Fatal("an entry was applied twice:", err)
	}
}

// A prepared entry shows nothing until it is applied, is what it would have been without, and gives way to any other.
func TestPreparedEntries(t *testing.T) {
	with, without := begun(t), begun(t)
	entries := [][]raft.Proposal{
		{note(1, 3, 1, "sagagb"), note(1, 4, 1, "sbf\x03")},
		{note(1, 5, 2, "scda")},
		{note(1, 5, 2, "scda"), note(1, 6, 5, "sdga")},
	}
	for i, ps := range entries {
		before := dump(t, with.kv)
		for _, wrong := range entries {
			if err := with.m.Prepare(with.index+1, wrong); err != nil {
				t.Fatal(err)
			}
		}
		if i != len(entries)-1 { // else what was prepared last is what comes
			if err := with.m.Prepare(with.index+1, ps); err != nil {
				t.Fatal(err)
			}
		}
		if i == 1 {
			with.m.Unprepare()
		}
		if with.m.Applied() != with.index || !bytes.Equal(dump(t, with.kv), before) {
			t.Fatal("what is prepared shows")
		}
		foreseen := with.prepared[len(with.prepared)-1]
		if got, want := with.entry(ps...), without.entry(ps...); !slices.Equal(got, want) {
			t.Fatalf("%q, unprepared %q", got, want)
		}
		if !bytes.Equal(dump(t, with.kv), dump(t, without.kv)) {
			t.Fatal("the state is another")
		}
		if did := with.applied[len(with.applied)-1]; !reflect.DeepEqual(did, foreseen) {
			t.Fatalf("foreseen %+v, came to be %+v", foreseen, did)
		}
	}
	if err := with.m.Prepare(with.index+1, entries[0]); err != nil {
		t.Fatal(err)
	}
	if err := with.m.Prepare(with.index, entries[0]); !errors.Is(err, fault.Invalid) {
		t.Fatal("an entry of the past was prepared:", err)
	}
	other := note(1, 7, 7, "sega")
	if got, want := with.entry(other), without.entry(other); !slices.Equal(got, want) || !bytes.Equal(dump(t, with.kv), dump(t, without.kv)) {
		t.Fatalf("another entry than the prepared one: %q, want %q", got, want)
	}
}

func TestResultsCarryErrorsHome(t *testing.T) {
	for _, err := range []error{fault.New("op", fault.Loop, "d %d", 1), fault.Because("op", fault.NoSpace, errors.New("cause")),
		fault.Quota, errors.New("plain"), fault.New("op", fault.Busy, "%s", bytes.Repeat([]byte("é"), 900))} {
		_, got := DecodeResult(EncodeResult([]byte("payload"), err))
		if fault.KindOf(got) != fault.KindOf(err) || got == nil {
			t.Errorf("%v became %v", err, got)
		}
	}
	if b, err := DecodeResult(EncodeResult([]byte("payload"), nil)); err != nil || string(b) != "payload" {
		t.Fatal(b, err)
	}
	for _, b := range [][]byte{nil, {1}, {2, 3, 0, 0}, {1, 3, 5, 0}} {
		if _, err := DecodeResult(b); !errors.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

func FuzzResult(f *testing.F) {
	f.Add(EncodeResult([]byte("x"), nil))
	f.Add(EncodeResult(nil, fault.New("a", fault.Busy, "b")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodeResult(b); err == nil && !bytes.Equal(EncodeResult(p, nil), b) {
			t.Fatal("the payload does not read back")
		}
	})
}
