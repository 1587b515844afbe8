package coherence

import (
	"time"

	"dfs/fs/meta"
)

// What a kernel was told it answers by itself, whatever has become of the daemon, so no validity may outlast the lease; and
// leases are short, so that nobody waits long for a mount that has fallen silent. A guard parts the two: another process that holds the mount's
// device and has the kernel forget every name just before a lease ends that was not renewed. Under a guard names and attributes are valid for
// longer than a lease. A program then needs the daemon for every path, and that one gives no answer without a lease.
//
// Not reached that way, and so not given such validities, is the root, which no name leads to. Attributes to which no name need lead any more (of what
// is open, of working directories, of directories that are mounted elsewhere) are taken back by the daemon at the same moment; where the daemon is what
// was frozen, they are the exception that users are told of.

const (
	// GuardedValidity is how long a kernel may keep names and attributes under a guard. Programs that come back to a file sooner cost no request.
	GuardedValidity = 10 * time.Second
	// GuardMargin is how long before the end of a lease the guard begins: its process must be woken by then, and nothing that is kept longer is
	// given from then on.
	GuardMargin = 150 * time.Millisecond
)

// Guard makes the kernel forget its names when a lease runs out, whatever has become of this process. Names must be expirable without a lock.
type Guard interface {
	// Watch says that the lease ends then. It must not block.
	Watch(lease time.Duration)
	// Gone is closed when there is no guard any more.
	Gone() <-chan struct{}
}

const (
	guardAgain = 50 * time.Millisecond  // between a guard's acts once it has begun: answers that were in the daemon's hands may reach the kernel in between
	guardIdle  = 100 * time.Millisecond // between its looks for a lease; less than GuardMargin, or it could sleep through the end of one
	guardLater = time.Second            // by then whatever was on its way to the kernel has landed
)

// GuardDue says what a guard does now, given when the newest lease it was told of ends (0: none yet): whether it has the kernel forget all names,
// and when it looks again.
func GuardDue(now, lease time.Duration) (expire bool, wait time.Duration) {
	switch begin := lease - GuardMargin; {
	case lease == 0 || now > lease+GuardedValidity+guardLater:
		return false, guardIdle
	case now < begin:
		return false, begin - now
	default:
		return true, guardAgain
	}
}

// Keep returns how long a kernel may keep an answer about obj that is given now, under a lease that ends at until.
func Keep(obj Object, now, until time.Duration, guarded bool) time.Duration {
	left := until - now
	if guarded && left > GuardMargin && (obj.kind == entry || obj.kind == attr && obj.ino != meta.Root) {
		return GuardedValidity
	}
	return max(0, left-DeliverySlack)
}
