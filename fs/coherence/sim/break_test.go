package sim

import "testing"

// breaks are the rules that can be left out, with where that shows.
var breaks = []struct {
	rule  Break
	o     Options
	seeds int
}{
	{ReadApplied, Options{}, 50},
	{CacheOld, Options{}, 20},
	{NoWait, Options{}, 20},
	{NoRetry, Options{}, 100},
	{EpochAlways, Options{}, 100},
	{AcknowledgeEarly, Options{}, 20},
	{NoReleaseWait, Options{}, 10},
	{KeepAttrs, Options{}, 50},
	{OverlayLong, Options{}, 100},
	{NeverAgain, Options{Explicit: true}, 100},
	{NoEvictions, Options{}, 200},
	{ForgetParents, Options{Machine: true}, 20},
	{SameMtime, Options{Rough: true}, 200},
	{CountLate, Options{}, 100},
	{ValidTooEarly, Options{Rough: true}, 300},
	{LookAhead, Options{}, 100},
	{AnswerRefusals, Options{}, 100},
	{NoHold, Options{}, 20},
	{WaitForLocks, Options{}, 100},
	{LongValidity, Options{Rough: true}, 100},
	{IgnoreLease, Options{Rough: true}, 100},
	{NoHoldOff, Options{Rough: true}, 100},
	{NoQuorumRound, Options{Rough: true}, 200},
	{DropAtOnce, Options{Rough: true, OldKernel: true}, 400},
}

// TestSimNoticesBrokenRules leaves one rule out at a time and expects a broken promise within a few histories.
func TestSimNoticesBrokenRules(t *testing.T) {
	for _, b := range breaks {
		t.Run(string(b.rule), func(t *testing.T) {
			t.Parallel()
			for i := range b.seeds {
				o := b.o
				o.Break, o.Seed = b.rule, uint64(i+1)
				if r := Run(o); len(r.Faults) > 0 {
					t.Logf("seed %d: %s", o.Seed, r.Faults[0])
					return
				}
			}
			t.Errorf("%d histories kept every promise", b.seeds)
		})
	}
}
