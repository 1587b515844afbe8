package sim

import (
	"fmt"
	"slices"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// The world is small, so that everybody is always in everybody's way.
const (
	blocks   = 2           // of a file; they share a page
	firstIno = meta.Ino(3) // below are the directories
)

var (
	directories = []meta.Ino{1, 2}
	names       = []string{"a", "b", "c"}
)

// kind of a change.
type kind uint8

const (
	opNone kind = iota // what a leader's term begins with
	opCreate
	opUnlink
	opRename
	opLink
	opChmod
	opCommit
	opAppend
)

func (k kind) String() string {
	return [...]string{"none", "create", "unlink", "rename", "link", "chmod", "commit", "append"}[k]
}

// change is an op on its way through the log.
type change struct {
	kind    kind
	dir     meta.Ino
	name    string
	dir2    meta.Ino // of rename: where to
	name2   string
	ino     meta.Ino  // of link, chmod, commit
	writes  []*write  // of commit
	records []*record // of append
	at      int       // of append: the end, counted in records
	blind   bool      // of append: whatever the end is
	session uint64
	seq     uint64
	low     uint64 // all below have been answered
}

func (c *change) String() string {
	switch c.kind {
	case opRename:
		return fmt.Sprintf("rename %d/%s %d/%s", c.dir, c.name, c.dir2, c.name2)
	case opChmod, opCommit, opAppend:
		return fmt.Sprintf("%v %d", c.kind, c.ino)
	case opLink:
		return fmt.Sprintf("link %d at %d/%s", c.ino, c.dir, c.name)
	}
	return fmt.Sprintf("%v %d/%s", c.kind, c.dir, c.name)
}

// write is one write of a block, which becomes a version when it is committed.
type write struct {
	mount int
	ino   meta.Ino
	block int
	index uint64 // 0: not committed
	order uint64 // of the writes of one mount
	by    *write // the write that took its place before it was flushed
}

// last returns the write that stands for w.
func (w *write) last() *write {
	for w != nil && w.by != nil {
		w = w.by
	}
	return w
}

// applied is an entry of the log, with what it did.
type applied struct {
	*change
	failed  bool
	repeat  *applied           // the entry that this one repeats; nil none
	ino     meta.Ino           // of a create, link, unlink or rename: the file
	objects []coherence.Object // what changed
	seen    []sight            // what a failure tells of
	did     meta.Change
}

// version is what an object became at an index.
type version struct {
	index uint64
	ino   meta.Ino // of an entry
	w     *write   // of a block
	text  text     // of the file that is appended to
	mtime uint64   // of attributes: the index of the last change of the content, or of a directory's names
}

type blockKey struct {
	ino   meta.Ino
	block int
}

// world is the whole history of the state: every version of every object. key is a coherence.Object or a blockKey.
type world struct {
	log     []*applied // log[i] has index i+1
	past    map[any][]version
	nextIno meta.Ino
	writer  map[meta.Ino]uint64 // session that wrote a file last
	links   map[meta.Ino]int
	first   map[proposal]*applied
	real    *machine  // says what changed; nil: the world does
	differs error     // between the two
	order   []*record // as they were committed
	dull    bool      // a file's second change has the time of its first
	kept    bool      // a mount's own appends leave its pages alone
}

func newWorld() *world {
	return &world{past: map[any][]version{}, nextIno: firstIno, writer: map[meta.Ino]uint64{}, links: map[meta.Ino]int{}, first: map[proposal]*applied{}}
}

// at returns the version of an object as of index.
func (w *world) at(key any, index uint64) version {
	all := w.past[key]
	n, _ := slices.BinarySearchFunc(all, index+1, func(v version, i uint64) int {
		if v.index < i {
			return -1
		}
		return 1
	})
	if n == 0 {
		return version{}
	}
	return all[n-1]
}

// apply appends a change to the log and to the history.
func (w *world) apply(c *change) *applied {
	index := uint64(len(w.log) + 1)
	a := &applied{change: c, did: meta.Change{Index: index, Session: c.session}}
	w.log = append(w.log, a)
	if c.kind != opNone {
		id := proposal{c.session, c.seq}
		if a.repeat = w.first[id]; a.repeat == nil {
			w.first[id] = a
		}
	}
	if a.repeat == nil {
		w.change(a)
	}
	a.did.Refused = a.failed || a.repeat != nil
	if w.real != nil && w.differs == nil {
		w.differs = w.real.play(a)
	}
	return a
}

// change carries out a change.
func (w *world) change(a *applied) {
	c, index := a.change, a.did.Index
	here := coherence.Entry(c.dir, c.name)
	old := w.at(here, index)
	switch c.kind {
	case opCreate, opLink:
		if old.ino != 0 {
			a.fail(here, old)
			break
		}
		a.ino = c.ino
		if c.kind == opCreate {
			a.ino = w.nextIno
			w.nextIno++
		} else if gone := w.at(coherence.Attr(c.ino), index); w.links[c.ino] == 0 {
			a.fail(coherence.Attr(c.ino), gone)
			break
		}
		w.links[a.ino]++
		w.name(a, c.dir, c.name, a.ino)
		w.attr(a, a.ino)
	case opUnlink:
		if old.ino == 0 {
			a.fail(here, old)
			break
		}
		a.ino = old.ino
		w.links[a.ino]--
		w.name(a, c.dir, c.name, 0)
		w.attr(a, a.ino)
	case opRename:
		there := w.at(coherence.Entry(c.dir2, c.name2), index)
		if old.ino == 0 {
			a.fail(here, old)
			break
		}
		a.ino = old.ino
		if there.ino == old.ino { // two names of one file are left alone
			a.seen = append(a.seen, sight{here, old.index, nil}, sight{coherence.Entry(c.dir2, c.name2), there.index, nil})
			a.failed = true
			break
		}
		w.name(a, c.dir, c.name, 0)
		w.name(a, c.dir2, c.name2, old.ino)
		w.attr(a, old.ino)
		if there.ino != 0 {
			w.links[there.ino]--
			w.attr(a, there.ino)
		}
	case opChmod:
		w.attr(a, c.ino)
	case opAppend:
		w.appended(a)
	case opCommit:
		last := w.writer[c.ino]
		a.did.Data = append(a.did.Data, meta.Data{Ino: c.ino, Merged: last != 0 && last != c.session})
		w.writer[c.ino] = c.session
		a.objects = append(a.objects, coherence.Bytes(c.ino))
		for _, one := range c.writes {
			one.index = index
			w.put(blockKey{c.ino, one.block}, version{index: index, w: one})
		}
		mtime := index
		if w.dull {
			mtime = 1
		}
		w.put(coherence.Attr(c.ino), version{index: index, mtime: mtime})
		a.objects = append(a.objects, coherence.Attr(c.ino))
		a.did.Attrs = append(a.did.Attrs, c.ino)
	}
}

// fail notes that an op changed nothing because of one version of one object.
func (a *applied) fail(key coherence.Object, v version) {
	a.failed = true
	a.seen = append(a.seen, sight{key, v.index, nil})
}

func (w *world) put(key any, v version) { w.past[key] = append(w.past[key], v) }

func (w *world) name(a *applied, dir meta.Ino, name string, ino meta.Ino) {
	index := a.did.Index
	w.put(coherence.Entry(dir, name), version{index: index, ino: ino})
	a.objects = append(a.objects, coherence.Entry(dir, name))
	if len(a.did.Names) == 0 || a.did.Names[0].Dir != dir {
		w.put(coherence.List(dir), version{index: index})
		w.put(coherence.Attr(dir), version{index: index, mtime: index})
		a.objects = append(a.objects, coherence.List(dir), coherence.Attr(dir))
		a.did.Attrs = append(a.did.Attrs, dir)
	}
	a.did.Names = append(a.did.Names, meta.Name{Dir: dir, Name: name})
}

func (w *world) attr(a *applied, ino meta.Ino) {
	index := a.did.Index
	w.put(coherence.Attr(ino), version{index: index, mtime: w.at(coherence.Attr(ino), index).mtime})
	a.objects = append(a.objects, coherence.Attr(ino))
	a.did.Attrs = append(a.did.Attrs, ino)
}
