package banker

import (
	"io"
	"slices"

	"dfs/osmodel/trace"
)

// Snapshot is who holds and wants what at one moment, with several instances of a resource.
type Snapshot struct {
	Resources []string // in the order they were first named
	Total     []int64
	Available []int64
	Holders   []Holder // in the order they were first named; later ones count as younger
}

// ReadSnapshot reads a snapshot, one fact a line; without N it is one:
//
//	RESOURCE has N
//	PROCESS holds RESOURCE [N]
//	PROCESS wants RESOURCE [N]
//
// A resource that nothing is said of has one instance. What is malformed, more held of a resource than there is
// included, is a *trace.Error.
func ReadSnapshot(r io.Reader) (Snapshot, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	for _, l := range lines { // what there is, before who holds it
		if err := s.resource(l); err != nil {
			return s, err
		}
	}
	s.Available = slices.Clone(s.Total)
	for _, l := range lines {
		if l.Words[1] == "has" {
			continue
		}
		if err := s.fact(l); err != nil {
			return s, err
		}
	}
	if len(s.Holders) == 0 {
		return s, trace.Errorf("no process in it: a line is PROCESS holds RESOURCE or PROCESS wants RESOURCE")
	}
	return s, nil
}

// resource makes the resource of a line known, and how much there is of it.
func (s *Snapshot) resource(l trace.Line) error {
	if len(l.Words) < 3 || len(l.Words) > 4 || !slices.Contains([]string{"has", "holds", "wants"}, l.Words[1]) || l.Words[1] == "has" && len(l.Words) != 3 {
		return l.Errorf("want RESOURCE has N, PROCESS holds RESOURCE or PROCESS wants RESOURCE, the last two perhaps with a number")
	}
	has := l.Words[1] == "has"
	name := l.Words[2]
	if has {
		name = l.Words[0]
	}
	if _, err := l.Name(name, "RESOURCE"); err != nil {
		return err
	}
	k := slices.Index(s.Resources, name)
	if k < 0 {
		if len(s.Resources) == MaxTypes {
			return l.Errorf("more than %d resources", MaxTypes)
		}
		k = len(s.Resources)
		s.Resources, s.Total = append(s.Resources, name), append(s.Total, 1)
	}
	if !has {
		return nil
	}
	n, err := l.Number64(l.Words[2], "N", 0)
	s.Total[k] = n
	return err
}

// fact notes that a process holds or wants something.
func (s *Snapshot) fact(l trace.Line) error {
	if _, err := l.Name(l.Words[0], "PROCESS"); err != nil {
		return err
	}
	n := int64(1)
	if len(l.Words) == 4 {
		var err error
		if n, err = l.Number64(l.Words[3], "N", 0); err != nil {
			return err
		}
	}
	i := slices.IndexFunc(s.Holders, func(h Holder) bool { return h.ID == l.Words[0] })
	if i < 0 {
		if len(s.Holders) == MaxProcesses {
			return l.Errorf("more than %d processes", MaxProcesses)
		}
		i = len(s.Holders)
		none := make([]int64, len(s.Resources))
		s.Holders = append(s.Holders, Holder{ID: l.Words[0], Allocated: none, Request: slices.Clone(none), Started: int64(i)})
	}
	k := slices.Index(s.Resources, l.Words[2])
	if l.Words[1] == "wants" {
		if s.Holders[i].Request[k] > trace.MaxNumber-n {
			return l.Errorf("%s wants more than %d", l.Words[0], int64(trace.MaxNumber))
		}
		s.Holders[i].Request[k] += n
		return nil
	}
	if n > s.Available[k] {
		return l.Errorf("of %s there is %d, and %d free", l.Words[2], s.Total[k], s.Available[k])
	}
	s.Available[k] -= n
	s.Holders[i].Allocated[k] += n
	return nil
}

// Analyse returns the deadlocked, those that hold nothing and wait for what the deadlocked hold or for more than there
// is, and an order in which the others finish.
func (s Snapshot) Analyse() (deadlocked, behind, finish []string) {
	deadlocked, done := Detect(s.Available, s.Holders)
	work := slices.Clone(s.Available)
	var waiting []Holder // hold nothing: in nobody's way, and perhaps stuck all the same
	for _, h := range s.Holders {
		if zero(h.Allocated) {
			waiting = append(waiting, h)
		}
	}
	for _, id := range done {
		i := slices.IndexFunc(s.Holders, func(h Holder) bool { return h.ID == id })
		if !zero(s.Holders[i].Allocated) {
			add(work, s.Holders[i].Allocated)
			finish = append(finish, id)
		}
	}
	for _, h := range waiting {
		if atMost(h.Request, work) {
			finish = append(finish, h.ID)
		} else {
			behind = append(behind, h.ID)
		}
	}
	return deadlocked, behind, finish
}
