package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"dfs/cluster/admin"
)

const (
	progressEvery = 500 * time.Millisecond
	barWidth      = 16
)

// progress draws how far copying has come until nothing is below its copies, on a terminal only. The time left is that
// of the mean speed since the start.
func progress(ctx context.Context, w io.Writer, client *admin.Client, total int64) {
	started := time.Now()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(w)
			return
		case <-tick.C:
		}
		st, err := client.Status(ctx)
		if err != nil {
			continue
		}
		left := st.Repair.BytesBelowTarget
		total = max(total, left) // writing goes on meanwhile
		fmt.Fprintf(w, "\r%s\x1b[K", progressLine(total, left, time.Since(started)))
		if left == 0 {
			fmt.Fprintln(w)
			return
		}
	}
}

// progressLine is "[####------------]  14 s left".
func progressLine(total, left int64, spent time.Duration) string {
	done := total - left
	filled := barWidth
	if total > 0 {
		filled = int(float64(done) / float64(total) * barWidth)
	}
	line := "[" + strings.Repeat("#", filled) + strings.Repeat("-", barWidth-filled) + "]"
	switch {
	case left == 0:
		return line + "  done"
	case done <= 0:
		return line
	}
	rest := time.Duration(float64(spent) / float64(done) * float64(left)).Round(time.Second)
	if rest < time.Minute {
		return fmt.Sprintf("%s  %d s left", line, int(rest/time.Second))
	}
	return fmt.Sprintf("%s  %s left", line, rest)
}

// isTerminal reports whether f is one.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
