package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bounds of what memberlist may say: a stranger can have it say a line for every packet.
const (
	logLines = 10
	logEvery = 10 * time.Second
)

// logWriter turns memberlist's log lines into records. Its errors are mostly other peers' failures, which are
// ordinary here: nothing of it is above Info, and of that at most logLines in logEvery.
type logWriter struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	lines int // since then
	left  int // out, since then
}

func (w *logWriter) Write(line []byte) (int, error) {
	text, level := string(line), slog.LevelDebug
	if strings.Contains(text, "[ERR]") || strings.Contains(text, "[WARN]") {
		level = slog.LevelInfo
	}
	if level == slog.LevelInfo && !w.may() {
		level = slog.LevelDebug
	}
	if _, after, ok := strings.Cut(text, "memberlist: "); ok {
		text = after
	}
	w.log.Log(context.Background(), level, "gossip", "text", strings.TrimSpace(text))
	return len(line), nil
}

// may counts a line and reports whether there is room for it.
func (w *logWriter) may() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Sub(w.since) >= logEvery {
		if w.left > 0 {
			w.log.Info("gossip had more to say", "lines", w.left)
		}
		w.since, w.lines, w.left = now, 0, 0
	}
	if w.lines >= logLines {
		w.left++
		return false
	}
	w.lines++
	return true
}
