package gossip

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A stranger's packets cannot fill the log.
func TestTheLogIsBounded(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	w := &logWriter{log: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }}
	for range 3 {
		for i := range 1000 {
			fmt.Fprintf(w, "2026/11/21 [ERR] memberlist: Decrypt packet failed: %d\n", i)
			fmt.Fprint(w, "2026/11/21 [DEBUG] memberlist: Initiating\n")
		}
		now = now.Add(logEvery)
	}
	text := out.String()
	if n := strings.Count(text, "Decrypt"); n != 3*logLines {
		t.Errorf("%d lines", n)
	}
	if n := strings.Count(text, "lines=990"); n != 2 || strings.Contains(text, "Initiating") {
		t.Errorf("%d summaries in %s", n, text)
	}
}
