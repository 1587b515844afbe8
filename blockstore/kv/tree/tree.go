// Package tree is an ordered map whose every version is a value: Set and Delete return a new Tree and leave the
// old one as it was, sharing all but the path to the key.
//
// It is a treap whose priorities are a hash of the key, seeded once a process: equal contents have equal shapes
// whatever the history, no order of insertion is a bad one, and every operation is O(log n) expected. kv/mem is made of it, and kv/badger keeps
// a transaction's own writes in it.
package tree

import (
	"bytes"
	"hash/maphash"
)

// Tree maps byte strings to values. The zero value is empty. It is immutable: copies share freely, also between
// goroutines. Keys and values given to it belong to it.
type Tree struct {
	root *node
	n    int
}

// Invariants: left keys < key < right keys; priority >= those of both children.
type node struct {
	left, right *node
	priority    uint64
	key, value  []byte
	maker       *maker // the Edit that may still change it in place; nil: nobody
}

var seed = maphash.MakeSeed()

// Len returns the number of keys.
func (t Tree) Len() int { return t.n }

// Get returns the value of key. It is the tree's: do not change it.
func (t Tree) Get(key []byte) ([]byte, bool) {
	for n := t.root; n != nil; {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return nil, false
}

// Set returns the tree with key mapped to value.
func (t Tree) Set(key, value []byte) Tree {
	root, grew := insert(t.root, change{key: key, value: value, priority: priority(key)})
	if grew {
		return Tree{root, t.n + 1}
	}
	return Tree{root, t.n}
}

func priority(key []byte) uint64 { return maphash.Bytes(seed, key) }

// change is a key to be set, and who sets it.
type change struct {
	key, value []byte
	priority   uint64
	maker      *maker
}

// insert returns a copy of n's path with c's key in its place, and whether the key is new. Nodes of c's maker are not copied
// but changed.
func insert(n *node, c change) (*node, bool) {
	if n == nil {
		return &node{priority: c.priority, key: c.key, value: c.value, maker: c.maker}, true
	}
	side := bytes.Compare(c.key, n.key)
	up := n
	if c.maker == nil || n.maker != c.maker {
		up = &node{n.left, n.right, n.priority, n.key, n.value, c.maker}
	}
	if side == 0 {
		up.value = c.value
		return up, false
	}
	if side < 0 {
		child, grew := insert(up.left, c)
		up.left = child
		if child.priority > up.priority { // rotate right; child is ours to change
			up.left = child.right
			child.right = up
			return child, grew
		}
		return up, grew
	}
	child, grew := insert(up.right, c)
	up.right = child
	if child.priority > up.priority {
		up.right = child.left
		child.left = up
		return child, grew
	}
	return up, grew
}

// Delete returns the tree without key.
func (t Tree) Delete(key []byte) Tree {
	if _, ok := t.Get(key); !ok {
		return t
	}
	return Tree{remove(t.root, key), t.n - 1}
}

func remove(n *node, key []byte) *node {
	c := bytes.Compare(key, n.key)
	if c == 0 {
		return merge(n.left, n.right)
	}
	up := *n
	up.maker = nil
	if c < 0 {
		up.left = remove(n.left, key)
	} else {
		up.right = remove(n.right, key)
	}
	return &up
}

// merge joins two trees, all keys of a below all keys of b.
func merge(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority >= b.priority:
		up := *a
		up.maker = nil
		up.right = merge(a.right, b)
		return &up
	}
	up := *b
	up.maker = nil
	up.left = merge(a, b.left)
	return &up
}

// Ascend calls fn for each key >= from in order, until fn returns false. The slices are the tree's.
func (t Tree) Ascend(from []byte, fn func(key, value []byte) bool) { ascend(t.root, from, fn) }

func ascend(n *node, from []byte, fn func(key, value []byte) bool) bool {
	if n == nil {
		return true
	}
	if bytes.Compare(n.key, from) >= 0 {
		return ascend(n.left, from, fn) && fn(n.key, n.value) && ascend(n.right, from, fn)
	}
	return ascend(n.right, from, fn)
}

// Cursor walks a tree's keys in order. It sees the tree it was made of, whatever is made from that later.
type Cursor struct{ path []*node } // path: nodes whose key and right side are still to come, next one last

// From returns a cursor standing at the first key >= from.
func (t Tree) From(from []byte) *Cursor {
	c := &Cursor{}
	for n := t.root; n != nil; {
		if bytes.Compare(n.key, from) >= 0 {
			c.path = append(c.path, n)
			n = n.left
		} else {
			n = n.right
		}
	}
	return c
}

// Valid reports whether there is a key under the cursor.
func (c *Cursor) Valid() bool { return len(c.path) > 0 }

// Key returns the key under the cursor, which must be Valid.
func (c *Cursor) Key() []byte { return c.path[len(c.path)-1].key }

// Value returns its value.
func (c *Cursor) Value() []byte { return c.path[len(c.path)-1].value }

// Next moves to the next key.
func (c *Cursor) Next() {
	n := c.path[len(c.path)-1].right
	c.path = c.path[:len(c.path)-1]
	for ; n != nil; n = n.left {
		c.path = append(c.path, n)
	}
}
