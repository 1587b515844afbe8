package tree

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func contents(t Tree, from string) (out []string) {
	t.Ascend([]byte(from), func(k, v []byte) bool {
		out = append(out, string(k)+"="+string(v))
		return true
	})
	return out
}

// Random histories against a plain map; every version made on the way must still be what it was.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tr Tree
	model := map[string]string{}
	type old struct {
		tree Tree
		want []string
	}
	var olds []old
	for i := range 5000 {
		k := fmt.Sprint(rng.IntN(300))
		if rng.IntN(3) == 0 {
			tr = tr.Delete([]byte(k))
			delete(model, k)
		} else {
			v := fmt.Sprint(i)
			tr = tr.Set([]byte(k), []byte(v))
			model[k] = v
		}
		if i%50 == 0 {
			olds = append(olds, old{tr, contents(tr, "")})
		}
		if v, ok := tr.Get([]byte(k)); ok != (model[k] != "") || string(v) != model[k] {
			t.Fatalf("step %d: Get(%s) = %q, %v; want %q", i, k, v, ok, model[k])
		}
		if tr.Len() != len(model) {
			t.Fatalf("step %d: Len %d, want %d", i, tr.Len(), len(model))
		}
	}
	var want []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= "2" {
			want = append(want, k+"="+model[k])
		}
	}
	if got := contents(tr, "2"); !slices.Equal(got, want) {
		t.Fatalf("from 2: %v, want %v", got, want)
	}
	var walked []string
	for c := tr.From([]byte("2")); c.Valid(); c.Next() {
		walked = append(walked, string(c.Key())+"="+string(c.Value()))
	}
	if !slices.Equal(walked, want) {
		t.Fatalf("cursor: %v, want %v", walked, want)
	}
	for i, o := range olds {
		if !slices.Equal(contents(o.tree, ""), o.want) {
			t.Fatalf("version %d has changed", i)
		}
	}
	check(t, tr.root, nil, nil)
}

func check(t *testing.T, n *node, lo, hi []byte) {
	if n == nil {
		return
	}
	if lo != nil && bytes.Compare(n.key, lo) <= 0 || hi != nil && bytes.Compare(n.key, hi) >= 0 {
		t.Fatalf("key %q out of order", n.key)
	}
	for _, c := range []*node{n.left, n.right} {
		if c != nil && c.priority > n.priority {
			t.Fatalf("priority of %q above its parent's", c.key)
		}
	}
	check(t, n.left, lo, n.key)
	check(t, n.right, n.key, hi)
}

func TestOrderedInsertStaysShallow(t *testing.T) {
	var tr Tree
	for i := range 1 << 14 {
		tr = tr.Set(fmt.Appendf(nil, "%08d", i), nil)
	}
	var depth func(n *node) int
	depth = func(n *node) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	if d := depth(tr.root); d > 70 {
		t.Fatalf("depth %d for %d keys", d, tr.Len())
	}
}
