package sim

import "testing"

// breaks are the rules that can be left out, with where that shows. Those that begin at a later seed show once in 150 to 500
// histories: the search begins near where they are known to.
var breaks = []struct {
	rule  Break
	o     Options
	seeds int
	first uint64 // seed; 0: 1
}{
	{ReadApplied, Options{}, 50, 0},
	{CacheOld, Options{}, 20, 0},
	{NoWait, Options{}, 20, 0},
	{NoRetry, Options{}, 100, 0},
	{EpochAlways, Options{}, 100, 0},
	{AcknowledgeEarly, Options{}, 20, 0},
	{NoReleaseWait, Options{}, 10, 0},
	{KeepAttrs, Options{}, 50, 0},
	{OverlayLong, Options{}, 100, 0},
	{NeverAgain, Options{Explicit: true}, 100, 0},
	{NoEvictions, Options{}, 60, 575},
	{ForgetParents, Options{Machine: true}, 20, 0},
	{SameMtime, Options{Rough: true}, 60, 250},
	{CountLate, Options{}, 100, 0},
	{ValidTooEarly, Options{Rough: true}, 300, 0},
	{LookAhead, Options{}, 100, 0},
	{AnswerRefusals, Options{}, 100, 0},
	{NoHold, Options{}, 20, 0},
	{KeepOwn, Options{Appends: true}, 50, 0},
	{BlindAppend, Options{Appends: true}, 20, 0},
	{WaitForLocks, Options{}, 100, 0},
	{LongValidity, Options{Rough: true}, 100, 0},
	{NoGuard, Options{Guard: true, Rough: true}, 40, 30},
	{IgnoreLease, Options{Rough: true}, 100, 0},
	{NoHoldOff, Options{Rough: true}, 100, 0},
	{NoQuorumRound, Options{Rough: true}, 60, 150},
	{ShowPrepared, Options{Early: true}, 20, 0},
	{DropAtOnce, Options{Rough: true, OldKernel: true}, 400, 0},
}

// TestSimNoticesBrokenRules leaves one rule out at a time and expects a broken promise within a few histories.
func TestSimNoticesBrokenRules(t *testing.T) {
	for _, b := range breaks {
		t.Run(string(b.rule), func(t *testing.T) {
			t.Parallel()
			for i := range b.seeds {
				o := b.o
				o.Break, o.Seed = b.rule, max(b.first, 1)+uint64(i)
				if r := Run(o); len(r.Faults) > 0 {
					t.Logf("seed %d: %s", o.Seed, r.Faults[0])
					return
				}
			}
			t.Errorf("%d histories kept every promise", b.seeds)
		})
	}
}
