// Package raft is the log that all peers share: what is in it, everyone applies, in the same order.
//
// It knows nothing of files. Bodies go in at any peer (Propose), reach the leader, are put into entries, many at a
// time, synced by a majority, applied by every peer's Machine, and are answered once every mount that holds a lease
// has taken them in. Session and Seq of a Proposal make it happen once, however often it was sent.
//
// There are two layers:
//
//	Core    decides. It owns the consensus library (etcd's, as a pure state machine), both ends of the leases, what was
//	        proposed and is not settled, who is a member. Events go in, Effects come out; no goroutine, clock, network or
//	        disk is in it, so a simulator can play several of them against each other and repeat what it saw.
//	Group   acts. Whoever has an event for the Core works on it himself, one at a time, and sends what comes of it;
//	        one goroutine writes the log (package wal), one owns the Machine, one lets time pass.
//
// What a peer promises to others is on its disk before the promise leaves: the consensus library's asynchronous
// storage protocol attaches each promise to the write it depends on. A leader sends entries while it writes them
// itself. An entry is applied only where it is synced.
//
// On paper: an op costs one sync at the leader and one at each follower, at the same time, and one round trip. Followers
// prepare an entry while they sync it (Preparer), their kernels take in what it will change, and the acknowledgement says so
// (lease.Early): once the entry is committed it is released. That it is committed, and released, the followers hear with
// the next entry, or after Later, or at once if somebody there waits (Hurry). So in a stream of ops each follower
// receives one message an op and sends one, each a TLS record: one system call for the sender, two for the receiver. An entry
// that comes before the one ahead of it is committed is not prepared, and costs a round more: for the commit, and
// for the reports. While a sync runs the next entry gathers what comes (256 ops, 512 KiB).
//
// Memory: the log's data up to wal.Options.CacheBytes, 32 MiB of entries not yet committed, 4 MiB being applied, 1024
// proposals of this peer, 8192 of others at the leader.
package raft
