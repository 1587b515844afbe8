package kvtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"dfs/blockstore/kv"
)

// model is the slow, obvious store: a whole map a version.
type model struct {
	versions []map[string]string // by version; nil where none was committed
}

func (m *model) at(version uint64) map[string]string {
	for v := min(version, uint64(len(m.versions)-1)); ; v-- {
		if m.versions[v] != nil || v == 0 {
			return m.versions[v]
		}
	}
}

func text(of map[string]string, prefix, from string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(of)) {
		if strings.HasPrefix(k, prefix) && k >= from {
			out = append(out, k+"="+of[k])
		}
	}
	return strings.Join(out, " ")
}

// testModel runs a random history of commits, reads at kept versions, floors and reopenings beside the model.
func testModel(t *testing.T, s kv.Store) {
	rng := rand.New(rand.NewPCG(seed(t), 0))
	m := &model{versions: []map[string]string{{}}}
	key := func() string {
		return strings.Repeat(string(rune('a'+rng.IntN(3))), 1+rng.IntN(3)) + fmt.Sprint(rng.IntN(20))
	}
	var floor uint64
	type held struct {
		version uint64
		r       kv.Reader
	}
	var open []held
	look := func(r kv.Reader, of map[string]string, what string) {
		t.Helper()
		prefix, from := "", ""
		switch rng.IntN(4) {
		case 0:
			prefix = key()[:1]
		case 1:
			from = key()
		case 2:
			prefix = key()[:2]
			from = prefix + "1"
		}
		if got, want := dump(t, r, prefix, from), text(of, prefix, from); got != want {
			t.Fatalf("%s, scan(%q, %q):\n got %s\nwant %s", what, prefix, from, got, want)
		}
		k := key()
		v, found, err := r.Get([]byte(k))
		ok(t, err)
		if want, has := of[k]; has != found || string(v) != want {
			t.Fatalf("%s, Get(%q) = %q, %v; want %q, %v", what, k, v, found, want, has)
		}
	}
	for step := range 600 {
		newest := uint64(len(m.versions) - 1)
		switch d := rng.IntN(20); {
		case d < 10: // a transaction
			version := newest + 1 + rng.Uint64N(3)
			next := maps.Clone(m.at(newest))
			x := s.Begin(version)
			for range rng.IntN(8) {
				k, v := key(), fmt.Sprint(step, "-", rng.IntN(100))
				if rng.IntN(3) == 0 {
					ok(t, x.Delete([]byte(k)))
					delete(next, k)
				} else {
					ok(t, x.Set([]byte(k), []byte(v)))
					next[k] = v
				}
				if rng.IntN(4) == 0 {
					look(x, next, fmt.Sprintf("step %d, inside transaction %d", step, version))
				}
			}
			if rng.IntN(5) > 0 {
				ok(t, x.Commit())
				for uint64(len(m.versions)) < version {
					m.versions = append(m.versions, nil)
				}
				m.versions = append(m.versions, next)
			}
			x.Close()
		case d < 15: // a read at a kept version
			version := floor + rng.Uint64N(newest-floor+2)
			r := s.At(version)
			look(r, m.at(version), fmt.Sprintf("step %d, at %d of %d", step, version, newest))
			if rng.IntN(3) == 0 && len(open) < 10 {
				open = append(open, held{min(version, newest), r})
			} else {
				r.Close()
			}
		case d < 17: // a reader held since earlier
			if len(open) > 0 {
				i := rng.IntN(len(open))
				look(open[i].r, m.at(open[i].version), fmt.Sprintf("step %d, held at %d", step, open[i].version))
				open[i].r.Close()
				open = slices.Delete(open, i, i+1)
			}
		case d < 19:
			floor += rng.Uint64N(newest - floor + 1)
			s.SetFloor(floor)
		default:
			if re, can := s.(Reopener); can && rng.IntN(4) == 0 {
				for _, h := range open {
					h.r.Close()
				}
				open = nil
				s = re.Reopen(t)
				if n := s.Newest(); n != newest {
					t.Fatalf("step %d: Newest %d after reopening, want %d", step, n, newest)
				}
			}
		}
	}
	for _, h := range open {
		h.r.Close()
	}
}
