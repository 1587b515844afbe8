package coherence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/cluster/lease"
	"dfs/fs/meta"
)

// Kernel is the mount's kernel, as the driver speaks to it. InvalInode with a negative offset concerns attributes only
// and waits for an answer on its way at most; InvalEntry and InvalInode of bytes may wait for requests that the daemon has not
// answered. That the kernel does not know the inode or name is no error.
type Kernel interface {
	Has(ino meta.Ino) bool                 // the kernel holds the inode, or is being given it
	InvalAttrNow(ino meta.Ino) (told bool) // InvalInode of attributes; false where it would have to wait, or failed
	InvalInode(ino meta.Ino, off, n int64) error
	InvalEntry(dir meta.Ino, name string) error
	ExpireEpoch() error     // fault.Unsupported before Linux 6.16
	Remembered() []meta.Ino // the inodes the kernel holds
}

// CutOff says what a mount does when its lease has been gone for long.
type CutOff uint8

const (
	Fail CutOff = iota // operations fail with fault.CutOff
	Wait               // operations wait
	Read               // reads answer from the last known state; writes fail
)

// Options of a Driver.
type Options struct {
	Session     uint64
	Views       func(index uint64) (meta.View, error)
	Took        func(lease.Seen)     // what the kernel has taken in, after each change of it
	Lost        func()               // the lease was lost: others may change what this mount had to itself; nil nobody cares
	TookEarly   func(id uint64)      // everything up to what was prepared under id is taken in; may be nil
	Hurry       func()               // a reader waits for a release; may be nil
	Rejoin      func()               // the caches have been dropped: ask for a lease again
	Open        func() []meta.Ino    // the inodes that programs have open; nil none
	Now         func() time.Duration // CLOCK_BOOTTIME
	WhenCutOff  CutOff
	CutOffAfter time.Duration // default 15 s
	Log         *slog.Logger
}

const (
	cutOffAfter = 15 * time.Second
	notifyMax   = 256 // notifies that wait in the kernel at once; each is a goroutine
	poll        = 50 * time.Millisecond
	stopped     = time.Second // Run looks around at every poll: a gap so long says that this process did not run
)

// Mu is a leaf: under it only Views is called, which opens a view and reads nothing. Telling is held while Took is called,
// which must not wait for the driver.

// Driver runs one Mount: it feeds it the apply stream, carries out its notifies, and lets readers read. Safe for
// concurrent use.
type Driver struct {
	o Options

	telling sync.Mutex // orders Took; above mu
	told    lease.Seen // to Took, guarded by telling
	toldID  uint64     // to TookEarly, likewise

	mu      sync.Mutex
	kernel  Kernel // nil: nothing is cached, nothing to notify
	epoch   bool   // the kernel can expire names without a lock
	guard   Guard  // nil: nobody else sees to it that the kernel forgets
	mount   *Mount
	until   time.Duration // end of the lease; 0 none
	held    bool          // until was set and the caches have not been dropped since
	lostAt  time.Duration // when the last lease ended, or will; later by what this process was stopped since
	looked  time.Duration // when Run last looked around; 0 never
	changed chan struct{} // closed and replaced when a reader that waits should look again
	waited  bool          // somebody waits for changed
	work    chan struct{} // one slot: there are notifies, or a reset, to see to
	due     []Notify      // for Run to send
	id      uint64        // of what was last prepared
	drop    bool          // the caches are to be dropped
	dropAt  time.Duration // but not before
	stale   bool          // answers from before the lease was lost were given since the caches were dropped
	back    time.Duration // until then no such answers: the lease is about to be back
	hurry   bool          // what can be dropped without waiting is to be dropped now, too
	kept    time.Duration // no answer was given with a validity beyond it
	wary    time.Duration // the end of the lease whose end was last prepared for
	again   time.Duration // when the caches are dropped once more, for answers that were on their way; 0 not
}

// NewDriver returns a driver of a mount on a replica at applied. Without a kernel attached it takes everything in at once.
func NewDriver(applied uint64, o Options) *Driver {
	if o.CutOffAfter == 0 {
		o.CutOffAfter = cutOffAfter
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{
		o:       o,
		mount:   NewMount(o.Session, applied, true),
		lostAt:  o.Now(),
		changed: make(chan struct{}),
		work:    make(chan struct{}, 1),
	}
}

// Attach gives the driver its kernel. Call it before the kernel's first request is answered. With epoch, names can be
// expired without a lock; only then may there be a guard, nil if there is none.
func (d *Driver) Attach(k Kernel, epoch bool, g Guard) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kernel, d.epoch, d.guard = k, epoch, g
	d.mount.EpochOK(epoch, d.o.Now())
	d.watched()
}

// watched tells the guard of the lease, before anything is answered under it. Where names cannot be expired any more, for something is mounted
// inside the drive, there is nothing to guard once the last long validity is over. The caller has mu.
func (d *Driver) watched() {
	switch {
	case d.guard == nil || !d.held:
	case d.epoch:
		d.guard.Watch(d.until)
		d.kept = d.until + GuardedValidity
	case d.o.Now() < d.kept:
		d.guard.Watch(d.until)
	default:
		d.guard.Watch(0)
	}
}

// Epoch says whether names can be expired without a lock. They cannot while something is mounted inside the drive: the kernel
// would detach it.
func (d *Driver) Epoch(ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoch != ok {
		d.epoch = ok
		d.mount.EpochOK(ok, max(d.until, d.kept, d.o.Now()))
		d.watched()
	}
}

// Renew says that this mount's changes carry another session from now on.
func (d *Driver) Renew(session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mount.session = session
}

// Applied takes the changes of one log entry, in order, after its state has become readable; one without any too. What the
// kernel can take in without waiting it has taken in on return; the rest is Run's.
func (d *Driver) Applied(cs ...meta.Change) {
	d.mu.Lock()
	prepared := d.mount.prepared != nil
	d.mount.Apply(cs...)
	if prepared {
		d.look() // its release may be known already
	}
	d.mu.Unlock()
	d.follow()
}

// Prepared takes the changes of the entry after the last applied one, which may still be replaced by another. Applied or
// Unprepared follows. TookEarly is told id when the kernel has taken them in.
func (d *Driver) Prepared(id uint64, cs ...meta.Change) {
	d.mu.Lock()
	d.mount.Prepare(cs...)
	d.id = id
	d.mu.Unlock()
	d.follow()
}

// Unprepared says that what was prepared will not be applied.
func (d *Driver) Unprepared() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mount.Unprepare()
	d.look()
}

// follow sees to what a change has brought: what waits for nothing is done on return.
func (d *Driver) follow() {
	if d.notifyNow() {
		d.wake()
	}
	d.tell()
}

// notifyNow sends the notifies that wait for nothing, and reports whether others are left for Run. About an inode that the
// kernel does not hold there is nothing to tell: who gives it the inode from now on reads the state after the change.
func (d *Driver) notifyNow() (left bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.kernel
	var attrs []Notify
	for _, n := range d.mount.Notifies() {
		switch {
		case k == nil || n.Kind != ExpireEpoch && !k.Has(n.Ino):
			d.mount.Begun(n.ID)
			d.mount.Done(n.ID)
		case n.Kind == InvalAttr:
			d.mount.Begun(n.ID)
			attrs = append(attrs, n)
		default:
			d.due = append(d.due, n)
		}
	}
	for _, n := range attrs {
		d.mu.Unlock()
		told := k.InvalAttrNow(n.Ino)
		d.mu.Lock()
		if told {
			d.mount.Done(n.ID)
		} else {
			d.due = append(d.due, n)
		}
	}
	return len(d.due) > 0 || d.drop
}

// tell passes on what the kernel has taken in, if that has changed.
func (d *Driver) tell() {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.mu.Lock()
	taken, early, id := d.mount.Taken(), d.mount.Early(), d.id
	d.mu.Unlock()
	if taken.Prefix != d.told.Prefix || len(taken.Except) != len(d.told.Except) {
		d.told = taken
		d.o.Took(taken)
	}
	if early && id != d.toldID && d.o.TookEarly != nil {
		d.toldID = id
		d.o.TookEarly(id)
	}
}

// Reset says that the state was replaced by a snapshot of index.
func (d *Driver) Reset(index uint64) {
	d.mu.Lock()
	d.mount.Reset(index)
	d.lose()
	d.mu.Unlock()
	d.wake()
}

// Released takes what is known to be released.
func (d *Driver) Released(seen lease.Seen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mount.Release(seen)
	d.look()
}

// Leased takes the end of the lease; 0 says that there is none.
func (d *Driver) Leased(until time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case until > 0 && d.stale && !d.drop:
		// The kernel keeps nothing it was told meanwhile but pages; they go before the lease counts. The next renewal
		// brings it again.
		d.drop, d.dropAt = true, d.o.Now()
		d.back = d.dropAt + lease.Length
		d.wake()
	case until > 0 && !d.drop:
		d.until, d.held, d.lostAt = until, true, until
		d.watched()
		d.mount.Leased()
		d.look()
	case until == 0 && (d.held || !d.drop):
		d.lose()
		d.wake()
	}
}

// lose stops the answers and has the caches dropped. What was answered a moment ago must land first, or it would survive
// that; and where names cannot be expired, their validity must pass.
func (d *Driver) lose() {
	if d.held || !d.drop {
		d.dropAt = d.o.Now()
		if d.held {
			d.lostAt = min(d.until, d.dropAt)
			d.dropAt += DeliverySlack
			d.hurry = true
			if !d.epoch {
				d.dropAt += OldKernelValidity
			}
		}
	}
	d.held, d.until, d.drop = false, 0, true
}

// hurryUp has the kernel forget names and attributes at once. A daemon that was frozen may have had an answer in its hands,
// which the kernel takes for a fresh one when it wakes; until the caches are dropped for good, it would serve that.
func (d *Driver) hurryUp() {
	d.mu.Lock()
	k, epoch, hurry := d.kernel, d.epoch, d.hurry
	d.hurry = false
	d.mu.Unlock()
	if k != nil && hurry {
		d.forget(k, epoch)
	}
	if hurry && d.o.Lost != nil {
		d.o.Lost()
	}
}

// forget has the kernel forget names, where that needs no lock, and attributes. It returns the inodes. Names that outlast the lease
// are expired even where something is mounted inside the drive, which was mounted there within that time: rather it goes than a stale answer is given.
func (d *Driver) forget(k Kernel, epoch bool) []meta.Ino {
	d.mu.Lock()
	epoch = epoch || d.o.Now() < d.kept
	d.mu.Unlock()
	if epoch {
		d.expire(k)
	}
	inos := k.Remembered()
	var late []meta.Ino // on their way to being known: nothing else waits for them
	for _, ino := range inos {
		if !k.InvalAttrNow(ino) {
			late = append(late, ino)
		}
	}
	for _, ino := range late {
		if err := k.InvalInode(ino, -1, 0); err != nil {
			d.o.Log.Warn("kernel refused an invalidation", "ino", ino, "err", err)
		}
	}
	return inos
}

func (d *Driver) expire(k Kernel) {
	if err := k.ExpireEpoch(); err != nil {
		d.o.Log.Warn("kernel refused to expire its names", "err", err)
	}
}

// beware takes back what outlasts a lease that is about to end: names, as the guard does too, and attributes, for to what is open, or
// somebody's working directory, no name needs to lead any more. Nothing that outlasts it is given from then on.
func (d *Driver) beware(senders *sync.WaitGroup) {
	d.mu.Lock()
	k, now := d.kernel, d.o.Now()
	due := d.guard != nil && d.held && now < d.kept && d.wary != d.until && now >= d.until-GuardMargin
	if due {
		d.wary = d.until
	}
	d.mu.Unlock()
	if !due {
		return
	}
	d.expire(k)
	told := map[meta.Ino]bool{}
	tell := func(inos []meta.Ino) {
		for _, ino := range inos {
			if !told[ino] {
				told[ino] = true
				k.InvalAttrNow(ino) // what is on its way to being known was read a moment ago: dropCaches sees to it
			}
		}
	}
	if d.o.Open != nil {
		tell(d.o.Open())
	}
	senders.Go(func() { tell(k.Remembered()) }) // there may be many, and Run has to see the lease's end
}

// unguarded notices that the guard has gone: what outlasts the lease is taken back, and nothing more of the kind is given.
func (d *Driver) unguarded() {
	d.mu.Lock()
	k, g := d.kernel, d.guard
	d.mu.Unlock()
	if g == nil {
		return
	}
	select {
	case <-g.Gone():
	default:
		return
	}
	d.mu.Lock()
	d.guard, d.again = nil, d.o.Now()+guardLater
	d.mu.Unlock()
	d.o.Log.Warn("the guard of the mount has gone: what the kernel keeps, it keeps for a lease's length")
	d.forget(k, true)
}

// ForgetAll makes the kernel forget all names and attributes, though the lease goes on: what it was told has turned out not to be so.
func (d *Driver) ForgetAll() {
	d.mu.Lock()
	k, epoch := d.kernel, d.epoch
	d.again = d.o.Now() + guardLater
	d.mu.Unlock()
	if k != nil {
		d.forget(k, epoch)
	}
}

// look lets waiting readers look again.
func (d *Driver) look() {
	if d.waited {
		close(d.changed)
		d.changed, d.waited = make(chan struct{}), false
	}
}

func (d *Driver) wake() {
	select {
	case d.work <- struct{}{}:
	default:
	}
}

// Floor returns the lowest index that a reader may still ask for.
func (d *Driver) Floor() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mount.Floor()
}

// Held reports whether the mount may answer now, and until when.
func (d *Driver) Held() (until time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until, d.held && d.o.Now() < d.until
}

// CutOff reports whether there has been no lease for so long that operations no longer wait for one, and since when there is
// none. Where they always wait it is never so.
func (d *Driver) CutOff() (since time.Duration, cut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.o.Now()
	return d.lostAt, d.o.WhenCutOff != Wait && !(d.held && now < d.until) && d.patience(now) <= 0
}

// patience is how much longer operations wait for a lease. A process that was stopped, or whose machine was suspended, has
// not waited meanwhile: it has yet to try.
func (d *Driver) patience(now time.Duration) time.Duration {
	left := d.lostAt + d.o.CutOffAfter - now
	if d.looked > 0 && now-d.looked > stopped {
		left = max(left, poll)
	}
	return left
}

// Read runs fn on a view in which obj may be answered now. It waits for the lease, and while the answer is not yet
// released. fn may be run more than once; only its last run counts. Valid is how long the kernel may keep the answer, 0 not at
// all. When there was no lease for too long: fault.CutOff, or, with WhenCutOff Read, the newest state this peer has, not to be
// kept. fault.Timeout when ctx ends; else fn's error.
func (d *Driver) Read(ctx context.Context, obj Object, fn func(meta.View) error) (valid time.Duration, err error) {
	for {
		view, cache, stale, err := d.view(ctx, obj)
		if err != nil {
			return 0, err
		}
		err = fn(view)
		view.Close()
		if stale {
			return 0, err
		}
		if valid, ok := d.validity(obj, cache); ok {
			return valid, err
		}
	}
}

// Own runs fn, which answers about obj, of which this mount alone knows anything (its delegations): nothing can be pending, so
// it waits for the lease only. Valid is how long the kernel may keep the answer. Errors are those of Read.
func (d *Driver) Own(ctx context.Context, obj Object, fn func() error) (valid time.Duration, err error) {
	for {
		stale, err := d.lease(ctx)
		if err != nil {
			return 0, err
		}
		err = fn()
		if stale {
			return 0, err
		}
		d.mu.Lock()
		now := d.o.Now()
		leased := d.held && now < d.until
		if leased && d.kernel != nil {
			valid = d.keep(obj, now)
		}
		d.mu.Unlock()
		if leased {
			return valid, err
		}
	}
}

// Doubt makes the kernel forget what it knows of an inode's attributes, and not believe replies under way.
func (d *Driver) Doubt(ino meta.Ino) {
	d.mu.Lock()
	k := d.kernel
	d.mu.Unlock()
	if k == nil || k.InvalAttrNow(ino) {
		return
	}
	if err := k.InvalInode(ino, -1, 0); err != nil {
		d.o.Log.Warn("kernel refused an invalidation", "ino", ino, "err", err)
	}
}

// Ready waits for the lease, without which nothing may be done here. Errors are those of Read, and fault.CutOff where reads are
// still answered.
func (d *Driver) Ready(ctx context.Context) error {
	stale, err := d.lease(ctx)
	if err == nil && stale {
		err = d.cutOff()
	}
	return err
}

// lease waits for the lease. With stale there is none, and reads are answered all the same.
func (d *Driver) lease(ctx context.Context) (stale bool, err error) {
	for {
		d.mu.Lock()
		now := d.o.Now()
		if d.held && now < d.until {
			d.mu.Unlock()
			return false, nil
		}
		left := time.Duration(1<<63 - 1)
		if d.o.WhenCutOff != Wait {
			left = d.patience(now)
		}
		changed := d.changed
		d.waited = true
		d.mu.Unlock()
		switch {
		case left > 0:
		case d.o.WhenCutOff == Read:
			return true, nil
		default:
			return false, d.cutOff()
		}
		if err := await(ctx, changed, left); err != nil {
			return false, err
		}
	}
}

func (d *Driver) cutOff() error {
	return fault.New("read metadata", fault.CutOff, "no lease for %v: this peer cannot reach a quorum", d.o.CutOffAfter)
}

// view opens the view obj is to be read in. With stale it is one from before the lease was lost.
func (d *Driver) view(ctx context.Context, obj Object) (v meta.View, cache, stale bool, err error) {
	for {
		d.mu.Lock()
		now := d.o.Now()
		leased := d.held && now < d.until
		dec := d.mount.Read(obj)
		if leased && !dec.Wait {
			v, err = d.o.Views(dec.At) // under mu, so that Floor cannot pass it
			d.mu.Unlock()
			return v, dec.Cache, false, err
		}
		left := time.Duration(1<<63 - 1)
		if !leased && d.o.WhenCutOff != Wait {
			left = d.patience(now)
			if left <= 0 && d.o.WhenCutOff == Read && !d.drop && now >= d.back {
				d.stale = true
				v, err = d.o.Views(d.mount.Applied())
				d.mu.Unlock()
				return v, false, true, err
			}
		}
		changed := d.changed
		d.waited = true
		d.mu.Unlock()
		if leased && d.o.Hurry != nil {
			d.o.Hurry()
		}
		if left <= 0 && d.o.WhenCutOff == Read {
			left = poll // the caches are being dropped, the lease is on its way
		}
		if left <= 0 {
			return nil, false, false, d.cutOff()
		}
		if err := await(ctx, changed, left); err != nil {
			return nil, false, false, err
		}
	}
}

// await waits for a change, for the time left, or for ctx's end, which is an error.
func await(ctx context.Context, changed <-chan struct{}, left time.Duration) error {
	t := time.NewTimer(min(left, time.Second))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return fault.Because("read metadata", fault.Timeout, ctx.Err())
	}
	return nil
}

// validity returns how long an answer about obj that has just been read may be kept, or false if the lease ended
// meanwhile and it may not be given at all.
func (d *Driver) validity(obj Object, cache bool) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.o.Now()
	if !d.held || now >= d.until {
		return 0, false
	}
	if !cache || !d.mount.Clean(obj) || d.kernel == nil {
		return 0, true
	}
	return d.keep(obj, now), true
}

// keep returns how long the kernel may keep an answer about obj that is given now, under the lease. The caller has mu.
func (d *Driver) keep(obj Object, now time.Duration) time.Duration {
	valid := Keep(obj, now, d.until, d.guard != nil && d.epoch)
	if obj.kind == entry || obj.kind == list {
		if !d.epoch {
			valid = min(valid, OldKernelValidity)
		}
		d.mount.Named(obj.ino, now+valid)
	}
	return valid
}

// Hold says that a request which holds the locks of dirs, exclusively, is in the daemon's hands until end is called.
// Requests that share the lock need not be told of.
func (d *Driver) Hold(exclusive bool, dirs ...meta.Ino) (end func()) {
	if !exclusive {
		return func() {}
	}
	d.mu.Lock()
	d.mount.Hold(dirs...)
	d.mu.Unlock()
	d.wake()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.mount.Free(dirs...)
	}
}

// Clean reports whether nothing about obj is pending or unreleased.
func (d *Driver) Clean(obj Object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mount.Clean(obj)
}

// Run carries out notifies and watches the lease until ctx ends. It returns when every notify under way has come
// back: end the mount first, or they may not.
func (d *Driver) Run(ctx context.Context) error {
	var senders sync.WaitGroup
	defer senders.Wait()
	slots, quicks := make(chan struct{}, notifyMax), make(chan struct{}, notifyMax)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	// What waits for a slot is bounded by the changes of one lease, at whose end it is moot.
	var jobs []func()
	var quick []Notify // never wait for a lock, but perhaps for an answer on its way
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.work:
		case <-tick.C:
			d.watch()
			d.unguarded()
			d.beware(&senders)
			d.dropAgain()
		}
		d.hurryUp()
		if d.dropCaches(&senders) {
			jobs, quick = nil, nil
		}
		for _, n := range d.notifies() {
			switch n.Kind {
			case ExpireEpoch:
				d.send(n)
			case InvalAttr:
				quick = append(quick, n)
			default:
				jobs = append(jobs, func() { d.send(n) })
			}
		}
		// The loop itself never waits for the kernel: what frees a stuck one, the epoch and the lease, is its work.
		for len(jobs) > 0 && len(slots) < cap(slots) {
			d.start(jobs[0], slots, &senders)
			jobs = jobs[1:]
		}
		if batch := quick; len(batch) > 0 && len(quicks) < cap(quicks) {
			quick = nil
			d.start(func() {
				for _, n := range batch {
					d.send(n)
				}
			}, quicks, &senders)
		}
		d.tell()
	}
}

// start runs fn on a goroutine of Run's, in a slot.
func (d *Driver) start(fn func(), slots chan struct{}, senders *sync.WaitGroup) {
	slots <- struct{}{}
	senders.Go(func() {
		fn()
		<-slots
		d.wake()
	})
}

// watch notices that the lease has run out and lets old kernels' validities pass.
func (d *Driver) watch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.o.Now()
	if d.held && now >= d.until {
		d.lose()
	}
	if gap := now - d.looked; d.looked > 0 && gap > stopped {
		d.lostAt += gap
	}
	d.looked = now
	d.mount.Tick(now)
	d.mount.Sweep(now)
}

// Taken returns what the kernel has taken in.
func (d *Driver) Taken() lease.Seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mount.Taken()
}

// notifies returns what Run is to send.
func (d *Driver) notifies() []Notify {
	d.notifyNow() // also what a reader, a request or a tick has made of what was told before
	d.mu.Lock()
	defer d.mu.Unlock()
	due := d.due
	d.due = nil
	return due
}

// send tells the kernel one thing and waits until it has acted on it.
func (d *Driver) send(n Notify) {
	d.mu.Lock()
	k := d.kernel
	d.mount.Begun(n.ID)
	d.mu.Unlock()
	if k != nil {
		if err := tell(k, n); err != nil {
			// Not acknowledging is safe: the leader waits for this mount's lease to run out, and then the
			// caches are dropped.
			d.o.Log.Warn("kernel refused an invalidation", "ino", n.Ino, "name", n.Name, "err", err)
			return
		}
	}
	d.mu.Lock()
	d.mount.Done(n.ID)
	d.mu.Unlock()
}

func tell(k Kernel, n Notify) error {
	switch n.Kind {
	case InvalAttr:
		return k.InvalInode(n.Ino, -1, 0)
	case InvalBytes:
		return k.InvalInode(n.Ino, 0, 0)
	case InvalEntry:
		return k.InvalEntry(n.Ino, n.Name)
	}
	return k.ExpireEpoch()
}

// dropCaches makes the kernel forget everything after the lease was lost, and asks for a new one. Validities have run
// out with the lease; names and attributes are expired all the same. Pages are dropped behind the
// rejoining, because a read that waits for the lease holds one: until then a read finds that the attributes
// have expired and drops the pages of a file that changed. It reports whether it was time to.
func (d *Driver) dropCaches(senders *sync.WaitGroup) bool {
	d.mu.Lock()
	k, epoch, drop := d.kernel, d.epoch, d.drop && (d.kernel == nil || d.o.Now() >= d.dropAt)
	d.mu.Unlock()
	if !drop {
		return false
	}
	if k != nil {
		inos := d.forget(k, epoch)
		senders.Add(1)
		go func() {
			defer senders.Done()
			for _, ino := range inos {
				_ = k.InvalInode(ino, 0, 0) // the attributes are gone already, so this is only the sooner the better
			}
		}()
	}
	d.mu.Lock()
	d.drop, d.stale, d.due = false, false, nil
	if d.kept > 0 { // however long ago: an answer in the hands of a process that was stopped lasts from when it lands
		d.again = d.o.Now() + guardLater
	}
	d.mount.Dropped()
	d.mu.Unlock()
	d.o.Log.Info("lease lost; caches dropped")
	d.o.Rejoin()
	return true
}

// dropAgain drops names and attributes once more, a while after they were dropped: an answer that was longer on its way than DeliverySlack, and
// outlasts the lease, has landed by then.
func (d *Driver) dropAgain() {
	d.mu.Lock()
	k, epoch := d.kernel, d.epoch
	due := d.again > 0 && d.o.Now() >= d.again
	if due {
		d.again = 0
	}
	d.mu.Unlock()
	if due && k != nil {
		d.forget(k, epoch)
	}
}
