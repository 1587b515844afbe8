// Package guard is the process that has a kernel forget its names when a lease ends and the daemon does not see to it (coherence.Guard): a daemon
// that is frozen cannot.
//
// The daemon starts it when it has mounted, before it answers requests. Both share a page of memory in which the daemon writes when the
// lease ends; a renewal costs one store, and the guard two wake-ups a second. It holds a descriptor of the mount's FUSE device, for the one
// notify that it sends, and one end of a socket. When the daemon ends, however it does, the guard expires the names a last time and ends at once: a device
// that somebody has open is not given up by the kernel.
//
// It is no child of the daemon's, has a session of its own and does not name the data directory, so that what stops a peer's processes does
// not stop it. Where it is stopped all the same, a frozen or killed daemon's kernel may answer from its cache for coherence.GuardedValidity.
package guard
