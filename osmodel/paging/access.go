package paging

import (
	"errors"
	"fmt"
	"math/bits"
)

// Translated is one access through TLB, page tables and frames.
type Translated struct {
	Step
	Logical  int64
	Physical int64
	Offset   int64
	Indices  []int64 // into the tables, from the root down; also where the TLB made the walk needless
	TLBHit   bool
	Accesses int // of memory: the tables that were read and the byte itself; a fault's first attempt included
}

// Pages returns the references that accesses to addresses make, pages being pageBytes long: a power of two.
func Pages(addresses []Ref, pageBytes int64) ([]Ref, error) {
	if pageBytes < 1 || pageBytes > MaxAddress || pageBytes&(pageBytes-1) != 0 {
		return nil, fmt.Errorf("paging: pages of %d bytes, want a power of two", pageBytes)
	}
	refs := make([]Ref, len(addresses))
	for i, a := range addresses {
		refs[i] = Ref{a.Page / pageBytes, a.Write}
	}
	return refs, nil
}

// Translate follows r, the simulation of the Pages of addresses, through page tables and a TLB: what a fault brings in
// is mapped to its frame, what it evicts leaves tables and TLB, and the access is made once more. levelBits and tlbSize
// are those of NewSpace. It returns what each access did, and the Space as it is in the end.
func (r Result) Translate(addresses []Ref, pageBytes int64, levelBits []int, tlbSize int) ([]Translated, *Space, error) {
	s, err := NewSpace(bits.Len64(uint64(pageBytes))-1, levelBits, tlbSize)
	if err != nil {
		return nil, nil, err
	}
	all := make([]Translated, len(r.Steps))
	for i, step := range r.Steps {
		logical := addresses[i].Page
		first, err := s.Translate(logical)
		w := first
		if errors.Is(err, ErrNotMapped) {
			if step.Replaced {
				s.Unmap(step.Evicted)
			}
			if err := s.Map(step.Page, int64(step.Frame)); err != nil {
				return nil, nil, err
			}
			w, err = s.Translate(logical)
			w.Accesses += first.Accesses
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %d", err, logical)
		}
		all[i] = Translated{Step: step, Logical: logical, Physical: w.Address, Offset: w.Offset,
			Indices: s.indices(w.Page), TLBHit: w.TLBHit, Accesses: w.Accesses}
	}
	return all, s, nil
}

// MeanAccess returns the mean time of accesses: fault for each that faults, memory for each read of memory of the others.
func MeanAccess(all []Translated, memory, fault float64) float64 {
	var sum float64
	for _, t := range all {
		if t.Fault {
			sum += fault
		} else {
			sum += float64(t.Accesses) * memory
		}
	}
	return sum / float64(max(1, len(all)))
}
