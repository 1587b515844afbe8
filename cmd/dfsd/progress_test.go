package main

import (
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		total, left int64
		spent       time.Duration
		want        string
	}{
		{1000, 1000, time.Second, "[----------------]"},
		{1000, 750, 5 * time.Second, "[####------------]  15 s left"},
		{1000, 500, 2 * time.Minute, "[########--------]  2m0s left"},
		{1000, 0, time.Second, "[################]  done"},
		{0, 0, 0, "[################]  done"},
	} {
		if got := progressLine(c.total, c.left, c.spent); got != c.want {
			t.Errorf("%d of %d after %v: %q, want %q", c.left, c.total, c.spent, got, c.want)
		}
	}
}
