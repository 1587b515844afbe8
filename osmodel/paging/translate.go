package paging

import (
	"errors"
	"fmt"
)

// What Translate can fail with.
var (
	ErrNotMapped = errors.New("paging: no page is mapped there")
	ErrAddress   = errors.New("paging: the address is outside of the address space")
)

// Space is an address space with a page table of one or more levels and a TLB in front of it. Not safe for concurrent
// use.
type Space struct {
	offsetBits int
	levelBits  []int // from the root down
	root       *table
	tlb        []tlbEntry // least recently used first
	tlbSize    int
	tables     int
}

type table struct {
	below  map[int64]*table // of inner levels
	frames map[int64]int64  // of the last level
}

type tlbEntry struct{ page, frame int64 }

// Walk says how an address was translated.
type Walk struct {
	Address  int64   // physical
	Page     int64   // number of the virtual page
	Offset   int64   // within it
	Indices  []int64 // into the tables, from the root down
	TLBHit   bool
	Accesses int // of memory: the tables that were read, and the byte itself
}

// NewSpace makes an empty space. Pages are 2^offsetBits bytes, a table of level i has 2^levelBits[i] entries; all bits
// together are at most 62. A tlbSize of 0 means that there is no TLB.
func NewSpace(offsetBits int, levelBits []int, tlbSize int) (*Space, error) {
	sum := offsetBits
	for _, b := range levelBits {
		if b < 1 || b > 62 {
			return nil, fmt.Errorf("paging: a level of %d bits", b)
		}
		sum += b
	}
	if offsetBits < 0 || offsetBits > 62 || len(levelBits) == 0 || sum > 62 || tlbSize < 0 || tlbSize > 1<<16 {
		return nil, fmt.Errorf("paging: offset %d, levels %v and a TLB of %d make no address space", offsetBits, levelBits, tlbSize)
	}
	return &Space{offsetBits: offsetBits, levelBits: append([]int(nil), levelBits...), root: &table{}, tlbSize: tlbSize, tables: 1}, nil
}

func (s *Space) pageBits() (bits int) {
	for _, b := range s.levelBits {
		bits += b
	}
	return bits
}

// indices splits the number of a page.
func (s *Space) indices(page int64) []int64 {
	at := make([]int64, len(s.levelBits))
	for i := len(s.levelBits) - 1; i >= 0; i-- {
		at[i] = page & (1<<s.levelBits[i] - 1)
		page >>= s.levelBits[i]
	}
	return at
}

// Map lets page live in frame; tables on the way are made as needed.
func (s *Space) Map(page, frame int64) error {
	if page < 0 || page >= 1<<s.pageBits() || frame < 0 || frame > MaxAddress>>s.offsetBits {
		return ErrAddress
	}
	s.forget(page)
	t := s.root
	at := s.indices(page)
	for _, i := range at[:len(at)-1] {
		if t.below == nil {
			t.below = map[int64]*table{}
		}
		if t.below[i] == nil {
			t.below[i] = &table{}
			s.tables++
		}
		t = t.below[i]
	}
	if t.frames == nil {
		t.frames = map[int64]int64{}
	}
	t.frames[at[len(at)-1]] = frame
	return nil
}

// MaxAddress is the highest physical address.
const MaxAddress = 1<<62 - 1

// Unmap takes page out of the space and of the TLB. An unmapped page is no error.
func (s *Space) Unmap(page int64) {
	s.forget(page)
	t := s.root
	at := s.indices(page)
	for _, i := range at[:len(at)-1] {
		if t = t.below[i]; t == nil {
			return
		}
	}
	delete(t.frames, at[len(at)-1])
}

// Tables returns how many page tables there are, the root included: what a sparse space saves by having levels.
func (s *Space) Tables() int { return s.tables }

func (s *Space) forget(page int64) {
	for i, e := range s.tlb {
		if e.page == page {
			s.tlb = append(s.tlb[:i], s.tlb[i+1:]...)
			return
		}
	}
}

// Translate finds the physical address for a logical one. The Walk tells how far it came also with ErrNotMapped, a page
// fault.
func (s *Space) Translate(logical int64) (Walk, error) {
	if logical < 0 || logical >= 1<<(s.pageBits()+s.offsetBits) {
		return Walk{}, ErrAddress
	}
	w := Walk{Page: logical >> s.offsetBits, Offset: logical & (1<<s.offsetBits - 1)}
	for i, e := range s.tlb {
		if e.page == w.Page {
			s.tlb = append(append(s.tlb[:i], s.tlb[i+1:]...), e)
			w.TLBHit, w.Accesses, w.Address = true, 1, e.frame<<s.offsetBits|w.Offset
			return w, nil
		}
	}
	w.Indices = s.indices(w.Page)
	t := s.root
	for _, i := range w.Indices[:len(w.Indices)-1] {
		w.Accesses++
		if t = t.below[i]; t == nil {
			return w, ErrNotMapped
		}
	}
	w.Accesses++
	frame, ok := t.frames[w.Indices[len(w.Indices)-1]]
	if !ok {
		return w, ErrNotMapped
	}
	w.Accesses++
	w.Address = frame<<s.offsetBits | w.Offset
	if s.tlbSize > 0 {
		if len(s.tlb) == s.tlbSize {
			s.tlb = s.tlb[1:]
		}
		s.tlb = append(s.tlb, tlbEntry{w.Page, frame})
	}
	return w, nil
}

// EffectiveAccess returns the mean time of an access of which the fraction p faults: (1-p) memory + p fault.
func EffectiveAccess(p, memory, fault float64) float64 { return (1-p)*memory + p*fault }

// FaultLimit returns the fraction of faults below which accesses are less than slowdown times as slow as memory, 0.1
// being ten per cent.
func FaultLimit(slowdown, memory, fault float64) float64 { return slowdown * memory / (fault - memory) }

// TLBAccess returns the mean time of an access that finds its page in the TLB with probability hit and reads one page
// table otherwise.
func TLBAccess(hit, memory float64) float64 { return hit*memory + (1-hit)*2*memory }
