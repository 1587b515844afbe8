package control

import (
	"context"
	"sync"
	"time"

	"dfs/cluster/fault"
	"dfs/sched/plane/link"
)

const followAgain = 200 * time.Millisecond

// watch wakes those who wait for a topic.
type watch struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]struct{}
}

func newWatch() *watch { return &watch{waiting: map[string]map[chan struct{}]struct{}{}} }

// run follows the news, again and again.
func (w *watch) run(ctx context.Context, log link.Log) {
	for ctx.Err() == nil {
		_ = log.Follow(ctx, w.tell) // however it ends: it is begun anew, and then everybody looks
		t := time.NewTimer(followAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// on returns a channel that is ready whenever the topic has changed, and how to let go of it.
func (w *watch) on(topic string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[topic] == nil {
		w.waiting[topic] = map[chan struct{}]struct{}{}
	}
	w.waiting[topic][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[topic], ch)
		if len(w.waiting[topic]) == 0 {
			delete(w.waiting, topic)
		}
	}
}

// tell wakes who waits for topics; nil: everybody.
func (w *watch) tell(topics []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if topics == nil {
		for t := range w.waiting {
			w.wakeLocked(t)
		}
	}
	for _, t := range topics {
		w.wakeLocked(t)
	}
}

func (w *watch) wakeLocked(topic string) {
	for ch := range w.waiting[topic] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// until calls look at once and after every change of topic, until it is done or fails. A way to the daemon that is broken is
// waited for. fault.Timeout when ctx's time is over.
func (w *watch) until(ctx context.Context, topic string, look func(context.Context) (done bool, err error)) error {
	changed, off := w.on(topic)
	defer off()
	for {
		done, err := look(ctx)
		if done || err != nil && !unsure(err) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return waited(ctx)
		}
	}
}

func waited(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fault.New("wait", fault.Timeout, "")
	}
	return fault.Because("wait", fault.Canceled, ctx.Err())
}
