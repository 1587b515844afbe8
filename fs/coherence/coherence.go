// Package coherence keeps a mount's answers, and its kernel's, in step with every other mount's.
//
// A change goes through three moments on each mount: it is applied to the local replica; it is taken in, when the
// kernel has forgotten all it knew of what changed; and it is released, when the leader knows that every mount
// has taken it in. Whoever made the change hears of it when it is released. So the rule for an answer about one
// object is:
//
//	changed, not taken in:            the state before the change, and the kernel must not keep it
//	taken in, not released:           wait for the release
//	neither:                          the state now, and the kernel may keep it while the lease lasts
//
// Then no answer anywhere shows a change before every kernel has dropped the old state, and none shows the old
// state after the change's author was told.
//
// An entry may be prepared before it is known to be committed: then it counts as changed, the kernel takes it in as usual, and
// from then on an answer waits until it is applied as well as released, or replaced by another.
//
// Mount is this rule as a pure state machine: changes, finished notifies, requests and releases go in; notifies
// for the kernel come out. Driver is the thin loop around it. Changes of one object are taken in in their order, so
// waiting is always for a smaller index and cannot go in circles; the one exception is the directory lock, which the
// kernel holds for a request of ours that waits for its own release. A name notify in that directory would wait for it.
// Then all names of the mount are expired at once, which needs no lock (FUSE_NOTIFY_INC_EPOCH, Linux 6.16), or, before that,
// the longest validity handed out for a name of that directory is waited out, and kept short in advance. The same is done,
// a moment later, for every name notify that does not come back: renames hold one directory while they wait for another,
// and look-ups hold them too, which no daemon can see.
//
// An op that failed, was repeated or changed nothing answers with what was there before it, so it is taken in, and released,
// after all of that. One thing is promised less: while a mount changes a name, its own programs may see the old meaning until
// the kernel has the reply, others the new one already.
//
// The rules are numbers 1 to 16 of the coherence design. sim plays this package, the leases, the log and a
// fake kernel against each other over many seeds.
package coherence

import "time"

const (
	// OldKernelValidity bounds the validity of names where the epoch cannot be expired.
	OldKernelValidity = 250 * time.Millisecond
	// DeliverySlack is how much later than computed a validity may begin: the reply is still on its way.
	DeliverySlack = 50 * time.Millisecond
)
