package lease

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"dfs/cluster"
)

// town is a leader and some holders whose messages are late, lost and out of order.
type town struct {
	rng     *rand.Rand
	now     time.Duration
	commit  uint64
	tab     *Table
	past    []*Table // of the last two leaders who do not know that they are none any more
	own     uint64   // of the leader's term
	holders []*Holder
	seen    []Seen // what each kernel has taken in
	stuck   []bool
	mail    []func()
}

// later has fn happen at some time, or never.
func (w *town) later(fn func()) {
	if w.rng.IntN(10) > 0 {
		w.mail = append(w.mail, fn)
	}
}

func (w *town) elect(sudden bool) {
	var members []cluster.PeerID
	for i := range w.holders {
		members = append(members, id(byte(i)))
	}
	if w.tab != nil {
		w.past = append(w.past[max(0, len(w.past)-1):], w.tab)
	}
	w.tab, w.own = NewTable(w.now, members, sudden), w.commit+1
	for _, h := range w.holders {
		h.LeaderChanged()
	}
}

func (w *town) step() {
	w.now += time.Duration(w.rng.IntN(150)) * time.Millisecond
	tab := w.tab
	switch w.rng.IntN(150) {
	case 0:
		w.elect(false)
		return
	case 1:
		i := w.rng.IntN(len(w.holders))
		w.stuck[i] = !w.stuck[i]
	case 2:
		i := w.rng.IntN(len(w.holders))
		w.holders[i].Installed(w.commit)
		w.seen[i] = NewSeen(w.commit, nil)
	}
	w.commit += uint64(w.rng.IntN(3))
	if w.commit >= w.own {
		tab.Committed(w.now, w.commit, w.own)
	}
	for i, h := range w.holders {
		if h.State(w.now) == Lost && w.rng.IntN(4) == 0 {
			w.seen[i] = NewSeen(w.commit, nil) // its caches are dropped
			h.Took(w.seen[i], nil)
			h.Rejoin()
		}
		if !w.stuck[i] && w.rng.IntN(2) == 0 && w.seen[i].Prefix < w.commit {
			w.take(i)
			h.Took(w.seen[i], nil)
		}
		if r, due := h.Report(w.now); due {
			w.later(func() {
				if w.tab == tab {
					tab.Reported(w.now, id(byte(i)), r)
				}
			})
		}
	}
	if n, wanted := tab.NextRound(w.now); wanted {
		at := w.commit
		w.later(func() {
			if w.tab == tab {
				tab.Confirmed(w.now, n, at)
			}
		})
	}
	for _, l := range tab.Letters() {
		h := w.holders[l.To[0]]
		w.later(func() { h.Granted(w.now, l.Grant) })
	}
	released, _ := tab.Released()
	for _, h := range w.holders {
		w.later(func() { h.Release(Release{released}) })
	}
	for range len(w.mail)*2/3 + 1 {
		if len(w.mail) > 0 {
			k := w.rng.IntN(len(w.mail))
			fn := w.mail[k]
			w.mail = append(w.mail[:k], w.mail[k+1:]...)
			fn()
		}
	}
	tab.Tick(w.now)
	for _, old := range w.past {
		old.Tick(w.now)
	}
}

// take has a kernel take in what is next, or something beyond.
func (w *town) take(i int) {
	s := w.seen[i]
	next := s.Prefix + 1
	if w.rng.IntN(3) == 0 && next+1 <= w.commit {
		next++
	}
	w.seen[i] = s.union(Seen{Except: []uint64{next}})
}

// Nothing is ever released that a mount with a running lease has not taken in; and everything is, in the end.
func TestHistories(t *testing.T) {
	held := 0
	for seed := range uint64(80) {
		w := &town{rng: rand.New(rand.NewPCG(seed, 5)), commit: 1}
		for i := range 3 {
			w.holders = append(w.holders, NewHolder(true, uint64(i+1)*1000))
			w.seen, w.stuck = append(w.seen, Seen{}), append(w.stuck, false)
		}
		w.elect(false)
		for k := range 600 {
			w.step()
			released, _ := w.tab.Released()
			for _, old := range w.past {
				more, _ := old.Released()
				released = released.union(more)
			}
			for i, h := range w.holders {
				if h.State(w.now) != Held {
					continue
				}
				held++
				if got := w.seen[i].union(released); !reflect.DeepEqual(got, w.seen[i]) {
					t.Fatalf("seed %d, step %d: released %+v, but mount %d has seen %+v and answers until %v at %v",
						seed, k, released, i, w.seen[i], h.Until(), w.now)
				}
			}
		}
		for range 3 { // everyone is stuck for good: one lease later nobody is waited for
			w.now += Length + Slack
			w.tab.Committed(w.now, max(w.commit, w.own), w.own)
			pass(w.tab, w.now, w.commit)
		}
		if r, _ := w.tab.Released(); r.Prefix != max(w.commit, w.own) {
			t.Fatalf("seed %d: %+v of %d is released", seed, r, w.commit)
		}
	}
	if held < 5_000 {
		t.Fatalf("leases were held in %d steps only", held)
	}
}

func FuzzGrant(f *testing.F) {
	f.Add((&Grant{Epoch: 3, Seq: 9, Refused: true, Released: Seen{5, []uint64{9}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var g, again Grant
		if g.Decode(b) != nil {
			return
		}
		if err := again.Decode(g.Append(nil)); err != nil || !reflect.DeepEqual(again, g) {
			t.Fatalf("%+v became %+v, %v", g, again, err)
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add((&Release{Seen{5, []uint64{9, 1 << 40}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Release
		if m.Decode(b) != nil {
			return
		}
		if err := again.Decode(m.Append(nil)); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
