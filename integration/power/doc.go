// Package power cuts the power of a peer's whole storage, hundreds of times: log, state, segments and their index on a
// real ext4 or XFS, under the file system's own code, in mid-load.
//
// Each round a process of its own opens what the last cut left, says what it finds, and works on: it creates, writes,
// syncs, replaces and deletes, and tells on a pipe what it begins and what it was promised. At some moment the file
// system under it stops, as if the power had failed, and the process is killed. The test keeps the account:
//
//	what fsync returned for is there, or something later that was being written
//	what was renamed over something else is there whole, without any fsync
//	a name that was made or removed stays so
//	what was only written may be lost; it is an I/O error then, never zeros, never other bytes, and it stays one
//
// The peer has no network and no kernel mount here: a cut costs a third of a second, so that there can be many. Cuts
// under whole daemons are in package integration.
package power
