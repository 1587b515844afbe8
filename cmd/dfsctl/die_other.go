//go:build !linux

package main

import "os/exec"

// dieWith does nothing: a command outlives a dfsctl that is killed here.
func dieWith(*exec.Cmd) {}
