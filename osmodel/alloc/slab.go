package alloc

import "fmt"

// Slab allocates objects of one size from slabs of several, as a kernel's object caches do (Bonwick 1994). A slab is on
// one of three lists: full, partial, empty. Objects come from a partial slab first, so that empty ones can be given
// back; a new slab is cut from the memory only when no slab has room.
type Slab struct {
	object  int64
	perSlab int
	memory  int64
	slabs   []slab
	ledger
}

type slab struct {
	start int64
	inUse []bool
	count int
	gone  bool
}

var _ Allocator = (*Slab)(nil)

// MaxSlabObjects bounds a slab's objects.
const MaxSlabObjects = 4096

// NewSlab makes a cache of objects of a size in a memory.
func NewSlab(memory, object int64, perSlab int) (*Slab, error) {
	if memory < 1 || memory > MaxSize || object < 1 || object > memory || perSlab < 1 || perSlab > MaxSlabObjects || object > memory/int64(perSlab) {
		return nil, fmt.Errorf("alloc: no slab of %d objects of %d units fits into %d", perSlab, object, memory)
	}
	return &Slab{object: object, perSlab: perSlab, memory: memory, ledger: newLedger()}, nil
}

// Lists returns how many slabs are full, partial and empty.
func (s *Slab) Lists() (full, partial, empty int) {
	for _, sl := range s.slabs {
		switch {
		case sl.gone:
		case sl.count == s.perSlab:
			full++
		case sl.count == 0:
			empty++
		default:
			partial++
		}
	}
	return full, partial, empty
}

// Allocate takes one object; sizes up to the object's are served, with the rest as internal fragmentation.
func (s *Slab) Allocate(size int64) (Grant, error) {
	if err := check(size, s.object); err != nil {
		return Grant{}, err
	}
	chosen := -1
	for i, sl := range s.slabs {
		if sl.gone || sl.count == s.perSlab {
			continue
		}
		if chosen < 0 || s.slabs[chosen].count == 0 && sl.count > 0 {
			chosen = i
		}
	}
	if chosen < 0 {
		if chosen = s.grow(); chosen < 0 {
			return Grant{}, ErrNoSpace
		}
	}
	sl := &s.slabs[chosen]
	k := 0
	for sl.inUse[k] {
		k++
	}
	sl.inUse[k] = true
	sl.count++
	at := sl.start + int64(k)*s.object
	s.grant(at, Block{Start: at, Size: s.object, Requested: size})
	return Grant{Address: at, Hole: s.object, Block: s.object}, nil
}

// grow cuts one more slab from the memory and returns its index, -1 if there is no room.
func (s *Slab) grow() int {
	for i := range s.slabs {
		if s.slabs[i].gone {
			s.slabs[i].gone = false
			return i
		}
	}
	bytes := s.object * int64(s.perSlab)
	start := bytes * int64(len(s.slabs))
	if start+bytes > s.memory {
		return -1
	}
	s.slabs = append(s.slabs, slab{start: start, inUse: make([]bool, s.perSlab)})
	return len(s.slabs) - 1
}

// Free implements Allocator. The slab stays, empty perhaps, until Reap.
func (s *Slab) Free(address int64) (int64, error) {
	b, err := s.free(address)
	if err != nil {
		return 0, err
	}
	sl := &s.slabs[address/(s.object*int64(s.perSlab))]
	sl.inUse[(address-sl.start)/s.object] = false
	sl.count--
	return b.Size, nil
}

// Reap gives the empty slabs back to the memory and returns how many.
func (s *Slab) Reap() int {
	n := 0
	for i := range s.slabs {
		if sl := &s.slabs[i]; !sl.gone && sl.count == 0 {
			sl.gone = true
			n++
		}
	}
	return n
}

// Blocks implements Allocator. A hole does not cross from one slab into the next; the rest of the memory is one.
func (s *Slab) Blocks() []Block {
	var holes []Block
	bytes := s.object * int64(s.perSlab)
	for _, sl := range s.slabs {
		open := false
		for k, used := range sl.inUse {
			switch {
			case used:
				open = false
			case open:
				holes[len(holes)-1].Size += s.object
			default:
				holes = append(holes, Block{Start: sl.start + int64(k)*s.object, Size: s.object})
				open = true
			}
		}
	}
	if end := bytes * int64(len(s.slabs)); end < s.memory {
		holes = append(holes, Block{Start: end, Size: s.memory - end})
	}
	return s.blocks(holes)
}
