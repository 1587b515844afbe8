package runs

import (
	"math/rand/v2"
	"testing"

	"dfs/net/wire"
)

const limit = 64

func bits(s Set) (m uint64) {
	for _, r := range s {
		for b := r.First; b < r.End; b++ {
			m |= 1 << b
		}
	}
	return m
}

func random(rng *rand.Rand) Set {
	var s Set
	for range rng.IntN(8) {
		first := rng.Uint32N(limit)
		s = s.Add(Run{first, first + rng.Uint32N(limit-first+1)/(1+rng.Uint32N(8))})
	}
	return s
}

func check(t *testing.T, s Set) {
	t.Helper()
	for i, r := range s {
		if r.First >= r.End || i > 0 && s[i-1].End >= r.First {
			t.Fatalf("malformed: %v", s)
		}
	}
}

// Every operation against a 64-bit mask.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		a, b := random(rng), random(rng)
		for _, c := range []struct {
			got  Set
			want uint64
		}{{a.Union(b), bits(a) | bits(b)}, {a.Minus(b), bits(a) &^ bits(b)}, {a.And(b), bits(a) & bits(b)}} {
			check(t, c.got)
			if bits(c.got) != c.want {
				t.Fatalf("%v, %v: %v", a, b, c.got)
			}
		}
		first := rng.Uint32N(limit)
		r := Run{first, first + 1 + rng.Uint32N(limit-first)}
		mask := bits(Set{r})
		if a.Meets(r) != (bits(a)&mask != 0) || a.Covers(r) != (bits(a)&mask == mask) {
			t.Fatalf("%v against %v: meets %v, covers %v", a, r, a.Meets(r), a.Covers(r))
		}
		if want := (Set)(a.And(Of(0, first))).Len(); a.Rank(first) != want {
			t.Fatalf("%v: rank of %d is %d, want %d", a, first, a.Rank(first), want)
		}
		rd := wire.NewReader(a.Append(nil))
		back, err := Read(rd, limit)
		if err != nil || rd.Done() != nil || bits(back) != bits(a) {
			t.Fatalf("%v decodes as %v, %v", a, back, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Set{{1, 3}, {5, 9}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Read(wire.NewReader(b), 8192)
		if err == nil {
			check(t, s)
		}
	})
}
