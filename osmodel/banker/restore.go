package banker

import "slices"

// Restore makes the bank that has total, these processes in order of registration and these waiting requests in order of
// arrival: what Total, Processes and Waiting gave. The errors are those of New and Register; ErrNeed and ErrUnknown for a request.
func Restore(total []int64, processes []Process, waiting []Request) (*Bank, error) {
	b, err := New(total)
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		if err := b.Register(p.ID, p.Max, p.Allocated); err != nil {
			return nil, err
		}
	}
	for _, r := range waiting {
		i := b.find(r.ID)
		switch {
		case i < 0:
			return nil, ErrUnknown
		case !b.shaped(r.Want):
			return nil, ErrShape
		case b.waits(r.ID) >= 0:
			return nil, ErrWaiting
		case !atMost(r.Want, b.processes[i].Need()):
			return nil, ErrNeed
		}
		b.waiting = append(b.waiting, Request{r.ID, slices.Clone(r.Want), r.Overtaken})
	}
	return b, nil
}
