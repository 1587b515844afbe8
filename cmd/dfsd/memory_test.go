package main

import (
	"runtime/debug"
	"testing"
)

// The daemon's heap is bounded more tightly than a Go program's, unless its environment says otherwise.
func TestHeapIsBounded(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	boundHeap(func(name string) (string, bool) { return "200", name == "GOGC" })
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("%d although GOGC is set", got)
	}
	boundHeap(func(string) (string, bool) { return "", false })
	if got := debug.SetGCPercent(100); got != heapGrowth {
		t.Errorf("%d, not %d", got, heapGrowth)
	}
}
