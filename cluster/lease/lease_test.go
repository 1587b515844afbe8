package lease

import (
	"reflect"
	"testing"
	"time"

	"dfs/cluster"
)

// moment is well within a lease, ages beyond.
const (
	moment = Length / 2
	ages   = 20 * Length
)

// pass lets time pass up to now at a leader whom a quorum then confirms, if he asks.
func pass(tab *Table, now time.Duration, commit uint64) {
	tab.Tick(now)
	if n, ok := tab.NextRound(now); ok {
		tab.Confirmed(now, n, commit)
	}
}

func id(n byte) cluster.PeerID { return cluster.PeerID{n} }

// grant plays one renewal of h through t, the quorum round included, and returns what the leader answered.
func grant(t *testing.T, tab *Table, h *Holder, who cluster.PeerID, now time.Duration, commit uint64) []Letter {
	t.Helper()
	h.LeaderChanged()
	r, due := h.Report(now)
	if !due {
		t.Fatal("no report due after a change of leader")
	}
	tab.Reported(now, who, r)
	if n, ok := tab.NextRound(now); ok {
		tab.Confirmed(now, n, commit)
	}
	letters := tab.Letters()
	for _, l := range letters {
		h.Granted(now, l.Grant)
	}
	return letters
}

func TestNothingIsReleasedBeforeAHolderTookItIn(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 5, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(5, nil), nil)
	grant(t, tab, h, id(1), 0, 5)
	if s := h.State(0); s != Held {
		t.Fatalf("state %v after a grant", s)
	}
	tab.Committed(moment, 8, 1)
	if r, _ := tab.Released(); r.Prefix != 5 {
		t.Fatalf("released %+v while the holder has seen 5 of 8", r)
	}
	h.Took(NewSeen(6, []uint64{8}), nil)
	r, _ := h.Report(moment)
	tab.Reported(moment, id(1), r)
	if got, _ := tab.Released(); !reflect.DeepEqual(got, Seen{6, []uint64{8}}) {
		t.Fatalf("released %+v, want the prefix 6 and, by itself, 8", got)
	}
}

func TestAHolderThatFallsSilentIsWaitedForUntilItsLeaseIsOver(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 1, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(1, nil), nil)
	grant(t, tab, h, id(1), 0, 1)
	tab.Committed(moment, 2, 1)
	pass(tab, h.Until()+time.Millisecond, 2)
	if r, _ := tab.Released(); r.Prefix != 1 {
		t.Fatal("released before the slack was over")
	}
	if s := h.State(h.Until()); s != Lost {
		t.Fatalf("the holder is %v at its lease's end", s)
	}
	tab.Tick(Length + Slack + 1)
	if r, _ := tab.Released(); r.Prefix != 1 {
		t.Fatal("released by a leader who may be none any more")
	}
	pass(tab, Length+Slack+1, 2)
	if r, _ := tab.Released(); r.Prefix != 2 {
		t.Fatal("not released although the lease is over")
	}
	h.Rejoin()
	if s := h.State(ages); s != Joining {
		t.Fatalf("%v after Rejoin", s)
	}
}

func TestAMountWhoseKernelIsStuckIsNotRenewed(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 1, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(1, nil), nil)
	grant(t, tab, h, id(1), 0, 1)
	tab.Committed(0, 2, 1)
	now := time.Duration(0)
	for ; now < 2*(Length+Slack+Budget); now += Renew {
		grant(t, tab, h, id(1), now, 2)
		pass(tab, now, 2)
	}
	if r, _ := tab.Released(); r.Prefix != 2 {
		t.Fatal("a mount that renews but never takes anything in holds everyone up")
	}
	if h.State(now) != Lost {
		t.Fatal("it was renewed all the same")
	}
}

func TestALeaseOfAnOldEpochIsRefused(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 1, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(1, nil), nil)
	grant(t, tab, h, id(1), 0, 1)
	pass(tab, ages, 1) // the leader has dropped it
	tab.Reported(ages, id(1), Report{Epoch: 1, Seq: 9, Holding: true, Seen: NewSeen(1, nil)})
	if l := tab.Letters(); len(l) != 0 {
		t.Fatalf("letters %+v by a leader who may be none any more", l)
	}
	n, _ := tab.NextRound(ages)
	tab.Confirmed(ages, n, 1)
	letters := tab.Letters()
	if len(letters) != 1 || !letters[0].Grant.Refused {
		t.Fatalf("letters %+v, want a refusal", letters)
	}
}

func TestAJoinerIsGrantedOnlyWhenItHasCaughtUp(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 7, 3)
	h := NewHolder(true, 1)
	h.Took(NewSeen(6, nil), nil)
	if l := grant(t, tab, h, id(1), 0, 7); len(l) != 0 {
		t.Fatalf("granted at 6 of 7: %+v", l)
	}
	tab.Committed(0, 8, 3)
	if r, _ := tab.Released(); r.Prefix != 6 && r.Prefix != 7 {
		t.Fatalf("released %+v: the joiner is in the wait set", r)
	}
	h.Took(NewSeen(8, nil), nil)
	if l := grant(t, tab, h, id(1), moment, 8); len(l) != 1 {
		t.Fatalf("not granted after catching up: %+v", l)
	}
}

func TestANewLeaderWaitsForEveryoneOrForOneLease(t *testing.T) {
	for _, sudden := range []bool{false, true} {
		tab := NewTable(0, []cluster.PeerID{id(1), id(2)}, sudden)
		tab.Committed(0, 4, 2)
		tab.Reported(0, id(1), Report{Epoch: 1, Holding: true, Seen: NewSeen(4, nil)})
		if r, _ := tab.Released(); r.Prefix != 0 {
			t.Fatal("released before everyone reported")
		}
		tab.Reported(0, id(2), Report{})
		if r, _ := tab.Released(); (r.Prefix == 4) == sudden {
			t.Fatalf("sudden=%v: released %+v after everyone reported", sudden, r)
		}
		pass(tab, Length+Slack+1, 4)
		if r, _ := tab.Released(); r.Prefix != 4 {
			t.Fatal("not released after the hold-off")
		}
	}
}

func TestNoGrantBeforeTheTermsOwnEntry(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Reported(0, id(1), Report{Epoch: 1, Seq: 1, Seen: NewSeen(9, nil)})
	if _, ok := tab.NextRound(0); ok {
		t.Fatal("a round before the own-term entry is committed")
	}
}

func TestAGrantCountsFromWhenTheRenewalWasSent(t *testing.T) {
	h := NewHolder(true, 7)
	r, _ := h.Report(moment)
	h.Granted(3*moment/2, Grant{Epoch: 7, Seq: r.Seq})
	if h.Until() != moment+Length {
		t.Fatalf("until %v", h.Until())
	}
	late := NewHolder(true, 7)
	r, _ = late.Report(0)
	late.Granted(moment+Length, Grant{Epoch: 7, Seq: r.Seq})
	if late.State(moment+Length) == Held {
		t.Fatal("a grant that arrives after its own end was taken")
	}
}

func TestMessagesSurviveTheirEncoding(t *testing.T) {
	rep := Report{Epoch: 3, Seq: 9, Holding: true, Seen: Seen{5, []uint64{7, 1 << 40}}, Note: []byte("n")}
	var rep2 Report
	if err := rep2.Decode(rep.Append(nil)); err != nil || !reflect.DeepEqual(rep, rep2) {
		t.Fatalf("%+v, %v", rep2, err)
	}
	gr := Grant{Epoch: 3, Seq: 9, Refused: true, Released: Seen{5, []uint64{9}}}
	var gr2 Grant
	if err := gr2.Decode(gr.Append(nil)); err != nil || !reflect.DeepEqual(gr, gr2) {
		t.Fatalf("%+v, %v", gr2, err)
	}
}

func FuzzEarly(f *testing.F) {
	f.Add((&Early{Epoch: 3, Index: 9, Term: 1 << 60}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Early
		if e.Decode(b) != nil {
			return
		}
		if err := again.Decode(e.Append(nil)); err != nil || again != e {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
		if (&Hurry{}).Decode(b) == nil && len(b) > 0 {
			t.Fatal("a hurry with something in it")
		}
	})
}

// What is taken in early counts once it is committed, from a holder with a lease of that epoch.
func TestWhatIsTakenInEarlyIsReleasedWhenItIsCommitted(t *testing.T) {
	h := NewHolder(true, 7)
	if _, ok := h.Early(moment, 6, 2); ok {
		t.Fatal("a word without a lease")
	}
	h.Took(NewSeen(5, nil), nil)
	r, _ := h.Report(moment)
	h.Granted(moment, Grant{Epoch: 7, Seq: r.Seq})
	a := id(1)
	table := NewTable(0, []cluster.PeerID{a}, false)
	table.Committed(moment, 5, 5)
	table.Reported(moment, a, r)
	round, _ := table.NextRound(moment)
	early := func(index uint64) {
		e, ok := h.Early(moment, index, 2)
		if !ok || e != (Early{Epoch: 7, Index: index, Term: 2}) {
			t.Fatalf("%+v, %v", e, ok)
		}
		table.Early(moment, a, e)
	}
	early(6)
	table.Confirmed(moment, round, 5)
	table.Committed(moment, 6, 5)
	if seen, _ := table.Released(); seen.Prefix != 5 {
		t.Fatalf("the word of a holder without a grant counts: %+v", seen)
	}
	early(7)
	if seen, _ := table.Released(); seen.Prefix != 6 {
		t.Fatalf("released beyond what is committed: %+v", seen)
	}
	table.Early(moment, a, Early{Epoch: 6, Index: 9, Term: 2})
	table.Committed(moment, 9, 5)
	if seen, _ := table.Released(); seen.Prefix != 7 {
		t.Fatalf("the word of an epoch that is over counts: %+v", seen)
	}
	// The leader knows: nothing needs to be said again, unless the release does not come.
	h.Took(NewSeen(7, nil), nil)
	if r, due := h.Report(moment + 1); due {
		t.Fatalf("%+v", r)
	}
	if _, due := h.Report(moment + Resend); !due {
		t.Fatal("a release that does not come is not asked for")
	}
	h.LeaderChanged()
	if r, due := h.Report(moment + Resend); !due || r.Seen.Prefix != 7 {
		t.Fatalf("a new leader is told %+v", r)
	}
}

func FuzzReport(f *testing.F) {
	f.Add((&Report{Epoch: 3, Seq: 9, Seen: Seen{5, []uint64{7}}, Note: []byte("n")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Report
		if r.Decode(b) != nil {
			return
		}
		for i := 1; i < len(r.Seen.Except); i++ {
			if r.Seen.Except[i] <= r.Seen.Except[i-1] {
				t.Fatalf("unsorted %v", r.Seen.Except)
			}
		}
	})
}

func TestAfterASnapshotNothingCountsAsSeenBeforeTheCachesAreDropped(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 5, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(5, nil), nil)
	grant(t, tab, h, id(1), 0, 5)
	tab.Committed(0, 9, 1)
	h.Installed(9)
	h.Took(NewSeen(9, nil), nil)
	r, _ := h.Report(moment)
	tab.Reported(moment, id(1), r)
	if got, _ := tab.Released(); got.Prefix != 5 {
		t.Fatalf("released %+v while the kernel may know the state of 5", got)
	}
	h.Rejoin()
	r, _ = h.Report(moment)
	tab.Reported(moment, id(1), r)
	if got, _ := tab.Released(); got.Prefix != 9 {
		t.Fatalf("released %+v after the caches were dropped", got)
	}
}

func TestANewLeaderWaitsForAMountWhoseLeaseWasCutShort(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 5, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(5, nil), nil)
	grant(t, tab, h, id(1), 0, 5)
	h.Installed(9)
	next := NewTable(moment, []cluster.PeerID{id(1)}, false)
	next.Committed(moment, 9, 6)
	h.LeaderChanged()
	r, _ := h.Report(moment)
	next.Reported(moment, id(1), r)
	if got, _ := next.Released(); got.Prefix > 5 {
		t.Fatalf("released %+v while the kernel may know the state of 5", got)
	}
	h.Rejoin()
	r, _ = h.Report(moment)
	next.Reported(moment, id(1), r)
	if got, _ := next.Released(); got.Prefix != 9 {
		t.Fatalf("released %+v after the caches were dropped", got)
	}
}

func TestAJoinerThatLagsFarBehindHoldsNobodyUp(t *testing.T) {
	tab := NewTable(0, nil, false)
	tab.Committed(0, 10_000, 1)
	h := NewHolder(true, 1)
	h.Took(NewSeen(5, nil), nil)
	if l := grant(t, tab, h, id(1), 0, 10_000); len(l) != 0 {
		t.Fatalf("granted: %+v", l)
	}
	tab.Committed(0, 10_001, 1)
	if r, _ := tab.Released(); r.Prefix != 10_001 {
		t.Fatalf("released %+v: everyone waits for a peer that is still far behind", r)
	}
	h.Took(NewSeen(10_001, nil), nil)
	if l := grant(t, tab, h, id(1), moment, 10_001); len(l) != 1 {
		t.Fatal("not granted once it has caught up")
	}
}

// A leader is stopped, and others elect another, who grants leases. When the first goes on, every lease it knows of is over.
func TestALeaderWhoWasStoppedReleasesNothingUnasked(t *testing.T) {
	tab := NewTable(0, []cluster.PeerID{id(1)}, false)
	h := NewHolder(true, 1)
	h.Took(NewSeen(5, nil), nil)
	tab.Committed(0, 5, 5)
	grant(t, tab, h, id(1), 0, 5)
	tab.Committed(moment, 6, 5)
	tab.Tick(ages)
	tab.Committed(ages, 6, 5)
	n, asked := tab.NextRound(ages)
	if r, _ := tab.Released(); r.Prefix != 5 || !asked {
		t.Fatalf("released %+v, asked %v", r, asked)
	}
	if _, again := tab.NextRound(ages + Resend/2); again {
		t.Fatal("asked again at once")
	}
	if _, again := tab.NextRound(ages + 2*Resend); !again {
		t.Fatal("not asked again after an answer was lost")
	}
	tab.Confirmed(ages+3*Resend, n, 6)
	if r, _ := tab.Released(); r.Prefix != 6 {
		t.Fatalf("released %+v after a quorum confirmed", r)
	}
}
