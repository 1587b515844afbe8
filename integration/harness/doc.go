// Package harness runs clusters of real peers for tests: the programs as they are built, real mounts in the test's
// directory, real signals. It needs Linux.
//
// Whatever a test does, nothing outlives it: processes are ended by their ids, mounts are detached, and when the test
// has failed the peers' logs are printed.
package harness
