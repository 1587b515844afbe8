package vfs

import "sync"

// tasks owns the goroutines of background work. Before Run and after it, work is done by whoever asks for it, so
// that nothing outlives Run and nothing is forgotten without it.
type tasks struct {
	mu   sync.Mutex
	open bool
	wg   sync.WaitGroup
}

// run runs fn in a goroutine of Run, or right here.
func (t *tasks) run(fn func()) {
	if !t.start(fn) {
		fn()
	}
}

// start runs fn in a goroutine of Run, if there is one.
func (t *tasks) start(fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open {
		t.wg.Go(fn)
	}
	return t.open
}

// begin lets start succeed.
func (t *tasks) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = true
}

// end returns when every goroutine has ended; later work is done by its callers.
func (t *tasks) end() {
	t.mu.Lock()
	t.open = false
	t.mu.Unlock()
	t.wg.Wait()
}
