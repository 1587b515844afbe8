package cli

import (
	"errors"
	"testing"
	"time"

	"dfs/cluster/fault"
)

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "512": 512, "512B": 512, "64K": 64 << 10, "64k": 64 << 10, "4MiB": 4 << 20, "1.5GB": 15e8,
		" 2 TiB ": 2 << 40, "1kB": 1000, "1P": 1 << 50,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "K", "-1", "1X", "1.2.3", "1e3", "9999999P", "NaN", "0x10", "1 2"} {
		if n, err := ParseSize(s); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"15s": 15 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "1w1d1h": 193 * time.Hour, "0": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "5", "-1s", "d", "1.5d", "-3d", "99999999999d", "1x", "200w9999999h9999999h"} {
		if d, err := ParseDuration(s); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, %v", s, d, err)
		}
	}
}

func FuzzSize(f *testing.F) {
	f.Add("1.5GB")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Errorf("%q is %d", s, n)
		}
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}
