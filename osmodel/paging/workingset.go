package paging

import "fmt"

// WorkingSetStep is one reference under the working set policy (Denning 1968).
type WorkingSetStep struct {
	Page    int64
	Fault   bool
	Dropped []int64 // pages that fell out of the window, in the order of their last use
	Size    int     // pages in the set after this reference
}

// WorkingSet keeps exactly the pages used in the last window references, this one included, however many frames they
// take. It returns what each reference did.
func WorkingSet(refs []Ref, window int) ([]WorkingSetStep, error) {
	if window < 1 {
		return nil, fmt.Errorf("paging: a window of %d references, want at least 1", window)
	}
	last := map[int64]int{} // of the pages in the set
	steps := make([]WorkingSetStep, len(refs))
	for i, r := range refs {
		s := WorkingSetStep{Page: r.Page}
		_, present := last[r.Page]
		s.Fault = !present
		last[r.Page] = i
		if old := i - window; old >= 0 && last[refs[old].Page] == old {
			delete(last, refs[old].Page)
			s.Dropped = append(s.Dropped, refs[old].Page)
		}
		s.Size = len(last)
		steps[i] = s
	}
	return steps, nil
}
