package plane

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/osmodel/banker"
	"dfs/osmodel/kv"
)

// world is the machine behind a log of its own, one proposal an entry.
type world struct {
	t      *testing.T
	m      *state.Machine
	kv     *mem.Store
	index  uint64
	seq    uint64
	change *Change // of the last op; nil if it changed nothing
	alarms map[uint64]Alarm
}

const daemon = 77 // the session everything is proposed in

func newWorld(t testing.TB) *world {
	w := &world{kv: mem.New(), alarms: map[uint64]Alarm{}}
	w.t, _ = t.(*testing.T)
	m, err := state.New(w.kv, state.Options{Parts: map[byte]state.Part{state.TagPlane: Part{}}})
	if err != nil {
		t.Fatal(err)
	}
	w.m = m
	m.Follow(w)
	w.seq++
	w.index++
	if _, err := m.Apply(w.index, []raft.Proposal{{Session: daemon, Seq: w.seq, Low: 1, Body: state.Encode(state.OpenSession{Peer: cluster.PeerID{1}})}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) Applied(a state.Applied) {
	w.change = nil
	for _, c := range a.Changes {
		if ch, ok := c.What.(*Change); ok {
			w.change = ch
			for _, x := range ch.Armed {
				w.alarms[x.ID] = x
			}
			for _, id := range ch.Disarmed {
				delete(w.alarms, id)
			}
		}
	}
}

func (w *world) Reset(uint64) {}

// raw proposes a body.
func (w *world) raw(body []byte) (Result, error) {
	w.seq++
	w.index++
	rs, err := w.m.Apply(w.index, []raft.Proposal{{Session: daemon, Seq: w.seq, Low: w.seq, Time: int64(w.index) * 1000, Body: body}})
	if err != nil {
		panic(fmt.Sprintf("the replica stops: %v", err))
	}
	return ResultOf(rs[0])
}

func (w *world) do(op Op) (Result, error) { return w.raw(Encode(op)) }

func (w *world) ok(op Op) Result {
	w.t.Helper()
	r, err := w.do(op)
	if err != nil {
		w.t.Fatalf("%s: %v", nameOf(op), err)
	}
	return r
}

func (w *world) fails(kind fault.Kind, op Op) {
	w.t.Helper()
	if r, err := w.do(op); !errors.Is(err, kind) {
		w.t.Fatalf("%s: %+v, %v; want %v", nameOf(op), r, err, kind)
	}
}

func (w *world) session(owner string) uint64 {
	w.t.Helper()
	return w.ok(&Open{TTL: ttl(time.Minute), Owner: owner}).ID
}

// ring lets an alarm's time be over.
func (w *world) ring(id uint64) {
	w.t.Helper()
	a, ok := w.alarms[id]
	if !ok {
		w.t.Fatalf("no alarm %d", id)
	}
	w.ok(&Ring{ID: id, Stamp: a.Stamp})
}

func (w *world) view() View {
	r, _ := w.m.At(0)
	if w.t != nil {
		w.t.Cleanup(r.Close)
	}
	return NewView(r)
}

func set(k, v string) *Commit {
	return &Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: k, Value: []byte(v)}}}}
}

func (w *world) get(k string) string {
	w.t.Helper()
	e, ok, err := w.view().Get(k)
	if err != nil {
		w.t.Fatal(err)
	}
	if !ok {
		return "-"
	}
	return string(e.Value)
}

// dump is all of the plane's state.
func (w *world) dump() []byte {
	var b []byte
	r, _ := w.m.At(0)
	defer r.Close()
	if err := r.Scan(Prefix(), nil, func(k, v []byte) bool {
		b = fmt.Appendf(b, "%x=%x\n", k, v)
		return true
	}); err != nil {
		panic(err)
	}
	return b
}

func TestSessionsEndWithWhatTheyHave(t *testing.T) {
	w := newWorld(t)
	w.ok(&CreateSemaphore{Name: "s", Permits: 1})
	w.ok(&CreateQueue{Name: "q"})
	w.ok(&SetResource{Name: "cpu", Total: 4})
	empty := w.dump()
	s := w.session("one")
	w.ok(&Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: "mine", Lease: s}}}})
	w.ok(&Wait{Name: "s", Session: s, Ask: 1, Permits: 1})
	w.ok(&Wait{Name: "s", Session: s, Ask: 2, Permits: 1})
	w.ok(&Subscribe{Name: "q", Session: s})
	w.ok(&Broadcast{Name: "q", Body: []byte("copy")})
	w.ok(&Send{Name: "q", Body: []byte("work")})
	w.ok(&Receive{Name: "q", Session: s, Own: true})
	w.ok(&Receive{Name: "q", Session: s})
	w.ok(&Register{Name: "p", Session: s, Claim: []Amount{{"cpu", 2}}})
	w.ok(&RequestUnits{Name: "p", Want: []Amount{{"cpu", 1}}})
	if ss, _ := w.view().Session(s); ss.Owned != 6 {
		t.Fatalf("%+v", ss)
	}
	stale := w.alarms[s]
	w.ok(&Renew{Sessions: []uint64{s}})
	w.ok(&Ring{ID: s, Stamp: stale.Stamp})
	if _, err := w.view().Session(s); err != nil {
		t.Fatal("an alarm that was set anew rang: ", err)
	}
	w.ring(s)
	if w.get("mine") != "-" {
		t.Fatal("its key is left")
	}
	if sem, _ := w.view().Semaphore("s"); sem.Free() != 1 || len(sem.Waiters) != 0 {
		t.Fatalf("%+v", sem)
	}
	q, _ := w.view().Queue("q")
	if q.Ready != 1 || q.Flying != 0 || q.Bytes != 4 || len(q.Subscribers) != 0 {
		t.Fatalf("%+v", q)
	}
	if b, _ := w.view().Bank(); len(b.Processes) != 0 {
		t.Fatalf("%+v", b)
	}
	r := w.ok(&Receive{Name: "q"})
	w.ok(&Settle{Name: "q", Receipt: r.ID})
	if r := w.ok(&Renew{Sessions: []uint64{s}}); len(r.Gone) != 1 {
		t.Fatalf("%+v", r)
	}
	w.fails(fault.Stale, &Wait{Name: "s", Session: s, Ask: 9, Permits: 1})
	if len(w.alarms) != 0 {
		t.Fatalf("alarms are left: %v", w.alarms)
	}
	// But for counters, the history and the queue's numbers everything is as it was.
	if n, before := bytes.Count(w.dump(), []byte("\n")), bytes.Count(empty, []byte("\n")); n != before+2 {
		t.Fatalf("%d records, %d before:\n%s", n, before, w.dump())
	}
}

func TestTheSharedMemory(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.ok(set(fmt.Sprintf("k%d", i), "v"))
	}
	es, err := w.view().List("k", "k1", 2)
	if err != nil || len(es) != 2 || es[0].Key != "k2" || es[1].Key != "k3" {
		t.Fatalf("%+v %v", es, err)
	}
	if es, _ := w.view().List("x", "", 2); es != nil {
		t.Fatalf("%+v", es)
	}
	r := w.ok(&Commit{Txn: kv.Txn{
		If:   []kv.Condition{{Key: "k0", Field: kv.Version, Number: 1}},
		Then: []kv.Step{{Do: kv.Set, Key: "k0", Value: []byte("w")}, {Do: kv.Delete, Key: "k1"}, {Do: kv.Get, Key: "k2"}},
	}})
	if !r.KV.Held || r.Revision != 6 || len(r.KV.Found) != 3 || r.KV.Found[0].Value != nil || string(r.KV.Found[2].Value) != "v" {
		t.Fatalf("%+v", r.KV)
	}
	events, err := w.view().Since(6, 1)
	if err != nil || len(events) != 2 || !events[1].Deleted || w.change.Topics[0] != TopicKeys {
		t.Fatalf("%+v %v", events, err)
	}
	w.fails(fault.Invalid, set("", ""))
	w.fails(fault.Invalid, set(string(make([]byte, KeyMax+1)), ""))
	w.fails(fault.TooBig, set("k", string(make([]byte, ValueMax+1))))
	w.fails(fault.Stale, &Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: "k", Lease: 999}}}})
	big := &Commit{}
	for i := range 3 {
		w.ok(set(fmt.Sprint("big", i), string(make([]byte, ValueMax))))
		big.Then = append(big.Then, kv.Step{Do: kv.Get, Key: fmt.Sprint("big", i)})
	}
	w.fails(fault.TooBig, big)
}

func TestTheHistoryIsBounded(t *testing.T) {
	w := newWorld(t)
	for range HistoryMax + 10 {
		w.ok(set("k", ""))
	}
	if _, err := w.view().Since(10, 1); !errors.Is(err, fault.Stale) {
		t.Fatal(err)
	}
	es, err := w.view().Since(11, HistoryMax+1)
	if err != nil || len(es) != HistoryMax || es[0].Modified != 11 {
		t.Fatalf("%d, %v", len(es), err)
	}
	c, _ := w.view().counters()
	if c.Events != HistoryMax {
		t.Fatalf("%+v", c)
	}
}

// The store in memory answers as the machine does, whatever is asked.
func TestTheSharedMemoryIsTheModel(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w, model := newWorld(t), kv.NewStore(kv.Options{History: 1 << 20})
	key := func() string { return fmt.Sprint("k", rng.IntN(6)) }
	value := func() []byte { return fmt.Append(nil, rng.IntN(3)) }
	for range 1500 {
		var x kv.Txn
		for range rng.IntN(3) {
			x.If = append(x.If, kv.Condition{Key: key(), Field: kv.Field(rng.IntN(4)), Is: kv.Relation(rng.IntN(4)), Number: rng.Uint64N(4), Value: value(), Absent: rng.IntN(4) == 0})
		}
		for _, steps := range []*[]kv.Step{&x.Then, &x.Else} {
			for range rng.IntN(4) {
				*steps = append(*steps, kv.Step{Do: kv.Action(rng.IntN(3)), Key: key(), Value: value()})
			}
		}
		want, err := model.Commit(x)
		if err != nil {
			t.Fatal(err)
		}
		want.Events, want.Found = nil, shown(x, want)
		got := w.ok(&Commit{Txn: x})
		if !bytes.Equal(encode(&Result{KV: &want}), encode(&Result{KV: got.KV})) || got.Revision != model.Revision() {
			t.Fatalf("%+v, want %+v", got.KV, want)
		}
	}
	es, err := w.view().List("", "", 100)
	if err != nil || fmt.Sprint(es) != fmt.Sprint(model.List("", "", 100)) {
		t.Fatalf("%v, want %v", es, model.List("", "", 100))
	}
	all, err := w.view().Since(1, 1<<20)
	mine, merr := model.Since(1, 1<<20)
	if err != nil || merr != nil || fmt.Sprint(all) != fmt.Sprint(mine) {
		t.Fatal("the histories differ", err, merr)
	}
}

// broken panics after it has written.
type broken struct{ Resume }

func (*broken) apply(m *machine) (Result, error) {
	m.put(key(keyEntry, "half"), nil)
	panic("a bug")
}

func TestAPanicStopsThePlaneAlone(t *testing.T) {
	w := newWorld(t)
	w.ok(set("k", "v"))
	verbs = append(verbs, func() Op { return &broken{} })
	defer func() { verbs = verbs[:len(verbs)-1] }()
	w.fails(fault.Closed, &broken{})
	if w.get("half") != "-" || w.get("k") != "v" {
		t.Fatal("what the panic had written is kept")
	}
	if w.change == nil || w.change.Topics[0] != TopicPlane {
		t.Fatal("nobody is told")
	}
	w.fails(fault.Closed, set("k", "w"))
	w.index++
	w.seq++
	if rs, err := w.m.Apply(w.index, []raft.Proposal{{Session: 5, Seq: 1, Low: 1, Body: state.Encode(state.OpenSession{Peer: cluster.PeerID{2}})}}); err != nil {
		t.Fatal("the log stopped: ", err)
	} else if _, err := state.DecodeResult(rs[0]); err != nil {
		t.Fatal("the facts stopped: ", err)
	}
	w.ok(&Resume{})
	w.ok(set("k", "w"))
}

// The same ops make the same bytes, whichever way they come to be applied.
func TestReplayMakesTheSameBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	a, b := newWorld(t), newWorld(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 1200 {
		body := Encode(randomOp(rng, a))
		ra, ea := a.raw(body)
		rb, eb := b.raw(body)
		if !bytes.Equal(encode(&ra), encode(&rb)) || fmt.Sprint(ea) != fmt.Sprint(eb) {
			t.Fatalf("%+v %v, and %+v %v", ra, ea, rb, eb)
		}
	}
	if !bytes.Equal(a.dump(), b.dump()) {
		t.Fatal("the states differ")
	}
	checkCounts(t, a)
}

// randomOp is an op that has a chance to succeed.
func randomOp(rng *rand.Rand, w *world) Op {
	name := func() string { return fmt.Sprint("n", rng.IntN(3)) }
	sessions, _ := w.view().Sessions()
	session := func() uint64 {
		if len(sessions) == 0 || rng.IntN(20) == 0 {
			return 0
		}
		return sessions[rng.IntN(len(sessions))].ID
	}
	alarm := func() (a Alarm) {
		all, _ := w.view().Alarms()
		if len(all) > 0 {
			a = all[rng.IntN(len(all))]
		}
		return a
	}
	token := func() uint64 {
		s, _ := w.view().Semaphore(name())
		if len(s.Holders) == 0 {
			return 0
		}
		return s.Holders[rng.IntN(len(s.Holders))].Token
	}
	amounts := func() []Amount { return []Amount{{name(), rng.Int64N(4)}, {name(), rng.Int64N(3)}} }
	n := rng.Uint64N(3)
	a := alarm()
	ops := []Op{
		&Open{TTL: ttl(time.Second), Owner: name()}, &Renew{Sessions: []uint64{session(), session()}}, &Ring{ID: a.ID, Stamp: a.Stamp},
		set(name(), fmt.Sprint(n)), &Commit{Txn: kv.Txn{Then: []kv.Step{{Do: kv.Set, Key: name(), Lease: session()}, {Do: kv.Delete, Key: name()}}},
			Fences: []Fence{{name(), token()}}},
		&CreateSemaphore{Name: name(), Permits: n}, &DeleteSemaphore{Name: name(), Force: rng.IntN(20) == 0},
		&Wait{Name: name(), Session: session(), Ask: n, Permits: 1 + n, Try: n == 0, Avoid: n == 1},
		&Wait{Name: name(), Session: session(), Ask: n + 3, Permits: 1}, &CancelWait{Name: name(), Session: session(), Ask: n},
		&Signal{Name: name(), Token: token(), Permits: n}, &Signal{Name: name(), Token: token()},
		&CreateQueue{Name: name(), MessagesMax: 5, TriesMax: n, Dead: map[bool]string{true: name()}[n > 0]},
		&DeleteQueue{Name: name(), Force: rng.IntN(30) == 0}, &Send{Name: name(), Body: []byte("m"), Key: map[bool]string{true: fmt.Sprint(rng.IntN(9))}[n > 0]},
		&Send{Name: name(), Body: []byte("mm")}, &Broadcast{Name: name(), Body: []byte("b")}, &Subscribe{Name: name(), Session: session()},
		&Receive{Name: name(), Session: session(), Own: n == 0}, &Receive{Name: name()}, &Settle{Name: a.Queue + map[bool]string{true: "n0"}[a.Queue == ""], Receipt: a.ID, How: uint8(n)},
		&SetResource{Name: name(), Total: rng.Int64N(9)}, &Register{Name: name(), Session: session(), Claim: amounts()},
		&RequestUnits{Name: name(), Want: amounts()}, &ReleaseUnits{Name: name(), Give: amounts(), All: rng.IntN(5) == 0}, &CancelRequest{Name: name()},
		&CreateArena{Name: name(), Fit: "next", Size: 10}, &Allocate{Arena: name(), Name: name(), Size: rng.Int64N(5)}, &Free{Arena: name(), Name: name()},
		&Compact{Arena: name()}, &DeleteArena{Name: name()},
	}
	return ops[rng.IntN(len(ops))]
}

// checkCounts compares what is counted with what is there.
func checkCounts(t *testing.T, w *world) {
	t.Helper()
	v := w.view()
	c, _ := v.counters()
	entries, _ := v.List("", "", 1<<20)
	sessions, _ := v.Sessions()
	sems, _ := v.Semaphores()
	queues, _ := v.Queues()
	arenas, _ := v.Arenas()
	bytes := 0
	for _, e := range entries {
		bytes += len(e.Key) + len(e.Value)
	}
	got := []uint64{c.Keys, c.KeyBytes, c.Sessions, c.Semaphores, c.Queues, c.Arenas}
	want := []uint64{uint64(len(entries)), uint64(bytes), uint64(len(sessions)), uint64(len(sems)), uint64(len(queues)), uint64(len(arenas))}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, there are %v", got, want)
	}
	flying := 0
	for _, q := range queues {
		ready, _ := v.Ready(q, 1<<20)
		fly, _ := v.Flying(q, 1<<20)
		for _, s := range q.Subscribers {
			if own, _ := w.copies(q.Name, s); own > 0 {
				ready = append(ready, make([]Message, own)...)
			}
		}
		flying += len(fly)
		if int(q.Ready) != len(ready) || int(q.Flying) != len(fly) {
			t.Errorf("%s: counted %d and %d, there are %d and %d", q.Name, q.Ready, q.Flying, len(ready), len(fly))
		}
	}
	alarms, _ := v.Alarms()
	if len(alarms) != flying+len(sessions) || len(alarms) != len(w.alarms) {
		t.Errorf("%d alarms, %d told, %d sessions and %d messages in flight", len(alarms), len(w.alarms), len(sessions), flying)
	}
	for _, s := range sessions {
		if int(s.Owned) != w.count(key(keyOwned, s.ID)) {
			t.Errorf("session %d: counted %d things", s.ID, s.Owned)
		}
	}
}

func (w *world) copies(queue string, session uint64) (int, error) {
	return w.count(key(keyMessage, queue, end, session)), nil
}

func (w *world) count(prefix []byte) (n int) {
	r, _ := w.m.At(0)
	defer r.Close()
	if err := r.Scan(prefix, nil, func(_, _ []byte) bool { n++; return true }); err != nil {
		panic(err)
	}
	return n
}

// Whatever arrives from a peer is refused or carried out, and never stops the plane.
func FuzzOps(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := newWorld(f)
	for range 200 {
		op := randomOp(rng, w)
		w.do(op)
		f.Add(Encode(op))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		op, err := Decode(body)
		if err == nil {
			if again, err := Decode(Encode(op)); err != nil || !bytes.Equal(Encode(again), Encode(op)) {
				t.Fatalf("%+v is encoded as another: %+v, %v", op, again, err)
			}
		}
		w.raw(body)
		if why, stopped, err := w.view().Stopped(); stopped || err != nil {
			t.Fatalf("the plane has stopped: %s %v", why, err)
		}
	})
}

// G36: a holder that was paused past its session's end writes too late, whoever holds the semaphore by then.
func TestFencing(t *testing.T) {
	w := newWorld(t)
	w.ok(&CreateSemaphore{Name: "s", Permits: 1, Binary: true})
	paused, other := w.session("paused"), w.session("other")
	under := func(token uint64, v string) *Commit {
		c := set("file", v)
		c.Fences = []Fence{{"s", token}}
		return c
	}
	first := w.ok(&Wait{Name: "s", Session: paused, Ask: 1, Permits: 1})
	if r := w.ok(under(first.ID, "first")); !r.KV.Held {
		t.Fatal("the holder is fenced off")
	}
	if r := w.ok(&Wait{Name: "s", Session: other, Ask: 1, Permits: 1}); r.Outcome != Waits {
		t.Fatalf("%+v", r)
	}
	w.ring(paused)
	second := w.ok(&Wait{Name: "s", Session: other, Ask: 1, Permits: 1})
	if second.Outcome != Done || second.ID <= first.ID {
		t.Fatalf("%+v after %+v", second, first)
	}
	if r := w.ok(under(second.ID, "second")); !r.KV.Held {
		t.Fatal("the new holder is fenced off")
	}
	if r := w.ok(under(first.ID, "late")); r.KV.Held || w.get("file") != "second" {
		t.Fatal("a late write counted")
	}
	w.fails(fault.Stale, &Signal{Name: "s", Token: first.ID})
	w.fails(fault.Stale, &Wait{Name: "s", Session: paused, Ask: 2, Permits: 1})
}

// A wait that was taken back and arrives only afterwards is refused.
func TestLateWaits(t *testing.T) {
	w := newWorld(t)
	w.ok(&CreateSemaphore{Name: "s", Permits: 1})
	s := w.session("")
	if r := w.ok(&CancelWait{Name: "s", Session: s, Ask: 7}); r.Outcome != Waits {
		t.Fatalf("%+v", r)
	}
	w.fails(fault.Stale, &Wait{Name: "s", Session: s, Ask: 7, Permits: 1})
	r := w.ok(&Wait{Name: "s", Session: s, Ask: 8, Permits: 1})
	if again := w.ok(&Wait{Name: "s", Session: s, Ask: 8, Permits: 1}); again.ID != r.ID {
		t.Fatal("a repeated wait is another one")
	}
}

func TestWhoWaitsIsServedInOrder(t *testing.T) {
	w := newWorld(t)
	w.ok(&CreateSemaphore{Name: "s", Permits: 3})
	s := w.session("")
	first := w.ok(&Wait{Name: "s", Session: s, Ask: 1, Permits: 2})
	for ask, n := range map[uint64]uint64{2: 3} {
		w.ok(&Wait{Name: "s", Session: s, Ask: ask, Permits: n})
	}
	if r := w.ok(&Wait{Name: "s", Session: s, Ask: 3, Permits: 1}); r.Outcome != Waits {
		t.Fatal("one that needs little overtakes")
	}
	w.ok(&Signal{Name: "s", Token: first.ID})
	sem, _ := w.view().Semaphore("s")
	if len(sem.Holders) != 1 || sem.Holders[0].Ask != 2 || len(sem.Waiters) != 1 {
		t.Fatalf("%+v", sem)
	}
	w.ok(&Signal{Name: "s", Permits: 1}) // a permit more
	if sem, _ = w.view().Semaphore("s"); len(sem.Holders) != 2 || sem.Free() != 0 {
		t.Fatalf("%+v", sem)
	}
}

// The matrix algorithm of the model, on full matrices, finds the same as the sparse one here.
func TestTheGraphIsTheModel(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for range 500 {
		g := NewGraph()
		free := make([]int64, 3)
		for r := range free {
			free[r] = rng.Int64N(2)
			g.Resource(fmt.Sprint("r", r), free[r])
		}
		holders := make([]banker.Holder, 5)
		for p := range holders {
			h := &holders[p]
			h.ID = fmt.Sprint("p", p)
			for r := range free {
				h.Allocated, h.Request = append(h.Allocated, rng.Int64N(2)), append(h.Request, rng.Int64N(3)*rng.Int64N(2))
				if h.Allocated[r] > 0 {
					g.Holds(h.ID, fmt.Sprint("r", r), h.Allocated[r], uint64(p))
				}
				if h.Request[r] > 0 {
					g.Wants(h.ID, fmt.Sprint("r", r), h.Request[r], uint64(p))
				}
			}
		}
		want, _ := banker.Detect(free, holders)
		got := g.names(g.stuck())
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		d := g.Check()
		for _, p := range d.Deadlocked {
			if !slices.Contains(want, p) {
				t.Fatalf("%s is not deadlocked: %+v", p, d)
			}
		}
		if len(d.Deadlocked) > 0 {
			found++
			if len(d.Victims) == 0 || len(d.Cycles) == 0 {
				t.Fatalf("%+v", d)
			}
		}
	}
	if found == 0 {
		t.Fatal("nothing was ever deadlocked")
	}
}
