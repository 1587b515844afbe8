package tree

// Edit makes a tree of another by many changes. What it made itself since its last Tree nobody else has, so it changes that in
// place: n changes make about n nodes and the paths to them once, not n times. The zero value begins with
// nothing. Not safe for concurrent use; do not copy one that is in use.
type Edit struct {
	t     Tree
	maker *maker
}

// maker tells one Edit, from one Tree to the next, from all others.
type maker struct{ _ byte }

// Edit returns an Edit that begins with t, which stays as it is.
func (t Tree) Edit() Edit { return Edit{t: t} }

// Get returns the value of key. It is the tree's: do not change it.
func (e *Edit) Get(key []byte) ([]byte, bool) { return e.t.Get(key) }

// Set maps key to value. Both are the tree's from now on.
func (e *Edit) Set(key, value []byte) {
	if e.maker == nil {
		e.maker = &maker{}
	}
	root, grew := insert(e.t.root, change{key, value, priority(key), e.maker})
	e.t.root = root
	if grew {
		e.t.n++
	}
}

// Tree returns what the changes have made. Later changes leave it as it is.
func (e *Edit) Tree() Tree {
	e.maker = nil
	return e.t
}
