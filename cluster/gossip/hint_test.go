package gossip

import (
	"math"
	"strings"
	"testing"
	"time"

	"dfs/cluster"
)

func TestReportReadsBack(t *testing.T) {
	for _, r := range []Report{
		{},
		{Addr: "[fd00::1]:9001", Version: "1.2.3", Stored: 1, Capacity: 2, Reserve: 3, Load: 4.5, Errors: 0.125, Latency: time.Second, Synced: 6, Free: 7, Trouble: "its disk is full", Unled: true, Misses: 2},
		{Stored: math.MaxInt64, Capacity: math.MaxInt64, Reserve: math.MaxInt64, Latency: math.MaxInt64, Synced: math.MaxUint64, Misses: math.MaxUint64},
	} {
		if got, err := decodeReport(r.append(nil)); err != nil || got != r {
			t.Errorf("%+v, %v, want %+v", got, err, r)
		}
		if got, err := decodeReport(append(r.append(nil), "a later format's field"...)); err != nil || got != r {
			t.Errorf("with more behind it: %+v, %v", got, err)
		}
	}
}

func TestReportFits(t *testing.T) {
	r := Report{
		Addr: strings.Repeat("a", 1000), Version: strings.Repeat("v", 1000), Stored: math.MaxInt64, Capacity: math.MaxInt64,
		Reserve: math.MaxInt64, Load: math.Inf(1), Errors: math.NaN(), Latency: math.MaxInt64, Synced: math.MaxUint64,
		Free: math.MaxInt64, Trouble: strings.Repeat("t", 1000), Misses: math.MaxUint64,
	}
	b := r.append(nil)
	if len(b) > 512 {
		t.Errorf("%d bytes", len(b))
	}
	if _, err := decodeReport(b); err != nil {
		t.Error(err)
	}
}

func TestMadeUpAddressesAreLocalAndDiffer(t *testing.T) {
	a, b := madeUp(cluster.PeerID{1}), madeUp(cluster.PeerID{2})
	if len(a) != 16 || !a.IsPrivate() || a.Equal(b) {
		t.Error(a, b)
	}
}

// FuzzReport: no bytes make a report with nonsense in it, and what is understood fits again.
func FuzzReport(f *testing.F) {
	f.Add(Report{Addr: "h:1", Stored: 5}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err != nil {
			return
		}
		if r.Stored < 0 || r.Capacity < 0 || r.Reserve < 0 || r.Latency < 0 || !(r.Errors >= 0 && r.Errors <= 1) || !(r.Load >= 0) {
			t.Errorf("%+v", r)
		}
		if again := r.append(nil); len(again) > 512 {
			t.Errorf("%d bytes", len(again))
		}
	})
}
