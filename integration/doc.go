// Package integration has tests that run whole clusters: the programs as they are built, real mounts, real signals,
// power cuts on a disk image. Its packages hold the rules of the tree, count tests, and compare speeds.
package integration
