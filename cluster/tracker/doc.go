// Package tracker will let any peer tell others of addresses beyond their own subnet, where beacons (net/discover) do not
// reach. Nothing is in it yet: a join token carries addresses, and members tell each other theirs by gossip.
package tracker
