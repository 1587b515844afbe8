package coherence

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dfs/fs/meta"
)

func TestGuardDue(t *testing.T) {
	const lease = time.Hour
	begin := lease - GuardMargin
	for _, c := range []struct {
		what   string
		now    time.Duration
		lease  time.Duration
		expire bool
		wait   time.Duration
	}{
		{"nothing to guard", lease, 0, false, guardIdle},
		{"a lease runs", begin - time.Second, lease, false, time.Second},
		{"it is about to end", begin, lease, true, guardAgain},
		{"it has ended", lease + time.Millisecond, lease, true, guardAgain},
		{"what outlasted it may still be on its way", lease + GuardedValidity, lease, true, guardAgain},
		{"all of it is over", lease + GuardedValidity + guardLater + 1, lease, false, guardIdle},
	} {
		if expire, wait := GuardDue(c.now, c.lease); expire != c.expire || wait != c.wait {
			t.Errorf("%s: %v, %v", c.what, expire, wait)
		}
	}
}

// Whenever a new lease begins, the guard looks again before anything that outlasts it could be given too late.
func TestAGuardSleepsThroughNoLease(t *testing.T) {
	const lease = time.Hour
	for now := lease - GuardMargin; now < lease+2*GuardedValidity; now += poll {
		if _, wait := GuardDue(now, lease); wait >= GuardMargin {
			t.Fatalf("%v after a lease it sleeps for %v", now-lease, wait)
		}
	}
	if _, wait := GuardDue(lease, 0); wait >= GuardMargin {
		t.Fatalf("before the first lease it sleeps for %v", wait)
	}
}

// guard is a fake Guard that writes down what it is told.
type guard struct {
	mu      sync.Mutex
	watched time.Duration
	gone    chan struct{}
}

func (g *guard) Watch(lease time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watched = lease
}

func (g *guard) Gone() <-chan struct{} { return g.gone }

func (g *guard) lease() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.watched
}

// guarded runs test with a driver whose kernel has a guard, and the inode fileF open.
func guarded(t *testing.T, test func(*bench, *guard)) {
	o := Options{Open: func() []meta.Ino { return []meta.Ino{fileF} }}
	drive(t, o, true, func(b *bench) {
		g := &guard{gone: make(chan struct{})}
		b.Attach(b.k, true, g)
		b.k.knows = []meta.Ino{fileF}
		test(b, g)
	})
}

func TestUnderAGuardValidityOutlastsTheLease(t *testing.T) {
	guarded(t, func(b *bench, g *guard) {
		b.lease(time.Second)
		if g.lease() != b.now()+time.Second {
			t.Fatalf("the guard watches %v", g.lease())
		}
		for obj, want := range map[Object]time.Duration{
			Attr(fileF):      GuardedValidity,
			Entry(dirD, "a"): GuardedValidity,
			List(dirD):       time.Second - DeliverySlack,
			Attr(meta.Root):  time.Second - DeliverySlack,
		} {
			if a := b.got(b.ask(obj, 0)); a.valid != want {
				t.Errorf("%v is valid for %v", obj, a.valid)
			}
		}
		time.Sleep(time.Second - GuardMargin)
		if a := b.got(b.ask(Attr(fileF), 0)); a.valid != GuardMargin-DeliverySlack {
			t.Errorf("when the guard begins it is valid for %v", a.valid)
		}
	})
}

// Names and what is open are taken back before the lease ends, everything after it, and once more for what was on its way.
func TestWhatOutlastsALeaseIsTakenBackInTime(t *testing.T) {
	guarded(t, func(b *bench, _ *guard) {
		b.lease(time.Second)
		time.Sleep(800 * time.Millisecond)
		b.lease(time.Second)
		if told := b.k.heard(); len(told) > 0 {
			t.Fatalf("under a lease that is renewed it was told %q", told)
		}
		time.Sleep(time.Second - GuardMargin + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11"}) {
			t.Fatalf("before the lease's end: %q", told)
		}
		time.Sleep(GuardMargin + DeliverySlack + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11", "epoch", "attr 11", "bytes 11"}) || b.rejoins != 1 {
			t.Fatalf("after it: %q", told)
		}
		time.Sleep(guardLater + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11"}) {
			t.Fatalf("a while after it: %q", told)
		}
	})
}

// A working directory is reached without a name, as what is open is, and nobody knows of it but the kernel.
func TestAttributesOfWhatIsNotOpenAreTakenBackToo(t *testing.T) {
	guarded(t, func(b *bench, _ *guard) {
		b.k.knows = []meta.Ino{fileF, dirD}
		b.lease(time.Second)
		time.Sleep(time.Second - GuardMargin + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11", "attr 10"}) {
			t.Fatalf("before the lease's end: %q", told)
		}
	})
}

// What the kernel is about to be given does not keep the rest from being taken back.
func TestAnAnswerOnItsWayHoldsUpNoOther(t *testing.T) {
	guarded(t, func(b *bench, _ *guard) {
		b.k.knows = []meta.Ino{fileF, dirD}
		b.k.stuck["attr 11"] = make(chan struct{})
		b.lease(time.Second)
		time.Sleep(time.Second + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 10", "epoch", "attr 10", "attr 11"}) {
			t.Errorf("told %q", told)
		}
		close(b.k.stuck["attr 11"])
	})
}

// A process that was stopped with an answer in its hands gives it when it goes on, and it lasts from then.
func TestWhatASleeperHasInItsHandsIsTakenBack(t *testing.T) {
	guarded(t, func(b *bench, _ *guard) {
		b.lease(time.Second)
		b.away.Add(int64(3 * GuardedValidity))
		time.Sleep(DeliverySlack + 2*poll)
		synctest.Wait()
		if b.k.heard(); b.rejoins != 1 {
			t.Fatalf("it asked for %d leases", b.rejoins)
		}
		time.Sleep(guardLater + poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11"}) {
			t.Fatalf("a while after it: %q", told)
		}
	})
}

func TestWithoutItsGuardAMountKeepsNothingLong(t *testing.T) {
	guarded(t, func(b *bench, g *guard) {
		b.lease(time.Minute)
		close(g.gone)
		time.Sleep(2 * poll)
		synctest.Wait()
		if told := b.k.heard(); !slices.Equal(told, []string{"epoch", "attr 11"}) {
			t.Fatalf("told %q", told)
		}
		b.lease(time.Second)
		if a := b.got(b.ask(Attr(fileF), 0)); a.valid != time.Second-DeliverySlack {
			t.Fatalf("valid for %v", a.valid)
		}
	})
}

// Where something is mounted inside the drive its names cannot be expired without harm: soon the guard has nothing to do.
func TestAMountInsideEndsTheGuardsWork(t *testing.T) {
	guarded(t, func(b *bench, g *guard) {
		b.lease(time.Second)
		end := b.now() + time.Second
		b.Epoch(false)
		if a := b.got(b.ask(Entry(dirD, "a"), 0)); a.valid != OldKernelValidity {
			t.Fatalf("valid for %v", a.valid)
		}
		for b.now() < end+GuardedValidity {
			b.lease(time.Second)
			if g.lease() == 0 {
				t.Fatalf("given up %v early", end+GuardedValidity-b.now())
			}
			time.Sleep(time.Second / 2)
		}
		b.lease(time.Second)
		if g.lease() != 0 {
			t.Fatalf("still watches %v at %v", g.lease(), b.now())
		}
		b.Epoch(true)
		if a := b.got(b.ask(Entry(dirD, "a"), 0)); a.valid != GuardedValidity || g.lease() != b.until {
			t.Fatalf("valid for %v, and the guard watches %v of %v", a.valid, g.lease(), b.until)
		}
	})
}
