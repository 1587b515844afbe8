package coherence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/fs/meta"
)

// kernel is a fake Kernel that writes down what it is told, and does not come back where it is told not to.
type kernel struct {
	mu    sync.Mutex
	told  []string
	stuck map[string]chan struct{} // by what it is told
	fails map[string]bool
	knows []meta.Ino
	bare  bool // it holds no inode
}

func (k *kernel) tell(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	k.mu.Lock()
	k.told = append(k.told, what)
	wait, fails := k.stuck[what], k.fails[what]
	k.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if fails {
		return fault.New("notify", fault.Other, "no")
	}
	return nil
}

func (k *kernel) InvalInode(ino meta.Ino, off, _ int64) error {
	if off < 0 {
		return k.tell("attr %d", ino)
	}
	return k.tell("bytes %d", ino)
}
func (k *kernel) InvalEntry(dir meta.Ino, name string) error { return k.tell("name %d %s", dir, name) }
func (k *kernel) Has(meta.Ino) bool                          { return !k.bare }
func (k *kernel) InvalAttrNow(ino meta.Ino) bool {
	k.mu.Lock()
	waits := k.stuck[fmt.Sprintf("attr %d", ino)] != nil
	k.mu.Unlock()
	return !waits && k.InvalInode(ino, -1, 0) == nil
}
func (k *kernel) ExpireEpoch() error     { return k.tell("epoch") }
func (k *kernel) Remembered() []meta.Ino { return k.knows }

// heard returns what the kernel was told since the last call.
func (k *kernel) heard() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.told
	k.told = nil
	return told
}

// view is a fake meta.View of which only the index is asked.
type view struct {
	meta.View
	index uint64
}

func (v view) Index() uint64 { return v.index }
func (v view) Close()        {}

// bench is a driver under test, inside a synctest bubble.
type bench struct {
	*Driver
	t       *testing.T
	k       *kernel
	start   time.Time
	away    atomic.Int64 // for how long this process was stopped, or its machine suspended
	rejoins int
	took    []lease.Seen
	stop    func()
}

// drive runs test with a driver at index 4 that has no lease yet.
func drive(t *testing.T, o Options, epoch bool, test func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, start: time.Now(), k: &kernel{stuck: map[string]chan struct{}{}, fails: map[string]bool{}}}
		o.Session = me
		o.Views = func(index uint64) (meta.View, error) {
			if floor := b.mount.Floor(); index < floor {
				t.Errorf("asked for index %d below the floor %d", index, floor)
			}
			return view{index: index}, nil
		}
		o.Now = b.now
		o.Rejoin = func() { b.rejoins++ }
		o.Took = func(s lease.Seen) { b.took = append(b.took, s) }
		b.Driver = NewDriver(4, o)
		b.Released(lease.NewSeen(4, nil))
		b.Attach(b.k, epoch, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		b.stop = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		defer b.stop()
		test(b)
	})
}

func (b *bench) now() time.Duration { return time.Since(b.start) + time.Duration(b.away.Load()) }

// lease grants one that ends d from now.
func (b *bench) lease(d time.Duration) { b.Leased(b.now() + d) }

// answer is what a Read came to.
type answer struct {
	index uint64
	valid time.Duration
	err   error
	runs  int
}

// ask reads obj in the background; each run of the reader takes so long.
func (b *bench) ask(obj Object, takes time.Duration) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		var a answer
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		a.valid, a.err = b.Read(ctx, obj, func(v meta.View) error {
			a.index = v.Index()
			a.runs++
			time.Sleep(takes)
			return nil
		})
		ch <- a
	}()
	synctest.Wait()
	return ch
}

// pending fails if the answer is there already.
func (b *bench) pending(ch <-chan answer, why string) {
	b.t.Helper()
	synctest.Wait()
	select {
	case a := <-ch:
		b.t.Fatalf("answered %+v: %s", a, why)
	default:
	}
}

// got fails unless the answer is there.
func (b *bench) got(ch <-chan answer) answer {
	b.t.Helper()
	synctest.Wait()
	select {
	case a := <-ch:
		return a
	default:
		b.t.Fatal("no answer")
		return answer{}
	}
}

func TestAReadWaitsForTheLease(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		ch := b.ask(Attr(fileF), 0)
		b.pending(ch, "there is no lease")
		time.Sleep(time.Second)
		b.lease(2 * time.Second)
		if a := b.got(ch); a != (answer{index: 4, valid: 2*time.Second - DeliverySlack, runs: 1}) {
			t.Fatalf("%+v", a)
		}
	})
}

func TestAReadWaitsForTheRelease(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.Applied(create(5, other, "a"))
		synctest.Wait()
		if taken := b.Taken(); taken.Prefix != 5 || !slices.Contains(b.k.heard(), "name 10 a") {
			t.Fatalf("taken %+v", taken)
		}
		if len(b.took) == 0 || b.took[len(b.took)-1].Prefix != 5 {
			t.Fatalf("the leader is told %+v", b.took)
		}
		ch := b.ask(Entry(dirD, "a"), 0)
		b.pending(ch, "the change is not released")
		if a := b.got(b.ask(Attr(fileF), 0)); a.index != 5 || a.valid == 0 {
			t.Fatalf("another object: %+v", a)
		}
		b.Released(lease.NewSeen(5, nil))
		if a := b.got(ch); a.index != 5 || a.valid != 2*time.Second-DeliverySlack {
			t.Fatalf("%+v", a)
		}
	})
}

func TestWhatTheKernelCannotHaveItIsNotTold(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.k.bare = true
		b.k.heard()
		b.Applied(create(5, other, "a"))
		if taken := b.Taken(); taken.Prefix != 5 || len(b.took) == 0 || b.took[len(b.took)-1].Prefix != 5 {
			t.Fatalf("taken %+v, the leader is told %+v: nothing is to be waited for", taken, b.took)
		}
		if synctest.Wait(); len(b.k.heard()) > 0 {
			t.Fatal("told of inodes it does not have")
		}
		b.pending(b.ask(Entry(dirD, "a"), 0), "the change is not released")
		b.Released(lease.NewSeen(5, nil))
	})
}

func TestAnAnswerFromBeforeAChangeIsNotKept(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.k.stuck["name 10 a"] = make(chan struct{})
		b.Applied(create(5, other, "a"))
		synctest.Wait()
		if a := b.got(b.ask(Entry(dirD, "a"), 0)); a.index != 4 || a.valid != 0 {
			t.Fatalf("%+v", a)
		}
		if f := b.Floor(); f != 4 {
			t.Fatalf("floor %d", f)
		}
		close(b.k.stuck["name 10 a"])
		synctest.Wait()
		if f := b.Floor(); f != 5 {
			t.Fatalf("floor %d", f)
		}
	})
}

// A change that comes while the answer is being read takes its validity.
func TestAChangeDuringTheReadTakesTheValidity(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		ch := b.ask(Attr(fileF), 100*time.Millisecond)
		b.Applied(meta.Change{Index: 5, Session: other, Attrs: []meta.Ino{fileF}})
		time.Sleep(100 * time.Millisecond)
		if a := b.got(ch); a.index != 4 || a.valid != 0 {
			t.Fatalf("%+v", a)
		}
	})
}

func TestValidityNeverOutlivesTheLease(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		for _, takes := range []time.Duration{0, 300, 700, 900} {
			ch := b.ask(Attr(fileF), takes*time.Millisecond)
			time.Sleep(takes * time.Millisecond)
			if a, left := b.got(ch), b.until-b.now(); a.valid != left-DeliverySlack || a.runs != 1 {
				t.Fatalf("%+v, the lease has %v left", a, left)
			}
		}
		// The lease ends while it is read: not given, read again under the next lease.
		ch := b.ask(Attr(fileF), 300*time.Millisecond)
		time.Sleep(time.Second)
		b.pending(ch, "there is no lease")
		b.lease(time.Second)
		time.Sleep(300 * time.Millisecond)
		if a := b.got(ch); a.runs != 2 || a.valid != 700*time.Millisecond-DeliverySlack {
			t.Fatalf("%+v", a)
		}
	})
}

func TestNamesAreKeptShortOnOldKernels(t *testing.T) {
	drive(t, Options{}, false, func(b *bench) {
		b.lease(2 * time.Second)
		for _, c := range []struct {
			obj  Object
			want time.Duration
		}{
			{Entry(dirD, "a"), OldKernelValidity},
			{List(dirD), OldKernelValidity},
			{Attr(fileF), 2*time.Second - DeliverySlack},
			{Bytes(fileF), 2*time.Second - DeliverySlack},
		} {
			if a := b.got(b.ask(c.obj, 0)); a.valid != c.want {
				t.Errorf("%v: valid %v, want %v", c.obj, a.valid, c.want)
			}
		}
	})
}

// The time without a lease counts from its end, however long ago the last read was.
func TestCutOffFails(t *testing.T) {
	drive(t, Options{WhenCutOff: Fail, CutOffAfter: 5 * time.Second}, true, func(b *bench) {
		for range 20 { // a quiet mount
			b.lease(2 * time.Second)
			time.Sleep(time.Second)
		}
		time.Sleep(1500 * time.Millisecond) // lost half a second ago
		ch := b.ask(Attr(fileF), 0)
		time.Sleep(4400 * time.Millisecond)
		b.pending(ch, "it was cut off for less than 5 s")
		time.Sleep(200 * time.Millisecond)
		if a := b.got(ch); !errors.Is(a.err, fault.CutOff) || a.runs != 0 {
			t.Fatalf("%+v", a)
		}
		if a := b.got(b.ask(Attr(fileF), 0)); !errors.Is(a.err, fault.CutOff) {
			t.Fatalf("%+v", a)
		}
		b.lease(2 * time.Second)
		if a := b.got(b.ask(Attr(fileF), 0)); a.err != nil || a.valid != 2*time.Second-DeliverySlack {
			t.Fatalf("after the lease is back: %+v", a)
		}
	})
}

// Whoever was stopped has not waited: its programs get answers as soon as the lease is back, not errors on waking.
func TestAProcessThatWasStoppedWasNotCutOff(t *testing.T) {
	drive(t, Options{WhenCutOff: Fail, CutOffAfter: 5 * time.Second}, true, func(b *bench) {
		b.lease(2 * time.Second)
		time.Sleep(time.Second)
		b.away.Add(int64(time.Hour))
		ch := b.ask(Attr(fileF), 0)
		b.pending(ch, "it has not even tried")
		if _, cut := b.CutOff(); cut {
			t.Fatal("cut off on waking")
		}
		time.Sleep(3 * time.Second)
		b.pending(ch, "the lease was away for 3 s")
		b.lease(2 * time.Second)
		if a := b.got(ch); a.err != nil {
			t.Fatalf("%+v", a)
		}
		b.away.Add(int64(time.Hour))
		ch = b.ask(Attr(fileF), 0)
		time.Sleep(8 * time.Second)
		if a := b.got(ch); !errors.Is(a.err, fault.CutOff) {
			t.Fatalf("%+v", a)
		}
	})
}

func TestALeaseThatIsTakenBackEndsAtOnce(t *testing.T) {
	drive(t, Options{WhenCutOff: Fail, CutOffAfter: time.Second}, true, func(b *bench) {
		b.lease(2 * time.Second)
		time.Sleep(100 * time.Millisecond)
		b.Leased(0)
		ch := b.ask(Attr(fileF), 0)
		b.pending(ch, "the lease was taken back")
		time.Sleep(time.Second)
		if a := b.got(ch); !errors.Is(a.err, fault.CutOff) {
			t.Fatalf("%+v", a)
		}
	})
}

func TestCutOffWaits(t *testing.T) {
	drive(t, Options{WhenCutOff: Wait, CutOffAfter: time.Second}, true, func(b *bench) {
		ch := b.ask(Attr(fileF), 0)
		time.Sleep(30 * time.Second)
		b.pending(ch, "it is to wait")
		time.Sleep(31 * time.Second) // the asker's patience
		if a := b.got(ch); !errors.Is(a.err, fault.Timeout) || a.runs != 0 {
			t.Fatalf("%+v", a)
		}
	})
}

func TestCutOffReadsTheLastKnownState(t *testing.T) {
	drive(t, Options{WhenCutOff: Read, CutOffAfter: time.Second}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.Applied(create(5, other, "a")) // never released
		synctest.Wait()
		ch := b.ask(Entry(dirD, "a"), 0)
		time.Sleep(2900 * time.Millisecond)
		b.pending(ch, "it was cut off for less than a second")
		time.Sleep(1100 * time.Millisecond)
		if a := b.got(ch); a.err != nil || a.index != 5 || a.valid != 0 {
			t.Fatalf("%+v", a)
		}
	})
}

// What was read while cut off leaves the kernel before anything read under the new lease gets in.
func TestStaleAnswersGoWithTheNextLease(t *testing.T) {
	drive(t, Options{WhenCutOff: Read, CutOffAfter: time.Second}, true, func(b *bench) {
		b.k.knows = []meta.Ino{fileF}
		b.lease(2 * time.Second)
		time.Sleep(4 * time.Second)
		if since, cut := b.CutOff(); !cut || since != 2*time.Second {
			t.Fatalf("cut off %v since %v", cut, since)
		}
		b.k.heard()
		b.lease(2 * time.Second)
		synctest.Wait()
		if told := b.k.heard(); len(told) > 0 {
			t.Fatalf("nothing stale was answered, but the kernel was told %v", told)
		}
		time.Sleep(4 * time.Second)
		if a := b.got(b.ask(Attr(fileF), 0)); a.err != nil || a.valid != 0 {
			t.Fatalf("%+v", a)
		}
		b.k.heard()
		b.lease(2 * time.Second)
		ch := b.ask(Attr(fileF), 0)
		b.pending(ch, "neither stale nor leased")
		time.Sleep(100 * time.Millisecond)
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", fmt.Sprintf("attr %d", fileF), fmt.Sprintf("bytes %d", fileF)}) {
			t.Fatalf("the kernel was told %v", told)
		}
		b.lease(2 * time.Second)
		if a := b.got(ch); a.err != nil || a.valid == 0 {
			t.Fatalf("%+v", a)
		}
		if _, cut := b.CutOff(); cut {
			t.Fatal("cut off with a lease")
		}
	})
}

func TestALostLeaseDropsEveryCache(t *testing.T) {
	for _, epoch := range []bool{true, false} {
		drive(t, Options{}, epoch, func(b *bench) {
			b.k.knows = []meta.Ino{dirD, fileF}
			b.lease(time.Second)
			b.k.stuck["name 10 a"] = make(chan struct{})
			b.Applied(create(5, other, "a"))
			synctest.Wait()
			b.k.heard()
			b.Leased(0)
			b.Leased(0)
			b.lease(time.Second) // an old grant, come late: nothing may be answered before the caches are gone
			slack := DeliverySlack
			if !epoch {
				slack += OldKernelValidity
			}
			time.Sleep(slack - time.Millisecond)
			synctest.Wait()
			// What needs no waiting is forgotten at once, in case this daemon was frozen with an answer in its hands.
			told := b.k.heard()
			for _, want := range []string{"attr 10", "attr 11"} {
				if !slices.Contains(told, want) {
					t.Errorf("epoch=%v: told %v, not %s", epoch, told, want)
				}
			}
			if slices.Contains(told, "epoch") != epoch || slices.Contains(told, "bytes 11") || b.rejoins != 0 {
				t.Fatalf("epoch=%v: told %v, %d rejoins before the last answer has landed", epoch, told, b.rejoins)
			}
			if _, held := b.Held(); held {
				t.Fatal("held although the caches are not dropped")
			}
			time.Sleep(2 * poll)
			synctest.Wait()
			told = b.k.heard()
			for _, want := range []string{"attr 10", "attr 11", "bytes 10", "bytes 11"} {
				if !slices.Contains(told, want) {
					t.Errorf("epoch=%v: told %v, not %s", epoch, told, want)
				}
			}
			if slices.Contains(told, "epoch") != epoch || b.rejoins != 1 {
				t.Errorf("epoch=%v: told %v, %d rejoins", epoch, told, b.rejoins)
			}
			if taken := b.Taken(); taken.Prefix != 5 {
				t.Errorf("taken %+v", taken)
			}
			time.Sleep(time.Second)
			if b.rejoins != 1 {
				t.Errorf("%d rejoins", b.rejoins)
			}
			b.Released(lease.NewSeen(5, nil))
			b.lease(time.Second)
			if a := b.got(b.ask(Entry(dirD, "a"), 0)); a.index != 5 || a.valid == 0 {
				t.Errorf("%+v", a)
			}
			close(b.k.stuck["name 10 a"])
		})
	}
}

func TestALeaseThatRunsOutIsNoticed(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(time.Second)
		time.Sleep(time.Second + DeliverySlack + 2*poll)
		synctest.Wait()
		if b.rejoins != 1 {
			t.Fatalf("%d rejoins", b.rejoins)
		}
	})
}

// After a snapshot nothing is answered before all of it is released, under a new lease.
func TestASnapshotDropsEveryCache(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.Reset(9)
		time.Sleep(DeliverySlack + 2*poll)
		synctest.Wait()
		if b.rejoins != 1 || b.Floor() != 9 {
			t.Fatalf("%d rejoins, floor %d", b.rejoins, b.Floor())
		}
		b.lease(2 * time.Second)
		ch := b.ask(Attr(fileF), 0)
		b.pending(ch, "the snapshot is not released")
		b.Released(lease.NewSeen(9, nil))
		if a := b.got(ch); a.index != 9 {
			t.Fatalf("%+v", a)
		}
	})
}

// A directory that the kernel holds, and more names in it than there are senders, stops neither other objects nor
// what would free it.
func TestAStuckKernelStopsNothingElse(t *testing.T) {
	drive(t, Options{}, false, func(b *bench) {
		b.lease(2 * time.Second)
		stuck := make(chan struct{})
		index := uint64(4)
		for i := range notifyMax + 50 {
			b.k.stuck[fmt.Sprint("name 12 ", i)] = stuck
		}
		for i := range notifyMax + 50 {
			index++
			name := fmt.Sprint(i)
			b.Applied(meta.Change{Index: index, Session: other, Names: []meta.Name{{Dir: dirE, Name: name}}})
		}
		b.ask(Entry(dirE, "x"), 0) // nothing of that directory is kept while it is so
		index++
		b.Applied(meta.Change{Index: index, Session: other, Attrs: []meta.Ino{fileF}})
		synctest.Wait()
		if taken := b.Taken(); !taken.Has(index) || taken.Has(5) {
			t.Fatalf("taken %d and %d exceptions", taken.Prefix, len(taken.Except))
		}
		time.Sleep(OldKernelValidity + DeliverySlack + 3*poll) // what was handed out has run out
		synctest.Wait()
		if taken := b.Taken(); taken.Prefix != index {
			t.Fatalf("taken %d of %d", taken.Prefix, index)
		}
		close(stuck)
		b.stop()
	})
}

// A request of ours that holds the directory would be waited for by a name notify: all names are expired instead.
func TestTheEpochStandsInWhereTheDirectoryIsHeld(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(2 * time.Second)
		b.k.stuck["name 10 a"] = make(chan struct{})
		end := b.Hold(true, dirD)
		b.Applied(create(5, other, "a"))
		synctest.Wait()
		if taken := b.Taken(); taken.Prefix != 5 || !slices.Contains(b.k.heard(), "epoch") {
			t.Fatalf("taken %+v", taken)
		}
		close(b.k.stuck["name 10 a"])
		end()
		b.Hold(false, dirD)()
		b.Applied(create(6, other, "b"))
		synctest.Wait()
		if told := b.k.heard(); b.Taken().Prefix != 6 || slices.Contains(told, "epoch") {
			t.Fatalf("told %v with nothing held", told)
		}
	})
}

// An invalidation that fails is not acknowledged: the lease runs out, which drops everything.
func TestARefusedInvalidationIsNotTakenIn(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(time.Second)
		b.k.fails["bytes 11"] = true
		b.Applied(meta.Change{Index: 5, Session: other, Data: []meta.Data{{Ino: fileF}}})
		synctest.Wait()
		if b.Taken().Has(5) {
			t.Fatal("taken in")
		}
		time.Sleep(time.Second + DeliverySlack + 2*poll)
		synctest.Wait()
		if b.Taken().Prefix != 5 || b.rejoins != 1 {
			t.Fatalf("taken %+v, %d rejoins", b.Taken(), b.rejoins)
		}
	})
}

func TestRunEndsWhenTheLastNotifyIsBack(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.lease(time.Second)
		b.k.stuck["bytes 11"] = make(chan struct{})
		b.Applied(meta.Change{Index: 5, Session: other, Data: []meta.Data{{Ino: fileF}}})
		synctest.Wait()
		ended := make(chan struct{})
		go func() { b.stop(); close(ended) }()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("ended while a notify was under way")
		default:
		}
		close(b.k.stuck["bytes 11"])
		<-ended
	})
}

// Without a kernel everything is taken in at once and nothing may be kept.
func TestWithoutAKernel(t *testing.T) {
	drive(t, Options{}, true, func(b *bench) {
		b.Driver.Attach(nil, true, nil)
		b.lease(time.Second)
		b.Applied(create(5, other, "a"))
		b.Released(lease.NewSeen(5, nil))
		synctest.Wait()
		if a := b.got(b.ask(Entry(dirD, "a"), 0)); b.Taken().Prefix != 5 || a.index != 5 || a.valid != 0 {
			t.Fatalf("taken %+v, %+v", b.Taken(), a)
		}
	})
}
