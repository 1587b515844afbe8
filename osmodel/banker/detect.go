package banker

import (
	"cmp"
	"slices"
)

// Holder is a process as deadlock detection sees it: what it holds and what it waits for at this moment. There are no
// claims.
type Holder struct {
	ID        string
	Allocated []int64
	Request   []int64
	Priority  int   // higher is more important
	Started   int64 // when; later is younger
}

// Detect returns the deadlocked among holders, in their order. A process that holds nothing is in nobody's way and counts
// as finished; of the others, whoever's request can be met is assumed to finish and give back. An order in which those
// finish comes second.
func Detect(available []int64, holders []Holder) (deadlocked, finished []string) {
	work := slices.Clone(available)
	done := make([]bool, len(holders))
	for i, h := range holders {
		if zero(h.Allocated) {
			done[i] = true
			finished = append(finished, h.ID)
		}
	}
	for progress := true; progress; {
		progress = false
		for i, h := range holders {
			if !done[i] && atMost(h.Request, work) {
				add(work, h.Allocated)
				done[i], progress = true, true
				finished = append(finished, h.ID)
			}
		}
	}
	for i, h := range holders {
		if !done[i] {
			deadlocked = append(deadlocked, h.ID)
		}
	}
	return deadlocked, finished
}

// Recover returns the processes to end, one after the other, until nothing is deadlocked. Each victim is the least
// important of the deadlocked, then the youngest, then the one that holds least, then the first in order.
func Recover(available []int64, holders []Holder) (victims []string) {
	work := slices.Clone(available)
	rest := slices.Clone(holders)
	for {
		deadlocked, _ := Detect(work, rest)
		if len(deadlocked) == 0 {
			return victims
		}
		worst := -1
		for i, h := range rest {
			if slices.Contains(deadlocked, h.ID) && (worst < 0 || sooner(h, rest[worst])) {
				worst = i
			}
		}
		victims = append(victims, rest[worst].ID)
		add(work, rest[worst].Allocated)
		rest = slices.Delete(rest, worst, worst+1)
	}
}

// sooner reports whether a is a better victim than b.
func sooner(a, b Holder) bool {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Started, a.Started), cmp.Compare(sum(a.Allocated), sum(b.Allocated))) < 0
}

func sum(v []int64) (n int64) {
	for _, k := range v {
		n += k
	}
	return n
}
