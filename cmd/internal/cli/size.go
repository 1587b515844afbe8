package cli

import (
	"math"
	"strconv"
	"strings"
	"time"

	"dfs/cluster/fault"
)

var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "ki": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mi": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gi": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "ti": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	"p": 1 << 50, "pi": 1 << 50, "pib": 1 << 50, "pb": 1e15,
}

// ParseSize reads a number of bytes: "512", "64K", "4MiB", "1.5 GB". K, M, G, T, P and KiB ... are powers of 1024,
// kB ... powers of 1000. fault.Invalid.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	end := len(text)
	for end > 0 && (text[end-1] < '0' || text[end-1] > '9') && text[end-1] != '.' {
		end--
	}
	unit, ok := sizeUnits[strings.ToLower(strings.TrimSpace(text[end:]))]
	number := text[:end]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || strings.Trim(number, "0123456789.") != "" || n*unit >= math.MaxInt64 {
		return 0, fault.New("size", fault.Invalid, "%q: write 512, 64K, 4MiB or 1.5GB", s)
	}
	return int64(n * unit), nil
}

// ParseDuration reads "1.5s", "30m", "24h" and, beyond the standard library, "7d" and "2w" in front of them.
// fault.Invalid.
func ParseDuration(s string) (time.Duration, error) {
	rest, sum := strings.TrimSpace(s), time.Duration(0)
	for _, u := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, found := strings.Cut(rest, u.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil || time.Duration(n) > math.MaxInt64/2/u.length {
			return 0, badDuration(s)
		}
		sum += time.Duration(n) * u.length
		if rest = after; rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || sum+d < 0 {
		return 0, badDuration(s)
	}
	return sum + d, nil
}

func badDuration(s string) error {
	return fault.New("duration", fault.Invalid, "%q: write 15s, 30m, 24h or 7d", s)
}
