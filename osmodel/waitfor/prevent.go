package waitfor

import (
	"cmp"
	"slices"
)

// Stamp orders transactions by age across machines: Lamport time, then machine. It is kept when a transaction starts
// anew, or it would never grow old.
type Stamp struct {
	Time uint64
	Node string
}

// Older reports whether s began before o.
func (s Stamp) Older(o Stamp) bool {
	return cmp.Or(cmp.Compare(s.Time, o.Time), cmp.Compare(s.Node, o.Node)) < 0
}

// Verdict is what happens when a request meets a holder.
type Verdict string

// The verdicts.
const (
	Wait  Verdict = "wait"  // the requester waits
	Die   Verdict = "die"   // the requester is rolled back and starts anew with its old stamp
	Wound Verdict = "wound" // the holder is rolled back, the requester gets the resource
)

// WaitDie lets only the older wait for the younger, so that no cycle can close (Rosenkrantz, Stearns, Lewis 1978).
func WaitDie(requester, holder Stamp) Verdict {
	if requester.Older(holder) {
		return Wait
	}
	return Die
}

// WoundWait lets only the younger wait for the older.
func WoundWait(requester, holder Stamp) Verdict {
	if requester.Older(holder) {
		return Wound
	}
	return Wait
}

// Member is one process of a deadlock, as its victim is chosen.
type Member struct {
	ID       string
	Priority int   // higher is more important
	Started  int64 // later is younger
	Held     int   // resources
}

// Victim returns whom to end: the least important, then the youngest, then the one that holds least, then the highest
// id; "" of none.
func Victim(members []Member) string {
	if len(members) == 0 {
		return ""
	}
	return slices.MinFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Started, a.Started), cmp.Compare(a.Held, b.Held), cmp.Compare(b.ID, a.ID))
	}).ID
}

// Decider returns the one member of a cycle that may end a victim, so that several initiators do not end two: the
// highest id; "" of none.
func Decider(cycle []string) string {
	if len(cycle) == 0 {
		return ""
	}
	return slices.Max(cycle)
}
