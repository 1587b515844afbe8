// Package runs is a set of block numbers kept as runs: which blocks of an extent are dead, or which a record holds.
// It is pure.
package runs

import (
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Run is the half-open range of block numbers [First, End).
type Run struct{ First, End uint32 }

// Set is a set of block numbers: sorted, disjoint, not adjacent, none empty. It is a value: methods return new sets
// and leave the receiver alone.
type Set []Run

// Of returns the set of count blocks from first on.
func Of(first, count uint32) Set {
	if count == 0 {
		return nil
	}
	return Set{{first, first + count}}
}

// Len returns the number of blocks in s.
func (s Set) Len() uint32 {
	var n uint32
	for _, r := range s {
		n += r.End - r.First
	}
	return n
}

// Add returns the union of s and r.
func (s Set) Add(r Run) Set {
	if r.First >= r.End {
		return s
	}
	out := make(Set, 0, len(s)+1)
	i := 0
	for ; i < len(s) && s[i].End < r.First; i++ {
		out = append(out, s[i])
	}
	for ; i < len(s) && s[i].First <= r.End; i++ {
		r = Run{min(r.First, s[i].First), max(r.End, s[i].End)}
	}
	return append(append(out, r), s[i:]...)
}

// Union returns the union of s and t.
func (s Set) Union(t Set) Set {
	for _, r := range t {
		s = s.Add(r)
	}
	return s
}

// Minus returns what is in s and not in t.
func (s Set) Minus(t Set) Set {
	var out Set
	j := 0
	for _, r := range s {
		for j < len(t) && t[j].End <= r.First {
			j++
		}
		for k := j; k < len(t) && t[k].First < r.End; k++ {
			if t[k].First > r.First {
				out = append(out, Run{r.First, t[k].First})
			}
			r.First = min(t[k].End, r.End)
		}
		if r.First < r.End {
			out = append(out, r)
		}
	}
	return out
}

// And returns what is in both.
func (s Set) And(t Set) Set { return s.Minus(s.Minus(t)) }

// Meets reports whether any block of r is in s.
func (s Set) Meets(r Run) bool {
	for _, x := range s {
		if x.First < r.End && r.First < x.End {
			return true
		}
	}
	return false
}

// Covers reports whether every block of r is in s.
func (s Set) Covers(r Run) bool {
	for _, x := range s {
		if x.First <= r.First && r.End <= x.End {
			return true
		}
	}
	return r.First >= r.End
}

// Rank returns how many blocks of s come before block b.
func (s Set) Rank(b uint32) uint32 {
	var n uint32
	for _, r := range s {
		if b <= r.First {
			break
		}
		n += min(b, r.End) - r.First
	}
	return n
}

// Append encodes s: at most 10 bytes a run.
func (s Set) Append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(len(s)))
	var at uint32
	for _, r := range s {
		b = wire.AppendUint(b, uint64(r.First-at))
		b = wire.AppendUint(b, uint64(r.End-r.First))
		at = r.End
	}
	return b
}

// Read decodes what Append wrote: fault.Invalid unless it is a set of blocks below limit.
func Read(r *wire.Reader, limit uint32) (Set, error) {
	n := r.Count(int(limit))
	var s Set
	var at uint64
	for i := range n {
		gap, count := r.Uint(), r.Uint()
		if r.Err() != nil {
			break
		}
		if gap > uint64(limit) || count > uint64(limit) || count == 0 || (i > 0 && gap == 0) || at+gap+count > uint64(limit) {
			return nil, fault.New("decode runs", fault.Invalid, "run %d: %d after %d", i, count, gap)
		}
		s = append(s, Run{uint32(at + gap), uint32(at + gap + count)})
		at += gap + count
	}
	return s, r.Err()
}
