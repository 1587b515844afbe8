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

// An Edit makes what as many Sets make, and no change of it is seen in a tree that was there before.
func TestEditModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var plain Tree
	var e Edit
	type old struct {
		tree Tree
		want []string
	}
	var olds []old
	for i := range 5000 {
		k, v := fmt.Appendf(nil, "%d", rng.IntN(300)), fmt.Appendf(nil, "%d", i)
		plain = plain.Set(k, v)
		e.Set(k, v)
		if got, ok := e.Get(k); !ok || string(got) != string(v) {
			t.Fatalf("step %d: Get(%s) = %q, %v", i, k, got, ok)
		}
		switch rng.IntN(60) {
		case 0:
			olds = append(olds, old{e.Tree(), contents(plain, "")})
		case 1: // another's changes of what both began with
			other := e.Tree().Edit()
			other.Set(k, []byte("other"))
			other.Set([]byte("more"), nil)
		case 2:
			k := fmt.Appendf(nil, "%d", rng.IntN(300))
			plain, e = plain.Delete(k), e.Tree().Delete(k).Edit()
		}
	}
	olds = append(olds, old{e.Tree(), contents(plain, "")})
	for i, o := range olds {
		if !slices.Equal(contents(o.tree, ""), o.want) || o.tree.Len() != len(o.want) {
			t.Fatalf("version %d has changed", i)
		}
		check(t, o.tree.root, nil, nil)
	}
}

func BenchmarkEdit(b *testing.B) {
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%d", i*7919%1000)
	}
	for name, set := range map[string]func(Tree, [][]byte) Tree{
		"one by one": func(t Tree, own [][]byte) Tree {
			for _, k := range own {
				t = t.Set(k, k)
			}
			return t
		},
		"edit": func(t Tree, own [][]byte) Tree {
			e := t.Edit()
			for _, k := range own {
				e.Set(k, k)
			}
			return e.Tree()
		},
	} {
		b.Run(name, func(b *testing.B) { // of a tree of 1000 keys, ten at a time
			b.ReportAllocs()
			t := set(Tree{}, keys)
			for i := range b.N {
				set(t, keys[i*10%1000:][:10])
			}
		})
	}
}
