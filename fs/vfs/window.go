package vfs

import "sync"

// largeRun is the size from which a run's memory is a whole window's: it is about to grow, and memory that grows is copied.
const largeRun = 1 << 20

// windows are window buffers that no run uses; the garbage collector takes what is left there for long.
var windows = sync.Pool{New: func() any { return new([windowBytes]byte) }}

// newWindow returns empty memory for a window.
func newWindow() []byte { return windows.Get().(*[windowBytes]byte)[:0] }

// reuse gives back the memory of runs whose bytes nobody reads any more.
func reuse(runs []run) {
	for i := range runs {
		if cap(runs[i].data) == windowBytes {
			windows.Put((*[windowBytes]byte)(runs[i].data[:windowBytes]))
			runs[i].data = nil
		}
	}
}
